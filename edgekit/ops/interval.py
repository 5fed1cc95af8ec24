"""Intervals of integer tensors, channel by channel: what values can occur for any input.

Sound means that no input of the network gives a value outside. Where both ends are equal, the
channel has that value at every position for every input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.graph import Value
from edgekit.ops import fixedpoint as fp


@dataclass(frozen=True)
class Interval:
    """Least and greatest integer along the last axis: int64 [C], or [1] for a tensor of rank 0."""

    lo: np.ndarray
    hi: np.ndarray

    @property
    def constant(self) -> np.ndarray:
        """bool [C]: channels that are one number for every input, at every position."""
        single: np.ndarray = self.lo == self.hi
        return single

    @property
    def magnitude(self) -> np.ndarray:
        """int64 [C]: the greatest absolute value."""
        return np.maximum(np.abs(self.lo), np.abs(self.hi))

    def clipped(self, lo: int, hi: int) -> Interval:
        return Interval(np.clip(self.lo, lo, hi), np.clip(self.hi, lo, hi))

    def over_all(self, channels: int) -> Interval:
        """The interval of all channels together, for each of `channels`."""
        return Interval(np.full(channels, self.lo.min()), np.full(channels, self.hi.max()))


def channels_of(value: Value) -> int:
    return value.shape[-1] if value.shape else 1


def between(value: Value, lo: int, hi: int) -> Interval:
    """[lo, hi] in every channel of `value`."""
    c = channels_of(value)
    return Interval(np.full(c, lo, np.int64), np.full(c, hi, np.int64))


def full(value: Value) -> Interval:
    """Everything that the dtype of `value` holds."""
    info = np.iinfo(value.dtype)
    return between(value, int(info.min), int(info.max))


def of_array(data: np.ndarray) -> Interval:
    """The interval of a constant."""
    rows = data.astype(np.int64).reshape(-1, data.shape[-1] if data.ndim else 1)
    return Interval(rows.min(0), rows.max(0))


def requantized(
    acc: Interval,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    zero_point: int,
    qmin: int,
    qmax: int,
) -> Interval:
    """What requantization makes of `acc`, as `fixedpoint.requantize` does it.

    Multipliers are not negative and both roundings are monotone, so that the ends go to the ends,
    unless something wraps at 32 bits: an accumulator outside int32, or one that a left shift takes
    there. Such channels can be anything between the clamps.
    """
    left = np.clip(np.asarray(shift, np.int64), 0, 32)
    fits = (acc.lo >= -((1 << 31) >> left)) & (acc.hi <= fp.INT32_MAX >> left)

    def result(x: np.ndarray) -> np.ndarray:
        y = fp.multiply_by_quantized_multiplier(np.where(fits, x, 0), multiplier, shift)
        return np.clip(y + zero_point, qmin, qmax)

    return Interval(np.where(fits, result(acc.lo), qmin), np.where(fits, result(acc.hi), qmax))
