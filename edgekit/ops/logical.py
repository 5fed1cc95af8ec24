"""logical: and, or, xor and not of truth values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import Inferred
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape
from edgekit.ops.interval import Interval, between

KINDS: dict[str, Callable[..., np.ndarray]] = {
    "and": np.logical_and,
    "or": np.logical_or,
    "xor": np.logical_xor,
    "not": np.logical_not,
}


def known_kind(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'kind' must be and, or, xor (two operands) or not (one operand)."""
    kind = node.attrs.get("kind")
    return kind in KINDS and len(inputs) == (1 if kind == "not" else 2)


def all_bool(node: Node, inputs: list[Value]) -> bool:
    """Operands must be bool."""
    return all(v.dtype == "bool" for v in inputs)


class Logical(Broadcasting):
    """Logical and, or, xor (with numpy broadcasting) or not of bool tensors."""

    name = "logical"
    rules = (known_kind, all_bool, rules.broadcast)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), "bool")]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return KINDS[node.attrs["kind"]](*inputs)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        return self.reference_float(node, inputs)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return between(out, 0, 1)


OPERATOR = Logical()
