"""Observe what values tensors take, and choose the range that int8 covers.

Observation takes two passes over the calibration data and constant memory per tensor: first the
extremes, then a histogram between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from edgekit.graph import Quant
from edgekit.ops.fixedpoint import round_half_away
from quantizer.tails import extended

Ranges = Literal["mse", "minmax", "percentile", "kl"]
BINS = 4096
#: Candidate ranges are these fractions of the observed one. Below 0.3 the clipping error of any
#: distribution with real extremes dominates.
FRACTIONS = np.linspace(0.3, 1.0, 71)
#: A narrower range than this holds one value, zero.
EMPTY_RANGE = 1e-12
#: How far beyond the observed extremes int16 reaches.
WIDE_HEADROOM = 4
#: What "percentile" keeps on either side, in percent of all numbers.
PERCENTILE = 99.99


@dataclass
class Observer:
    """Extremes and histogram of one tensor. Bins keep counts and sums; exact zeros, of which a
    ReLU gives many and which every range represents exactly, are counted apart."""

    lo: float = np.inf
    hi: float = -np.inf
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    sums: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    channel_sums: np.ndarray = field(default_factory=lambda: np.zeros(1))
    seen: int = 0
    zeros: int = 0
    #: The extremes of every sample, batch by batch.
    minima: list[np.ndarray] = field(default_factory=list)
    maxima: list[np.ndarray] = field(default_factory=list)
    numbers: int = 0

    def see_extremes(self, x: np.ndarray) -> None:
        flat = x.reshape(len(x), -1)
        self.minima.append(flat.min(axis=1))
        self.maxima.append(flat.max(axis=1))
        self.numbers = flat.shape[1]
        self.lo = min(self.lo, float(self.minima[-1].min()))
        self.hi = max(self.hi, float(self.maxima[-1].max()))
        pixels = x.reshape(-1, x.shape[-1] if x.ndim > 1 else 1)
        self.channel_sums = self.channel_sums + pixels.sum(axis=0, dtype=np.float64)
        self.seen += len(pixels)

    @property
    def means(self) -> np.ndarray:
        """The mean of each channel (last axis), float64."""
        return self.channel_sums / self.seen

    def extended(self, steps: int = 255) -> tuple[float, float]:
        """The observed extremes with the margin that few samples ask for; see `tails.extended`."""
        minima, maxima = np.concatenate(self.minima), np.concatenate(self.maxima)
        return extended(minima, maxima, self.numbers, steps)

    def see_histogram(self, x: np.ndarray) -> None:
        """Second pass; `see_extremes` has seen all of the data."""
        flat = x[x != 0]
        self.zeros += x.size - flat.size
        width = max(self.hi - self.lo, EMPTY_RANGE)
        index = ((flat - np.float32(self.lo)) * np.float32((BINS - 1) / width)).astype(np.intp)
        np.clip(index, 0, BINS - 1, out=index)
        self.counts += np.bincount(index, minlength=BINS)
        self.sums += np.bincount(index, weights=flat, minlength=BINS)

    @staticmethod
    def merged(several: Sequence[Observer]) -> Observer:
        """One observer of all that several have seen, as far as ranges are concerned."""
        if len(several) == 1:
            return several[0]
        whole = Observer(min(o.lo for o in several), max(o.hi for o in several))
        width = max(whole.hi - whole.lo, EMPTY_RANGE)
        for seen in several:
            whole.minima += seen.minima
            whole.maxima += seen.maxima
            whole.numbers = max(whole.numbers, seen.numbers)
            whole.zeros += seen.zeros
            points, counts = seen.points()
            index = ((points - whole.lo) * ((BINS - 1) / width)).astype(np.intp).clip(0, BINS - 1)
            whole.counts += np.bincount(index, weights=counts, minlength=BINS)
            whole.sums += np.bincount(index, weights=points * counts, minlength=BINS)
        return whole

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean value, count) of the bins that hold something."""
        used = self.counts > 0
        return self.sums[used] / self.counts[used], self.counts[used]


def with_zero(lo: float, hi: float) -> tuple[float, float]:
    """Widen a range so that it holds zero and is not empty."""
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    return (lo, hi) if hi - lo > EMPTY_RANGE else (0.0, 1.0)


def wide_quant(lo: float, hi: float) -> Quant:
    """Per-tensor symmetric int16 for observed extremes, with room for more than was seen.

    Two of the 16 bits are headroom: clipping costs far more than steps of 2**-14 of the range.
    """
    lo, hi = with_zero(lo, hi)
    return Quant.make(np.float32(max(-lo, hi) * WIDE_HEADROOM / 32767), 0)


def activation_quant(lo: float, hi: float) -> Quant:
    """Per-tensor asymmetric int8 for a range that holds zero: zero is exactly representable."""
    scale = np.float32((hi - lo) / 255)
    zero_point = int(np.clip(round_half_away(-128 - lo / float(scale)), -128, 127))
    return Quant.make(scale, zero_point)


def constant_quant(data: np.ndarray, dtype: str) -> Quant:
    """Quantization of a constant operand whose numbers are all known."""
    lo, hi = with_zero(float(data.min()), float(data.max()))
    if dtype == "int16":
        return Quant.make(np.float32(max(-lo, hi) / 32767), 0)
    return activation_quant(lo, hi)


def squared_error(points: np.ndarray, counts: np.ndarray, lo: float, hi: float) -> float:
    """Sum of squared quantization errors under the range's scale and zero point."""
    quant = activation_quant(lo, hi)
    scale, zero_point = float(quant.scale[0]), int(quant.zero_point[0])
    q = np.clip(np.rint(points / scale) + zero_point, -128, 127)
    error = (q - zero_point) * scale - points
    return float(np.dot(error * error, counts))


def range_of(observer: Observer, ranges: Ranges) -> tuple[float, float]:
    """The range that int8 covers, by method; it holds zero and is not empty."""
    lo, hi = with_zero(observer.lo, observer.hi)
    points, counts = observer.points()
    if ranges == "minmax" or observer.hi - observer.lo <= EMPTY_RANGE or not len(points):
        return lo, hi
    if ranges == "percentile":
        return percentile_range(observer)
    cost = squared_error if ranges == "mse" else divergence
    return search(lo, hi, lambda r: cost(points, counts, *r))


def search(
    lo: float, hi: float, cost: Callable[[tuple[float, float]], float]
) -> tuple[float, float]:
    """The range of least cost: both ends together first, then each alone."""

    def best(candidates: list[tuple[float, float]]) -> tuple[float, float]:
        return min(candidates, key=cost)

    low, high = best([(lo * f, hi * f) for f in FRACTIONS])
    if lo < 0 < hi:
        for _ in range(2):
            low, high = best([(low, hi * f) for f in FRACTIONS] + [(low, high)])
            low, high = best([(lo * f, high) for f in FRACTIONS] + [(low, high)])
    return with_zero(low, high)


def percentile_range(observer: Observer) -> tuple[float, float]:
    """The range outside of which 100 - PERCENTILE percent of the numbers lie on either side."""
    edges = np.linspace(observer.lo, observer.hi, BINS)
    counts = observer.counts.copy()
    counts[min(int(np.searchsorted(edges, 0.0)), BINS - 1)] += observer.zeros
    share = np.cumsum(counts) / counts.sum()
    tail = 1 - PERCENTILE / 100
    low = edges[np.searchsorted(share, tail)]
    high = edges[min(int(np.searchsorted(share, 1 - tail)) + 1, BINS - 1)]
    return with_zero(float(low), float(high))


def divergence(points: np.ndarray, counts: np.ndarray, lo: float, hi: float) -> float:
    """Kullback-Leibler divergence of what int8 makes of a histogram from the histogram itself.

    As in S. Migacz, "8-bit inference with TensorRT" (GTC 2017): the reference P has the clipped
    mass in the bins at its ends; the candidate Q spreads the unclipped mass of each of the 256
    levels evenly over that level's occupied bins. Unlike there the range is asymmetric. The exact
    zeros of a ReLU are no part of the histogram: in the same bin as the smallest positive numbers
    they would be spread over a whole level, and that divergence alone would decide.
    """
    quant = activation_quant(lo, hi)
    scale, zero_point = float(quant.scale[0]), int(quant.zero_point[0])
    level = np.rint(points / scale).astype(np.int64) + zero_point + 128
    inside = (level >= 0) & (level <= 255)
    if not inside.any():
        return np.inf
    first, last = np.flatnonzero(inside)[[0, -1]]
    p = counts[first : last + 1].copy()
    kept, level = p.copy(), level[first : last + 1]
    p[0] += counts[:first].sum()
    p[-1] += counts[last + 1 :].sum()
    mass, bins = np.bincount(level, kept, 256), np.bincount(level, minlength=256)
    q = (mass / np.maximum(bins, 1))[level]
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))
