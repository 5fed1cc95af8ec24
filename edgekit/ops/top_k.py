"""top_k: the greatest or least k elements along an axis, and where they lie."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.arg import ordered
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.movement import axis_of
from edgekit.ops.requant import require_same_quant
from edgekit.ops.rules import axis_exists, one_operand


def k_fits(node: Node, inputs: list[Value]) -> bool:
    """'k' is at least 1 and at most the length of the axis."""
    k = node.attrs.get("k")
    return isinstance(k, int) and 1 <= k <= inputs[0].shape[axis_of(node)]


class TopK(Operator):
    """The 'k' greatest (or least) elements along 'axis' in order, and their int32 places."""

    name = "top_k"
    grid = "operand"
    rules = (one_operand, ordered, axis_exists, k_fits)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, shape = inputs[0], list(inputs[0].shape)
        shape[axis_of(node)] = int(node.attrs["k"])
        return [(tuple(shape), x.dtype), (tuple(shape), "int32")]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return axis_of(node) != 0

    def evaluate_float(self, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
        x, axis, k = inputs[0], axis_of(node), int(node.attrs["k"])
        # A stable sort leaves equal elements in the order of their places. ~ and - reverse the
        # order of integers without overflow and of reals.
        key = x
        if node.attrs.get("largest", True):
            key = -x if x.dtype == np.float32 else ~x
        at = np.take(np.argsort(key, axis=axis, kind="stable"), np.arange(k), axis=axis)
        return [np.take_along_axis(x, at, axis), at.astype(np.int32)]

    def evaluate_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], outs: list[Value]
    ) -> list[np.ndarray]:
        require_same_quant(node, values, outs[0])
        return self.evaluate_float(node, inputs)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return operands[0].over_all(channels_of(out))


OPERATOR = TopK()
