"""threshold: the best class where its score is good enough."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval, between
from edgekit.ops.requant import tensor_quant
from edgekit.ops.rules import activation, one_operand


def has_axis(node: Node, inputs: list[Value]) -> bool:
    """Scores have two axes or more, the last one counts classes."""
    return len(inputs[0].shape) >= 2


def has_value(node: Node, inputs: list[Value]) -> bool:
    """'value' must be a number."""
    value = node.attrs.get("value")
    return isinstance(value, int | float) and math.isfinite(value)


def least_integer(value: float, scores: Value) -> int:
    """The least integer of `scores` that stands for `value` or more, one beyond the dtype's
    greatest where none does."""
    scale, zero_point = tensor_quant(scores)
    info = np.iinfo(scores.dtype)
    at = min(max(value / scale + zero_point, info.min - 2.0), info.max + 2.0)
    least = math.floor(at) - 1
    while (least - zero_point) * scale < value and least <= info.max:
        least += 1
    return max(least, int(info.min))


class Threshold(Operator):
    """int32 place of the greatest score along the last axis where it reaches 'value', else -1."""

    name = "threshold"
    rules = (one_operand, activation, has_axis, has_value)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape[:-1], "int32")]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return self._best(inputs[0], inputs[0] >= np.float32(node.attrs["value"]))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        return self._best(inputs[0], inputs[0] >= least_integer(node.attrs["value"], values[0]))

    @staticmethod
    def _best(x: np.ndarray, reached: np.ndarray) -> np.ndarray:
        """The first of equals is the best."""
        at = x.argmax(axis=-1)
        return np.where(reached.any(axis=-1), at, -1).astype(np.int32)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return between(out, -1, values[0].shape[-1] - 1)


OPERATOR = Threshold()
