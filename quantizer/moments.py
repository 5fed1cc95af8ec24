"""Second moments of what a layer reads: the metric of its rounding errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgekit.graph import Node
from edgekit.ops import windows as win

#: The grid that the float network's activations are brought to.
FLOAT_BITS = 15


@dataclass(frozen=True)
class Moments:
    """Means over samples and positions for each group of a layer, all float64.

    Attributes:
        h: [G, K, K], moment of the integer network's inputs.
        cross: [G, K, K], of those with the float network's inputs.
        mean, float_mean: [G, K].
        count: rows that went in.
    """

    h: np.ndarray
    cross: np.ndarray
    mean: np.ndarray
    float_mean: np.ndarray
    count: int

    def centred(self) -> Moments:
        """Covariances: the metric where the bias makes up for what the means differ."""
        h = self.h - self.mean[:, :, None] * self.mean[:, None, :]
        cross = self.cross - self.mean[:, :, None] * self.float_mean[:, None, :]
        return Moments(h, cross, self.mean, self.float_mean, self.count)


def moments(node: Node, w: np.ndarray, x: np.ndarray, scale: float, real: np.ndarray) -> Moments:
    """Moments of the inputs of a weighted node.

    Where the operands are integers (the float network's are brought to a grid of 16 bits), every
    sum is exact in float64, whatever its order: the same on every machine.

    Args:
        w: the node's weights; only the shape counts.
        x: the operand in the integer network without its zero point, or reals, float32 [n, ...].
        scale: the scale of `x`.
        real: the operand in the float network, float32 [n, ...].
    """
    reach = float(np.abs(real).max())
    # A power of two: dividing by it is exact.
    step = 2.0 ** (math.frexp(reach)[1] - FLOAT_BITS) if reach > 0 else 1.0
    total: list[np.ndarray] | None = None
    count = 0
    grid = np.rint(real * np.float32(1 / step))
    for wide, other in zip(columns(node, w, x), columns(node, w, grid), strict=True):
        at = wide.transpose(0, 2, 1)
        part = [at @ wide, at @ other, wide.sum(axis=1), other.sum(axis=1)]
        total = part if total is None else [t + p for t, p in zip(total, part, strict=True)]
        count += wide.shape[1]
    assert total is not None
    h, cross, mean, float_mean = (t / count for t in total)
    return Moments(h * scale**2, cross * (scale * step), mean * scale, float_mean * step, count)


def columns(node: Node, w: np.ndarray, x: np.ndarray) -> Iterator[np.ndarray]:
    """What each group multiplies with its weights: float64 [G, rows, K] in blocks of the batch."""
    if node.op == "fully_connected":
        yield x[None].astype(np.float64)
        return
    depthwise = node.op == "depthwise_conv2d"
    kernel = (w.shape[0], w.shape[1]) if depthwise else (w.shape[1], w.shape[2])
    strides, dilations = win.pair(node, "strides", 1), win.pair(node, "dilations", 1)
    groups = x.shape[3] if depthwise else node.attrs.get("groups", 1)
    for block in win.batch_blocks(len(x), x[0].size * kernel[0] * kernel[1]):
        padded = win.pad_hw(x[block], win.pads_of(node), 0.0)
        views = [view for _, _, view in win.taps(padded, kernel, strides, dilations)]
        taps = np.stack(views, axis=-2)  # [n, OH, OW, KH * KW, C]
        grouped = taps.reshape(-1, len(views), groups, x.shape[3] // groups)
        out = grouped.transpose(2, 0, 1, 3).reshape(groups, len(grouped), -1)
        yield np.ascontiguousarray(out, np.float64)
