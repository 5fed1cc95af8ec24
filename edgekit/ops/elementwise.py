"""What `add` and `mul` share: two operands of one dtype that broadcast as in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import INTEGERS, Inferred, Operator, check_activation, require


def by_table(x: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`function` of every element of an integer array.

    int8 has 256 values, for which a table is cheaper than the function on every element.
    """
    if x.dtype != np.int8:
        return function(x.astype(np.int64))
    return function(np.arange(-128, 128, dtype=np.int64))[x.astype(np.intp) + 128]


class Elementwise(Operator):
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
