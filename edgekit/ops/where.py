"""where: one of two elements, as a condition says."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import INTEGERS, Inferred, result_dtype
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape, keeps_kind, one_scale
from edgekit.ops.extremes import moved


def condition_is_bool(node: Node, inputs: list[Value]) -> bool:
    """The first operand, the condition, must be bool."""
    return inputs[0].dtype == "bool"


def choices(node: Node, inputs: list[Value]) -> bool:
    """The second and third operand must both be float32, or int8 or int16, or int32, or bool."""
    a, b = (v.dtype for v in inputs[1:])
    return {a, b} <= set(INTEGERS) or (a == b and a in ("float32", "int32", "bool"))


class Where(Broadcasting):
    """The second operand where the first one is true, else the third, with numpy broadcasting."""

    name = "where"
    grid = "operands"
    converts = True
    rules = (
        *(rules.three_operands, condition_is_bool, choices, keeps_kind, one_scale),
        rules.broadcast,
    )

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), result_dtype(node, inputs[1]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return np.where(inputs[0], inputs[1], inputs[2])

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        a, b = (moved(x, v, out) for x, v in zip(inputs[1:], values[1:], strict=True))
        return np.where(inputs[0], a, b).astype(out.dtype)


OPERATOR = Where()
