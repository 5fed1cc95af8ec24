"""Weights and biases as integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgekit.graph import Node, Quant
from edgekit.ops.fixedpoint import round_half_away
from edgekit.ops.requant import CHANNEL_AXIS

Weights = Literal["per-channel", "per-tensor"]
#: Biases stay below half of int32, so that the accumulator has the other half.
BIAS_LIMIT = float(1 << 30)
#: The most that one product can add to an accumulator: |x - zero point| <= 255, |w| <= 127, and as
#: much as 256 * 127 with the zero point folded into the bias.
LARGEST_TERM = 256 * 127


def largest(bits: int) -> int:
    """The largest magnitude of a weight: 127 for 8 bits, 7 for 4; the grid is symmetric."""
    return (1 << (bits - 1)) - 1


def rows(node: Node, w: np.ndarray) -> np.ndarray:
    """Weights as [O, K]: one row per output channel, columns in the order of im2col."""
    return np.moveaxis(w, CHANNEL_AXIS[node.op], 0).reshape(w.shape[CHANNEL_AXIS[node.op]], -1)


def unrows(node: Node, r: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `rows`; `shape` is that of the weights."""
    axis = CHANNEL_AXIS[node.op]
    others = [n for i, n in enumerate(shape) if i != axis]
    return np.ascontiguousarray(np.moveaxis(r.reshape(shape[axis], *others), 0, axis))


@dataclass(frozen=True)
class Grid:
    """What a layer's weights may become: the scheme, the width, and the floor of the scales.

    `floor` float64[O] is the least scale at which the channel's bias still leaves room for its
    products in int32.
    """

    weights: Weights
    bits: int
    floor: np.ndarray

    @property
    def top(self) -> int:
        return largest(self.bits)

    def scales(self, r: np.ndarray) -> np.ndarray:
        """float64[O] for rows [O, K], so that the largest weight is the largest integer.

        A channel whose weights are all zero takes the median scale of the others.
        """
        scale = np.abs(r).max(axis=1).astype(np.float64) / self.top
        dead = scale < 1e-30
        scale[dead] = float(np.median(scale[~dead])) if (~dead).any() else 1.0
        return self.legal(scale)

    def legal(self, scale: np.ndarray) -> np.ndarray:
        """The scales under this grid's rules, rounded to the float32 that the graph holds."""
        scale = np.maximum(scale, self.floor)
        if self.weights == "per-tensor":
            scale = np.full_like(scale, scale.max())
        return scale.astype(np.float32).astype(np.float64)

    def nearest(self, r: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Rows [O, K] in steps of the channels' scales, rounded to the nearest integer."""
        return np.clip(round_half_away(r / scale[:, None]), -self.top, self.top)


def bias_limit(q: np.ndarray, dtype: str) -> np.ndarray:
    """float64[O], the largest biases that leave room for all products.

    Args:
        q: integer rows [O, K]. For int8 activations only their number counts, so that the limit
            is the same for every rounding of the weights.
        dtype: of the activations.
    """
    if dtype == "int16":
        return np.maximum(2.0**31 - 1 - 32768.0 * np.abs(q).sum(axis=1), 1.0)
    limit = min(BIAS_LIMIT, max(2.0**31 - 1 - LARGEST_TERM * q.shape[1], 1.0))
    return np.full(len(q), limit)


def grid_of(
    weights: Weights, bits: int, r: np.ndarray, bias: np.ndarray, in_scale: float, dtype: str
) -> Grid:
    """The grid of a layer with rows [O, K], real biases [O] and activations of `dtype`."""
    wanted = np.abs(bias).astype(np.float64) / in_scale
    if dtype == "int16":
        # Sums below 2**30 keep the cheap requantization; each rounded weight adds half a step.
        rounding = 32768.0 * (r.shape[1] / 2 + 1)
        room = max(2.0**30 - rounding, 2.0**28)
        return Grid(weights, bits, (wanted + 32768.0 * np.abs(r).sum(axis=1)) / room)
    return Grid(weights, bits, wanted / bias_limit(r, dtype))


def quantize_weights(
    node: Node,
    w: np.ndarray,
    bias: np.ndarray,
    in_scale: float,
    weights: Weights = "per-channel",
    bits: int = 8,
    dtype: str = "int8",
) -> tuple[np.ndarray, Quant]:
    """(int8 weights rounded to the nearest of the symmetric grid, their quantization)."""
    r = rows(node, w)
    grid = grid_of(weights, bits, r, bias, in_scale, dtype)
    scale = grid.scales(r)
    q = unrows(node, grid.nearest(r, scale).astype(np.int8), w.shape)
    return q, weight_quant(node, scale)


def weight_quant(node: Node, scale: np.ndarray) -> Quant:
    """Symmetric quantization with the scales of all channels, equal ones where per tensor."""
    return Quant.make(scale.astype(np.float32), 0, CHANNEL_AXIS[node.op])


def bias_scale(in_scale: float, quant: Quant) -> np.ndarray:
    """Input scale x weight scale, float64[O]."""
    return np.float64(np.float32(in_scale)) * quant.scale.astype(np.float64)


def quantize_bias(bias: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """int32 biases; `scale` is input scale x weight scale, float64[O]."""
    return np.clip(round_half_away(bias / scale), -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
