"""arg: where the greatest or the least element lies."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval, between
from edgekit.ops.movement import MOVABLE, axis_of
from edgekit.ops.reduce import reduced_shape
from edgekit.ops.rules import axis_exists, one_operand


def ordered(node: Node, inputs: list[Value]) -> bool:
    """The operand is float32, int8, int16 or int32."""
    return inputs[0].dtype in MOVABLE and inputs[0].dtype != "bool"


def known_kind(node: Node, inputs: list[Value]) -> bool:
    """'kind' is max or min."""
    return node.attrs.get("kind") in ("max", "min")


class Arg(Operator):
    """int32 place of the greatest or least element along 'axis', the first or 'last' of equals."""

    name = "arg"
    rules = (one_operand, ordered, axis_exists, known_kind)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        keepdims = bool(node.attrs.get("keepdims", True))
        return [(reduced_shape(inputs[0].shape, (axis_of(node),), keepdims), "int32")]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return axis_of(node) != 0

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, axis = inputs[0], axis_of(node)
        find = np.argmax if node.attrs["kind"] == "max" else np.argmin
        keepdims = bool(node.attrs.get("keepdims", True))
        if node.attrs.get("last"):
            at = x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis, keepdims=keepdims)
        else:
            at = find(x, axis=axis, keepdims=keepdims)
        return np.asarray(at, np.int32)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        return self.reference_float(node, inputs)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return between(out, 0, values[0].shape[axis_of(node)] - 1)


OPERATOR = Arg()
