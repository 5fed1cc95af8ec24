"""Sliding windows over NHWC arrays: what convolutions and pooling share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgekit.graph import Node, Shape, Value
from edgekit.ops.base import require, window_out

Pair = tuple[int, int]
#: Elements of one im2col block: 16 MB of float32, whatever the batch.
BLOCK_ELEMENTS = 1 << 22


def pair(node: Node, key: str, default: int | None = None) -> Pair:
    """An attribute of two positive integers, [h, w]."""
    v: Any = node.attrs.get(key, None if default is None else [default, default])
    ok = isinstance(v, list | tuple) and len(v) == 2 and all(isinstance(i, int) for i in v)
    require(ok and min(v) >= 1, node, f"'{key}' must be two positive integers, it is {v}")
    return int(v[0]), int(v[1])


def pads_of(node: Node) -> tuple[int, int, int, int]:
    """Padding as (top, left, bottom, right)."""
    v: Any = node.attrs.get("pads", [0, 0, 0, 0])
    ok = isinstance(v, list | tuple) and len(v) == 4 and all(isinstance(i, int) for i in v)
    require(ok and min(v) >= 0, node, f"'pads' must be four integers >= 0, they are {v}")
    return int(v[0]), int(v[1]), int(v[2]), int(v[3])


def window_shape(node: Node, x: Value, kernel: Pair, channels: int) -> Shape:
    """[1, OH, OW, channels] of a window operator on x [1, H, W, C]."""
    strides, dilations = pair(node, "strides", 1), pair(node, "dilations", 1)
    top, left, bottom, right = pads_of(node)
    return (
        x.shape[0],
        window_out(x.shape[1], kernel[0], strides[0], dilations[0], top, bottom),
        window_out(x.shape[2], kernel[1], strides[1], dilations[1], left, right),
        channels,
    )


def pad_hw(x: np.ndarray, pads: tuple[int, int, int, int], value: float) -> np.ndarray:
    """x [n, H, W, C] with `value` around it."""
    if not any(pads):
        return x
    top, left, bottom, right = pads
    widths = ((0, 0), (top, bottom), (left, right), (0, 0))
    return np.pad(x, widths, constant_values=np.asarray(value, x.dtype))


def taps(
    x: np.ndarray, kernel: Pair, strides: Pair, dilations: Pair
) -> Iterator[tuple[int, int, np.ndarray]]:
    """(kh, kw, view [n, OH, OW, C]) for each position in the window; `x` is padded already."""
    oh = (x.shape[1] - dilations[0] * (kernel[0] - 1) - 1) // strides[0] + 1
    ow = (x.shape[2] - dilations[1] * (kernel[1] - 1) - 1) // strides[1] + 1
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilations[0], j * dilations[1]
            bottom = top + (oh - 1) * strides[0] + 1
            right = left + (ow - 1) * strides[1] + 1
            yield i, j, x[:, top : bottom : strides[0], left : right : strides[1]]


def im2col(x: np.ndarray, kernel: Pair, strides: Pair, dilations: Pair) -> np.ndarray:
    """[n, OH, OW, KH * KW * C] of a padded x [n, H, W, C]."""
    if kernel == (1, 1):
        return x[:, :: strides[0], :: strides[1]]
    views = [view for _, _, view in taps(x, kernel, strides, dilations)]
    return np.concatenate(views, axis=-1)


def batch_blocks(n: int, elements_per_sample: int) -> Iterator[slice]:
    """Slices of the batch axis with about BLOCK_ELEMENTS elements each."""
    step = max(1, BLOCK_ELEMENTS // max(1, elements_per_sample))
    for i in range(0, n, step):
        yield slice(i, min(n, i + step))
