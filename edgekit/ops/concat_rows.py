"""concat_rows: images one below the other, each made in its place."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator, require
from edgekit.ops.requant import require_same_quant


class ConcatRows(Operator):
    """Images of one width below one another; made by the compiler, no copy on a device."""

    name = "concat_rows"
    internal = True

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) >= 1, node, "needs an operand")
        first = inputs[0]
        alike = all(v.shape[2:] == first.shape[2:] and v.dtype == first.dtype for v in inputs)
        require(alike and len(first.shape) == 4, node, "operands differ in width, depth or dtype")
        rows = sum(v.shape[1] for v in inputs)
        return [((first.shape[0], rows, *first.shape[2:]), first.dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(inputs, axis=1)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        for value in values:
            require_same_quant(node, [value], out)
        return self.reference_float(node, inputs)


OPERATOR = ConcatRows()
