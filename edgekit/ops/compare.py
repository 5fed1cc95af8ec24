"""compare: which of two elements is greater, or whether they are equal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import INTEGERS, Inferred
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape

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


class Compare(Broadcasting):
    """Comparison of two tensors with numpy broadcasting; the result is bool."""

    name = "compare"
    converts = True
    rules = (rules.two_operands, known_kind, comparable, rules.broadcast)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), "bool")]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return KINDS[node.attrs["kind"]](inputs[0], inputs[1])


OPERATOR = Compare()
