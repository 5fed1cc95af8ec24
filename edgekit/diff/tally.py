"""Sums over batches from which a tensor's figures are made."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import Value
from edgekit.ops.requant import tensor_quant

#: Parts of the integer range in a histogram; each is a whole number of integers (4 of int8).
BINS = 64


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to noise ratio in dB; inf where nothing differs, -inf where there is no signal."""
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _squares(x: np.ndarray) -> float:
    return float(np.sum(np.square(x, dtype=np.float64)))


class Noise:
    """SQNR of what was added so far."""

    def __init__(self) -> None:
        self.signal = self.noise = 0.0

    def add(self, want: np.ndarray, have: np.ndarray) -> None:
        self.signal += _squares(want)
        self.noise += _squares(want - have)

    @property
    def db(self) -> float:
        return sqnr_db(self.signal, self.noise)


class Tally(Noise):
    """Everything about one tensor except its local error.

    Args:
        value: the second network's tensor, quantized per tensor.
    """

    def __init__(self, value: Value) -> None:
        super().__init__()
        info = np.iinfo(value.dtype)
        self.scale, self.zero_point = tensor_quant(value)
        self.qmin, self.qmax = int(info.min), int(info.max)
        self.covered = tuple((q - self.zero_point) * self.scale for q in (self.qmin, self.qmax))
        self.count = self.outside = 0
        self.right = self.dot = self.max_error = 0.0
        self.lo, self.hi = math.inf, -math.inf
        self.int_lo, self.int_hi = self.qmax, self.qmin
        self.histograms = np.zeros((2, BINS + 2), np.int64)

    def see(self, want: np.ndarray, have: np.ndarray, integers: np.ndarray) -> None:
        """Add a batch: the first network's reals, the second one's, and its integers."""
        self.add(want, have)
        self.count += want.size
        self.right += _squares(have)
        self.dot += float(np.sum(want.astype(np.float64) * have))
        self.max_error = max(self.max_error, float(np.abs(want - have).max()))
        self.lo, self.hi = min(self.lo, float(want.min())), max(self.hi, float(want.max()))
        self.int_lo = min(self.int_lo, int(integers.min()))
        self.int_hi = max(self.int_hi, int(integers.max()))
        level = np.rint(want.astype(np.float64) / self.scale) + self.zero_point
        self.outside += int(np.count_nonzero((level < self.qmin) | (level > self.qmax)))
        self.histograms[0] += self._bins(level)
        self.histograms[1] += self._bins(integers)

    def _bins(self, level: np.ndarray) -> np.ndarray:
        width = (self.qmax - self.qmin + 1) // BINS
        at = np.clip((level.astype(np.float64) - self.qmin) // width, -1, BINS) + 1
        return np.bincount(at.astype(np.intp).ravel(), minlength=BINS + 2)

    @property
    def cosine(self) -> float:
        """1 where both are zero everywhere."""
        norm = math.sqrt(self.signal * self.right)
        return self.dot / norm if norm > 0 else float(self.signal == self.right)

    @property
    def used(self) -> float:
        return (self.int_hi - self.int_lo) / (self.qmax - self.qmin)
