"""Intervals of the accumulators of conv2d, depthwise_conv2d and fully_connected.

Weights are constants, so that the accumulator of an output channel lies in an interval that is
known before anything runs. A window may reach into padding, where the product is zero; which taps
do so together depends on the position, and every kind of position is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops import windows as win
from edgekit.ops.base import window_out
from edgekit.ops.interval import Interval, requantized
from edgekit.ops.requant import channel_requant, is_wide, tensor_quant


@dataclass(frozen=True)
class Accumulators:
    """Per output channel, int64 [O].

    `final` is the interval of the accumulator that requantization reads. `partial` bounds the
    magnitude of every sum of a kernel that starts from ``bias - zx * sum(w)`` and adds products of
    weights and raw inputs (padding is the zero point) in any order; arithmetic that wraps may leave
    it without harm as long as `final` fits.
    """

    final: Interval
    partial: np.ndarray


def taps_of(op: str, weights: np.ndarray) -> np.ndarray:
    """Weights in the operator's layout as [O, KH, KW, I], I the inputs of one output channel."""
    if op == "depthwise_conv2d":
        return weights.transpose(2, 0, 1)[..., None]
    return weights if weights.ndim == 4 else weights[:, None, None, :]


def inputs_of(outputs: int, per_output: int, channels: int) -> np.ndarray:
    """int [O, I]: the input channels that each output channel reads, out of `channels`."""
    groups = channels // per_output
    first = np.arange(outputs) // (outputs // groups) * per_output
    return first[:, None] + np.arange(per_output)


def accumulators(node: Node, x: Value, taps: np.ndarray, bias: np.ndarray, of_x: Interval,
                 ) -> Accumulators:  # fmt: skip
    """Intervals for `taps` [O, KH, KW, I] and `bias` [O] on an operand `x` within `of_x` [C]."""
    w, b = taps.astype(np.int64), bias.astype(np.int64)
    zx = tensor_quant(x)[1]
    rows, columns = _inside(node, x, (w.shape[1], w.shape[2]))
    reads = inputs_of(w.shape[0], w.shape[3], len(of_x.lo))[:, None, None, :]
    low, high = w * (of_x.lo - zx)[reads], w * (of_x.hi - zx)[reads]

    def at_positions(products: np.ndarray) -> np.ndarray:
        """[row patterns, column patterns, O] of products that are summed over channels."""
        return np.einsum("ri,cj,oij->rco", rows, columns, products.sum(3), optimize=True)

    final = Interval(
        b + at_positions(np.minimum(low, high)).min((0, 1)),
        b + at_positions(np.maximum(low, high)).max((0, 1)),
    )
    largest = of_x.magnitude
    if not (rows.all() and columns.all()):
        largest = np.maximum(largest, abs(zx))
    products = (np.abs(w) * largest[reads]).sum((1, 2, 3))
    return Accumulators(final, np.abs(b - zx * w.sum((1, 2, 3))) + products)


def results(node: Node, values: list[Value], out: Value, acc: Accumulators) -> Interval:
    """The interval of the layer's result; `values` is x, w, bias."""
    p = channel_requant(node, values, out)
    zero_point = tensor_quant(out)[1]
    if is_wide(values):
        ends = (fp.multiply_wide(v, p.multiplier, p.shift) for v in (acc.final.lo, acc.final.hi))
        return Interval(*(np.clip(y + zero_point, p.qmin, p.qmax) for y in ends))
    return requantized(acc.final, p.multiplier, p.shift, zero_point, p.qmin, p.qmax)


def is_padded(node: Node, x: Value, kernel: tuple[int, int]) -> bool:
    """Whether any tap of any window reads padding."""
    return not all(m.all() for m in _inside(node, x, kernel))


def _inside(node: Node, x: Value, kernel: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Which kernel rows, and which columns, lie inside `x`: int64 0 or 1 [patterns, kernel].

    One pattern for each set of rows (columns) that windows at some position have inside.
    """
    if node.op == "fully_connected":
        return np.ones((1, 1), np.int64), np.ones((1, 1), np.int64)
    pads = win.pads_of(node)
    strides, dilations = win.pair(node, "strides", 1), win.pair(node, "dilations", 1)

    def along(axis: int) -> np.ndarray:
        size, k, step, spread = x.shape[axis + 1], kernel[axis], strides[axis], dilations[axis]
        count = window_out(size, k, step, spread, pads[axis], pads[axis + 2])
        at = np.arange(count)[:, None] * step - pads[axis] + np.arange(k) * spread
        return np.unique((at >= 0) & (at < size), axis=0).astype(np.int64)

    return along(0), along(1)
