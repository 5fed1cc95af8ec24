"""pixel_shuffle: channels of a pixel spread over a block of pixels."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import windows as win
from edgekit.ops.base import Inferred
from edgekit.ops.interval import Interval
from edgekit.ops.movement import Movement
from edgekit.ops.pooling import image
from edgekit.ops.rules import one_operand


def blocks(node: Node, inputs: list[Value]) -> bool:
    """Channels are those of strides[0] x strides[1] pixels, and 'size' fits behind 'crop'."""
    (sh, sw), crop, size = win.pair(node, "strides"), node.attrs["crop"], node.attrs["size"]
    _, height, width, channels = inputs[0].shape
    fits = crop[0] + size[0] <= height * sh and crop[1] + size[1] <= width * sw
    return channels % (sh * sw) == 0 and fits


class PixelShuffle(Movement):
    """x [1, H, W, S T C] as [1, H S, W T, C], of which 'size' pixels from 'crop' on are kept; made
    by the compiler."""

    name = "pixel_shuffle"
    internal = True
    rules = (one_operand, image, blocks)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, (sh, sw) = inputs[0], win.pair(node, "strides")
        return [((x.shape[0], *node.attrs["size"], x.shape[3] // (sh * sw)), x.dtype)]

    def move(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, (sh, sw) = inputs[0], win.pair(node, "strides")
        n, h, w, c = x.shape
        whole = x.reshape(n, h, w, sh, sw, c // (sh * sw)).transpose(0, 1, 3, 2, 4, 5)
        (top, left), (rows, columns) = node.attrs["crop"], node.attrs["size"]
        spread = whole.reshape(n, h * sh, w * sw, -1)
        return spread[:, top : top + rows, left : left + columns]

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        rows = (v.reshape(-1, out.shape[3]) for v in (operands[0].lo, operands[0].hi))
        lo, hi = rows
        return Interval(lo.min(0), hi.max(0))


OPERATOR = PixelShuffle()
