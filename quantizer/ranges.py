"""Observe what values tensors take, and choose the range that int8 covers.

Observation takes two passes over the calibration data and constant memory per tensor: first the
extremes, then a histogram between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgekit.graph import Quant
from edgekit.ops.fixedpoint import round_half_away

BINS = 4096
#: Candidate ranges are these fractions of the observed one. Below 0.3 the clipping error of any
#: distribution with real extremes dominates.
FRACTIONS = np.linspace(0.3, 1.0, 71)
#: A narrower range than this holds one value, zero.
EMPTY_RANGE = 1e-12


@dataclass
class Observer:
    """Extremes and histogram of one tensor. Bins keep counts and sums, so that a bin that holds
    one value only (the zeros after a ReLU) is represented by exactly that value."""

    lo: float = np.inf
    hi: float = -np.inf
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    sums: np.ndarray = field(default_factory=lambda: np.zeros(BINS))

    def see_extremes(self, x: np.ndarray) -> None:
        self.lo = min(self.lo, float(x.min()))
        self.hi = max(self.hi, float(x.max()))

    def see_histogram(self, x: np.ndarray) -> None:
        """Second pass; `see_extremes` has seen all of the data."""
        flat = x.reshape(-1)
        width = max(self.hi - self.lo, EMPTY_RANGE)
        index = ((flat - np.float32(self.lo)) * np.float32((BINS - 1) / width)).astype(np.intp)
        np.clip(index, 0, BINS - 1, out=index)
        self.counts += np.bincount(index, minlength=BINS)
        self.sums += np.bincount(index, weights=flat, minlength=BINS)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean value, count) of the bins that hold something."""
        used = self.counts > 0
        return self.sums[used] / self.counts[used], self.counts[used]


def with_zero(lo: float, hi: float) -> tuple[float, float]:
    """Widen a range so that it holds zero and is not empty."""
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    return (lo, hi) if hi - lo > EMPTY_RANGE else (0.0, 1.0)


def activation_quant(lo: float, hi: float) -> Quant:
    """Per-tensor asymmetric int8 for a range that holds zero: zero is exactly representable."""
    scale = np.float32((hi - lo) / 255)
    zero_point = int(np.clip(round_half_away(-128 - lo / float(scale)), -128, 127))
    return Quant.make(scale, zero_point)


def squared_error(points: np.ndarray, counts: np.ndarray, lo: float, hi: float) -> float:
    """Sum of squared quantization errors under the range's scale and zero point."""
    quant = activation_quant(lo, hi)
    scale, zero_point = float(quant.scale[0]), int(quant.zero_point[0])
    q = np.clip(np.rint(points / scale) + zero_point, -128, 127)
    error = (q - zero_point) * scale - points
    return float(np.dot(error * error, counts))


def mse_range(observer: Observer) -> tuple[float, float]:
    """The range with the least squared error: both ends together first, then each alone."""
    lo, hi = with_zero(observer.lo, observer.hi)
    points, counts = observer.points()
    if observer.hi - observer.lo <= EMPTY_RANGE or not len(points):
        return lo, hi

    def best(candidates: list[tuple[float, float]]) -> tuple[float, float]:
        return min(candidates, key=lambda r: squared_error(points, counts, *r))

    low, high = best([(lo * f, hi * f) for f in FRACTIONS])
    if lo < 0 < hi:
        for _ in range(2):
            low, high = best([(low, hi * f) for f in FRACTIONS] + [(low, high)])
            low, high = best([(lo * f, high) for f in FRACTIONS] + [(low, high)])
    return with_zero(low, high)
