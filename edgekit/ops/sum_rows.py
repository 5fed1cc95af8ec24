"""sum_rows: channel sums of a part of an image, added to those of the parts before it."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator, require


class SumRows(Operator):
    """int32 sums [1, 1, 1, C] over the pixels of x, plus the second operand if there is one."""

    name = "sum_rows"
    internal = True

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) in (1, 2), node, f"needs one or two operands, has {len(inputs)}")
        x = inputs[0]
        require(x.dtype in ("int8", "int16"), node, f"x must be int8 or int16, not {x.dtype}")
        shape = (x.shape[0], 1, 1, x.shape[3])
        for sums in inputs[1:]:
            require((sums.shape, sums.dtype) == (shape, "int32"), node, f"sums are {sums.shape}")
        return [(shape, "int32")]

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        sums: np.ndarray = inputs[0].astype(np.int64).sum(axis=(1, 2), keepdims=True)
        return (sums + sum(i.astype(np.int64) for i in inputs[1:])).astype(np.int32)


OPERATOR = SumRows()
