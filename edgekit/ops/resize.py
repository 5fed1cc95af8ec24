"""resize: an image, or any tensor, sampled at other places."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import Node, Shape, Value
from edgekit.ops.base import INTEGERS, Inferred
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.movement import Movement, integers, movable
from edgekit.ops.requant import clamp_of_output, require_same_quant
from edgekit.ops.rules import one_operand
from edgekit.ops.sampling import COORDINATES, NEAREST, Q, nearest_places, taps_of

MODES = ("nearest", "linear", "cubic")
#: Axes that are interpolated at once: three weights of 10 bits and an int16 leave room in 64 bits.
MOST_AXES = 3


def full_rank(node: Node, inputs: list[Value]) -> bool:
    """'size' has one positive integer for each axis."""
    size = node.attrs.get("size")
    return integers(size) and len(size or ()) == len(inputs[0].shape) and min(size or (1,)) >= 1


def known_mode(node: Node, inputs: list[Value]) -> bool:
    """'mode' is nearest, linear or cubic; 'coordinates' and 'nearest_mode' are names of ONNX other
    than tf_crop_and_resize."""
    a = node.attrs
    return (
        a.get("mode", "nearest") in MODES
        and a.get("coordinates", "half_pixel") in COORDINATES
        and a.get("nearest_mode", "round_prefer_floor") in NEAREST
    )


def known_scales(node: Node, inputs: list[Value]) -> bool:
    """'scales', where it is there, has one positive number for each axis."""
    scales = node.attrs.get("scales")
    return scales is None or (len(scales) == len(inputs[0].shape) and min(scales) > 0)


def interpolable(node: Node, inputs: list[Value]) -> bool:
    """linear and cubic take float32, int8 or int16 and change at most 3 axes."""
    if node.attrs.get("mode", "nearest") == "nearest":
        return True
    return inputs[0].dtype in ("float32", *INTEGERS) and (
        len(changed_axes(node, inputs[0].shape)) <= MOST_AXES
    )


def leading_axis_stays(node: Node, inputs: list[Value]) -> bool:
    """The leading axis keeps its length."""
    return 0 not in changed_axes(node, inputs[0].shape)


def size_of(node: Node) -> Shape:
    return tuple(int(d) for d in node.attrs["size"])


def changed_axes(node: Node, shape: Shape) -> list[int]:
    """The axes along which the result is not the operand."""
    scales = node.attrs.get("scales") or [1.0] * len(shape)
    return [
        axis
        for axis, (before, after) in enumerate(zip(shape, size_of(node), strict=True))
        if before != after or scales[axis] != 1.0
    ]


class Resize(Movement):
    """A tensor of another 'size': the nearest elements, or linear or cubic interpolation."""

    name = "resize"
    rules = (one_operand, movable, full_rank, known_mode, known_scales, leading_axis_stays,
             interpolable)  # fmt: skip

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(size_of(node), inputs[0].dtype)]

    def keeps_range(self, node: Node) -> bool:
        return node.attrs.get("mode") != "cubic"

    @staticmethod
    def _axes(node: Node, x: np.ndarray) -> list[int]:
        """Changed axes of an array, whose leading axis may be a batch."""
        return [axis for axis in changed_axes(node, x.shape) if axis]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x = inputs[0]
        if node.attrs.get("mode", "nearest") == "nearest":
            return self._nearest(node, x)
        y = x.astype(np.float64)
        for axis in self._axes(node, x):
            at, weights = taps_of(node, axis, x.shape[axis])
            y = _along(y, axis, at, weights)
        return y.astype(np.float32)

    def _nearest(self, node: Node, x: np.ndarray) -> np.ndarray:
        for axis in self._axes(node, x):
            x = np.take(x, nearest_places(node, axis, x.shape[axis]), axis=axis)
        return np.ascontiguousarray(x)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        require_same_quant(node, values, out)
        x = inputs[0]
        if node.attrs.get("mode", "nearest") == "nearest":
            return self._nearest(node, x)
        axes = self._axes(node, x)
        y = x.astype(np.int64)
        for axis in axes:
            at, weights = taps_of(node, axis, x.shape[axis], whole=True)
            y = _along(y, axis, at, weights)
        half = (1 << (Q * len(axes))) >> 1
        # Halves away from zero, as TFLite's division by 2**20 does it.
        magnitude = (np.abs(y) + half) >> (Q * len(axes))
        qmin, qmax = clamp_of_output(Node("resize", (), ()), out)
        return np.clip(np.sign(y) * magnitude, qmin, qmax).astype(out.dtype)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        x = operands[0]
        if len(out.shape) - 1 in changed_axes(node, values[0].shape):
            x = x.over_all(channels_of(out))
        if node.attrs.get("mode", "nearest") != "cubic":
            return x  # between the least and the greatest tap
        gain = 1.0
        for axis in changed_axes(node, values[0].shape):
            _, weights = taps_of(node, axis, values[0].shape[axis], whole=True)
            gain *= float(np.abs(weights).sum(1).max()) / (1 << Q)
        reach = np.array([math.ceil(m * gain) for m in x.magnitude], np.int64)
        return Interval(-reach, reach).clipped(*clamp_of_output(Node("resize", (), ()), out))


def _along(x: np.ndarray, axis: int, at: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over taps t of weights[o, t] * x[..., at[o, t], ...], in the dtype of `x`."""
    shape = [1] * x.ndim
    shape[axis] = len(at)
    total = np.take(x, at[:, 0], axis=axis) * weights[:, 0].astype(x.dtype).reshape(shape)
    for t in range(1, at.shape[1]):
        total += np.take(x, at[:, t], axis=axis) * weights[:, t].astype(x.dtype).reshape(shape)
    return total


OPERATOR = Resize()
