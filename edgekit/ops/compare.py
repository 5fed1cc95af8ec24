"""compare: which of two elements is greater, or whether they are equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import INTEGERS, Inferred
from edgekit.ops.binary_params import compare_params
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape, one_scale, scaled

KINDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
}


def known_kind(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'kind' must be equal, not_equal, less, less_equal, greater or greater_equal."""
    return node.attrs.get("kind") in KINDS


def comparable(node: Node, inputs: list[Value]) -> bool:
    """Operands must both be float32, or int8 or int16, or both int32, or both bool."""
    a, b = (v.dtype for v in inputs)
    return {a, b} <= set(INTEGERS) or (a == b and a in ("float32", "int32", "bool"))


def known_steps(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'left_shift', where it is given, must be 8 and the operands int8."""
    left = node.attrs.get("left_shift")
    return left is None or (left == 8 and all(v.dtype == "int8" for v in inputs))


def compares_as_is(node: Node, values: list[Value]) -> bool:
    """Whether integers compare as the numbers do that they stand for."""
    a, b = values
    return "left_shift" not in node.attrs and (a.dtype, a.quant) == (b.dtype, b.quant)


class Compare(Broadcasting):
    """Comparison of two tensors with numpy broadcasting; the result is bool."""

    name = "compare"
    converts = True
    rules = (
        *(rules.two_operands, known_kind, comparable, known_steps, one_scale),
        rules.broadcast,
    )

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), "bool")]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return KINDS[node.attrs["kind"]](inputs[0], inputs[1])

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        a, b = inputs
        if not compares_as_is(node, values):
            p = compare_params(node, values)
            a = scaled(a, values[0], p.multiplier_a, p.shift_a, p.left_shift)
            b = scaled(b, values[1], p.multiplier_b, p.shift_b, p.left_shift)
        return KINDS[node.attrs["kind"]](a, b)


OPERATOR = Compare()
