"""nms: boxes that do not overlap, best first."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval, between
from edgekit.ops.rules import activations, two_operands
from edgekit.ops.threshold import least_integer

#: Overlaps are compared in Q0.15.
IOU_ONE = 1 << 15


def boxes_and_scores(node: Node, inputs: list[Value]) -> bool:
    """It reads boxes [1, N, 4] and scores [1, N, C]."""
    boxes, scores = (v.shape for v in inputs)
    return len(boxes) == len(scores) == 3 and boxes[2] == 4 and boxes[:2] == scores[:2]


def limits(node: Node, inputs: list[Value]) -> bool:
    """'most' is at least 1, 'iou' from 0 to 1 and 'value', the least score, a number."""
    most, iou, value = (node.attrs.get(k) for k in ("most", "iou", "value"))
    number = isinstance(value, int | float) and math.isfinite(value)
    return (
        isinstance(most, int)
        and most >= 1
        and isinstance(iou, int | float)
        and (0 <= iou <= 1 and number)
    )


def iou_of(node: Node) -> int:
    """The attribute 'iou' in Q0.15."""
    return round(node.attrs["iou"] * IOU_ONE)


class Nms(Operator):
    """int32 [1, most, 2]: number and class of boxes that do not overlap, best first, or -1."""

    name = "nms"
    rules = (two_operands, activations, boxes_and_scores, limits)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [((1, int(node.attrs["most"]), 2), "int32")]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        boxes, scores = inputs
        return self._select(node, boxes, scores, np.float32(node.attrs["value"]))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        boxes, scores = (x.astype(np.int64) for x in inputs)
        return self._select(node, boxes, scores, least_integer(node.attrs["value"], values[1]))

    @staticmethod
    def _select(
        node: Node, boxes: np.ndarray, scores: np.ndarray, least: int | np.floating
    ) -> np.ndarray:
        """Greedy selection; coordinates are differences only, so zero points do not matter."""
        most, iou = int(node.attrs["most"]), iou_of(node)
        found = np.full((len(boxes), most, 2), -1, np.int32)
        for sample, (box, score) in enumerate(zip(boxes, scores, strict=True)):
            classes, best = score.argmax(axis=1), score.max(axis=1)
            left = best >= least
            for place in range(most):
                if not left.any():
                    break
                # Equal scores: the first box.
                i = int(np.flatnonzero(left)[best[left].argmax()])
                found[sample, place] = i, classes[i]
                left &= ~((classes == classes[i]) & _overlapping(box, box[i], iou))
                left[i] = False
        return found

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return between(out, -1, max(values[1].shape[1:]) - 1)


def _overlapping(boxes: np.ndarray, one: np.ndarray, iou: int) -> np.ndarray:
    """bool [N]: intersection * 2^15 > iou * union, without a division."""
    inner = _side(np.maximum(boxes[:, 0], one[0]), np.minimum(boxes[:, 2], one[2])) * _side(
        np.maximum(boxes[:, 1], one[1]), np.minimum(boxes[:, 3], one[3])
    )
    area = _side(boxes[:, 0], boxes[:, 2]) * _side(boxes[:, 1], boxes[:, 3])
    whole = area + _side(one[0], one[2]) * _side(one[1], one[3]) - inner
    overlapping: np.ndarray = inner * IOU_ONE > iou * whole
    return overlapping


def _side(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.maximum(high - low, 0)


OPERATOR = Nms()
