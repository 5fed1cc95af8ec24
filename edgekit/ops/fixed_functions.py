"""Logistic and tanh in fixed point, and arithmetic of int16, as gemmlowp and TFLite have them.

Formula sources: ``fixedpoint.h`` of gemmlowp, ``logistic.h``, ``tanh.h`` and ``hard_swish.h`` of
TFLite. int64 arrays hold int32 numbers; "Qm.n" as in `edgekit.ops.fixedpoint`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgekit.ops import fixedpoint as fp

INT16_MAX = 32767


def logistic(a: ArrayLike) -> np.ndarray:
    """gemmlowp's logistic of Q4.27 numbers in Q0.31."""
    v = np.asarray(a, np.int64)
    positive = fp.one_over_one_plus_x_for_x_in_0_1(fp.exp_on_negative_values(-np.abs(v), 4))
    one_sided = np.where(v > 0, positive, fp.INT32_MAX - positive)
    return np.where(v == 0, 1 << 30, one_sided)


def tanh(a: ArrayLike) -> np.ndarray:
    """gemmlowp's tanh of Q4.27 numbers in Q0.31."""
    v = np.asarray(a, np.int64)
    # Read as Q5.26 the same integer is twice the number.
    result = one_minus_x_over_one_plus_x_for_x_in_0_1(fp.exp_on_negative_values(-np.abs(v), 5))
    return np.where(v == 0, 0, np.where(v < 0, -result, result))


def one_minus_x_over_one_plus_x_for_x_in_0_1(a: ArrayLike) -> np.ndarray:
    """(1 - a) / (1 + a) for a in [0, 1], Q0.31 in and out: 2 / (1 + a) - 1 by Newton-Raphson."""
    x = fp.newton_reciprocal(a)
    return fp.saturating_rounding_multiply_by_pot(x - (1 << 29), 2)


def saturating_high_mul16(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """round(a * b / 2**15) of int16 operands, halves up, saturated (gemmlowp's SRDHM of int16)."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + (1 << 14)) >> 15, INT16_MAX)


def saturating_left_shift16(x: ArrayLike, exponent: int) -> np.ndarray:
    """x * 2**exponent, saturated to int16."""
    return np.clip(np.asarray(x, np.int64) << exponent, -INT16_MAX - 1, INT16_MAX)


def multiplier16(real: float) -> tuple[int, int]:
    """QuantizeMultiplier, then DownScaleInt32ToInt16Multiplier: ``real ~ m * 2**(shift - 15)``."""
    multiplier, shift = fp.multiplier_of(real)
    if multiplier >= fp.INT32_MAX - (1 << 15):
        return INT16_MAX, shift
    return (multiplier + (1 << 15)) >> 16, shift


def is_power_of_two(scale: float, exponent: int) -> bool:
    """TFLM's CheckedLog2: whether a float32 scale is 2**exponent, up to 1e-3 in the logarithm."""
    f32 = np.float32
    log2 = f32(np.log(f32(scale)) * (f32(1.0) / np.log(f32(2.0))))
    rounded = fp.round_half_away(log2)
    return bool(abs(log2 - rounded) < f32(1e-3)) and int(rounded) == exponent
