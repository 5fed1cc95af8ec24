"""copy: the same bytes at another place."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval
from edgekit.ops.requant import require_same_quant
from edgekit.ops.rules import one_operand


class Copy(Operator):
    """A tensor once more; made by the compiler, for what a state holds next."""

    name = "copy"
    internal = True
    grid = "operand"
    rules = (one_operand,)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, inputs[0].dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return inputs[0]

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        if out.quant is not None:
            require_same_quant(node, values, out)
        return inputs[0]

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return operands[0]


OPERATOR = Copy()
