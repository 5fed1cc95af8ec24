"""How far beyond the observed extremes a range should reach.

Calibration sees few samples, so the largest score of all is seldom among them, and clipping it
costs far more than a slightly coarser step does. The tail of the samples' extremes is modelled as
exponential (peaks over a threshold: Pickands, Annals of Statistics 3, 1975, with shape 0), and the
range is the one with the least expected squared error: rounding everywhere, plus clipping of what
the tail says is still to come. The margin shrinks as the number of samples grows, and is nothing
where the extremes are a hard limit that several samples reach, as pixels do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: The fewest exceedances that a tail is fitted to.
LEAST_PEAKS = 4
#: Candidate margins in units of the mean excess.
MARGINS = np.linspace(0.0, 8.0, 65)


@dataclass(frozen=True)
class Tail:
    """Values above `threshold` occur in a share `rate` of the samples, their excess over it is
    exponential with mean `mean`."""

    threshold: float
    mean: float
    rate: float

    def clipping(self, limit: np.ndarray) -> np.ndarray:
        """Expected squared clipping error of one sample's extreme at `limit` >= threshold.

        E[(x - limit)^2; x > limit] = rate * exp(-(limit - threshold) / mean) * 2 mean^2.
        """
        if self.mean == 0:
            return np.zeros_like(limit)
        beyond = np.exp(-(limit - self.threshold) / self.mean)
        return np.asarray(self.rate * beyond * 2 * self.mean**2)


def tail_of(extremes: np.ndarray) -> Tail:
    """The upper tail of the samples' maxima [n], from its sqrt(n) largest, at least 4."""
    ordered = np.sort(extremes.astype(np.float64))[::-1]
    peaks = min(max(LEAST_PEAKS, math.isqrt(len(ordered))), len(ordered) - 1)
    if peaks < 1:
        return Tail(float(ordered[0]), 0.0, 0.0)
    threshold = float(ordered[peaks])
    return Tail(threshold, float(ordered[:peaks].mean()) - threshold, peaks / len(ordered))


def extended(
    minima: np.ndarray, maxima: np.ndarray, numbers: int, steps: int = 255
) -> tuple[float, float]:
    """The range with the least expected squared error of a sample; it holds what was observed.

    Args:
        minima, maxima: the extremes of each sample, [n].
        numbers: how many numbers of the tensor a sample has.
        steps: 2**bits - 1 of the integers that cover the range.
    """
    low, high = -float(minima.min()), float(maxima.max())
    below, above = tail_of(-minima), tail_of(maxima)
    lows, highs = low + MARGINS * below.mean, high + MARGINS * above.mean
    # Rounding errors are uniform over a step: step^2 / 12 (Widrow).
    width = np.maximum(lows[:, None], 0) + np.maximum(highs[None, :], 0)
    rounding = numbers * (width / steps) ** 2 / 12
    cost = rounding + below.clipping(lows)[:, None] + above.clipping(highs)[None, :]
    i, j = np.unravel_index(int(cost.argmin()), cost.shape)
    return -float(lows[i]), float(highs[j])
