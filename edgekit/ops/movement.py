"""What operators that only move, compare or repeat elements share."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Operator
from edgekit.ops.requant import require_same_quant

#: Dtypes of activations: what moves is not looked at.
MOVABLE = ("float32", "int8", "int16", "int32", "bool")
MAX_RANK = 8


def movable(node: Node, inputs: list[Value]) -> bool:
    """The operand is float32, int8, int16, int32 or bool, of at most 8 axes."""
    return inputs[0].dtype in MOVABLE and len(inputs[0].shape) <= MAX_RANK


def integers(v: object) -> bool:
    """Whether `v` is a list of integers."""
    return isinstance(v, list | tuple) and all(
        isinstance(i, int) and not isinstance(i, bool) for i in v
    )


def axis_of(node: Node) -> int:
    return int(node.attrs["axis"])


class Movement(Operator):
    """The result's elements are elements of operand 0, in its dtype and quantization.

    Subclasses write `move`, which sees no numbers but their places.
    """

    grid = "operand"

    def move(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        """The result, of the dtype of operand 0."""
        raise NotImplementedError

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return np.ascontiguousarray(self.move(node, inputs))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        require_same_quant(node, values, out)
        return self.reference_float(node, inputs)
