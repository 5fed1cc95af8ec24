"""What `add` and `mul` share: two operands of one dtype that broadcast as in numpy."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator, require


class Elementwise(Operator):
    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 2, node, f"needs two operands, has {len(inputs)}")
        a, b = inputs
        require(
            a.dtype == b.dtype and a.dtype in ("float32", "int8"),
            node,
            f"operands must both be float32 or int8, they are {a.dtype} and {b.dtype}",
        )
        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            shape = None
        require(shape is not None, node, f"{a.shape} and {b.shape} do not broadcast")
        assert shape is not None
        return [(tuple(int(d) for d in shape), a.dtype)]
