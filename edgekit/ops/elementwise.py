"""What `add` and `mul` share: two operands of one dtype that broadcast as in numpy."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import INTEGERS, Inferred, check_activation, require
from edgekit.ops.broadcasting import Broadcasting


class Elementwise(Broadcasting):
    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 2, node, f"needs two operands, has {len(inputs)}")
        a, b = inputs
        require(
            a.dtype == b.dtype
            or {a.dtype, b.dtype} <= set(INTEGERS)
            or bool(node.attrs.get("float")),
            node,
            f"operands must both be float32 or integers, they are {a.dtype} and {b.dtype}",
        )
        check_activation(node, b)
        dtype = check_activation(node, a)
        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            shape = None
        require(shape is not None, node, f"{a.shape} and {b.shape} do not broadcast")
        assert shape is not None
        return [(tuple(int(d) for d in shape), dtype)]
