"""What the two pooling operators share: operands, output shape, which pixels a window has."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import windows as win
from edgekit.ops.base import Inferred, Operator, require, window_out
from edgekit.ops.interval import Interval
from edgekit.ops.requant import clamp_of_output
from edgekit.ops.rules import activation, one_operand


def image(node: Node, inputs: list[Value]) -> bool:
    """x must be [1, H, W, C]."""
    return len(inputs[0].shape) == 4


def sane_axes(node: Node, inputs: list[Value]) -> bool:
    """x must have at most 1048576 rows and columns, padding included."""
    # Windows are counted one by one, and a file can claim any size.
    return max(inputs[0].shape) + 2 * max(win.pads_of(node)) <= 1 << 20


class Pooling(Operator):
    grid = "operand"
    rules = (one_operand, image, sane_axes, activation)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, kernel = inputs[0], win.pair(node, "kernel")
        shape = win.window_shape(node, x, kernel, x.shape[3])
        require(
            all(real_taps(node, axis, x.shape[axis + 1]).min() > 0 for axis in (0, 1)),
            node,
            f"pads {list(win.pads_of(node))} leave windows of {list(kernel)} without a real pixel",
        )
        return [(shape, x.dtype)]

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        # Mean and maximum of a window lie between its least and its greatest pixel, and padding is
        # no pixel; a window has at least one.
        return operands[0].clipped(*clamp_of_output(node, out))


def taps_inside(node: Node, axis: int, size: int, before: int, behind: int) -> np.ndarray:
    """int64 [out]: how many taps of each window lie in [-before, size + behind) along rows (axis 0)
    or columns (1) of an image with `size` of them."""
    kernel, stride = win.pair(node, "kernel")[axis], win.pair(node, "strides", 1)[axis]
    dilation, pads = win.pair(node, "dilations", 1)[axis], win.pads_of(node)
    count = window_out(size, kernel, stride, dilation, pads[axis], pads[axis + 2])
    start = np.arange(count, dtype=np.int64) * stride - pads[axis]
    # Tap k lies at start + k * dilation: the first k that is inside, and the first behind.
    first = np.clip(-((before + start) // dilation), 0, kernel)
    past = np.clip(-((start - size - behind) // dilation), 0, kernel)
    return np.asarray(np.maximum(past - first, 0))


def real_taps(node: Node, axis: int, size: int) -> np.ndarray:
    """int64 [out]: the taps of each window that are real pixels."""
    return taps_inside(node, axis, size, 0, 0)


def counted_taps(node: Node, axis: int, size: int) -> np.ndarray:
    """int64 [out]: the taps of each window that the divisor of a mean counts.

    Real pixels; with ``count_include_pad`` the padding too, except for the rows and columns behind
    that ``ceil_pads`` [bottom, right] says were only added to round the result's size up.
    """
    if not counts_padding(node):
        return real_taps(node, axis, size)
    pads, extra = win.pads_of(node), node.attrs.get("ceil_pads", [0, 0])
    return taps_inside(node, axis, size, pads[axis], pads[axis + 2] - int(extra[axis]))


def counts_padding(node: Node) -> bool:
    return bool(node.attrs.get("count_include_pad")) and any(win.pads_of(node))
