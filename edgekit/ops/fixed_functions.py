"""Logistic, tanh and inverse square root in fixed point, as gemmlowp and TFLite compute them.

Formula sources: ``fixedpoint.h`` of gemmlowp, ``common.h``, ``logistic.h``, ``tanh.h`` and
``hard_swish.h`` of TFLite. int64 arrays hold int32 numbers; "Qm.n" as in `edgekit.ops.fixedpoint`.
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


def inverse_sqrt(value: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """TFLite's GetInvSqrtQuantizedMultiplierExp of positive int32 numbers.

    Returns:
        (multiplier, shift) with ``1 / sqrt(value) = multiplier * 2**(shift - 31)``, shift <= 0.
        Numbers below 2 give (INT32_MAX, 0).
    """
    v = np.maximum(np.asarray(value, np.int64), 2)
    right = np.full(v.shape, 11, np.int64)
    while (v >= 1 << 29).any():
        large = v >= 1 << 29
        v, right = np.where(large, v // 4, v), right + large
    zeros = 32 - np.frexp(v.astype(np.float64))[1].astype(np.int64)
    pairs = (zeros - 1) // 2 - 1
    right = right - pairs
    v = v << (2 * pairs)

    mul = fp.saturating_rounding_doubling_high_mul
    half = fp.rounding_divide_by_pot(v >> 1, 1)  # half the number, Q3.28
    x = np.full(v.shape, 1 << 28, np.int64)
    for _ in range(5):
        cube = fp.saturating_rounding_multiply_by_pot(mul(mul(x, x), x), 6)
        step = mul((1 << 28) + (1 << 27), x) - mul(half, cube)
        x = fp.saturating_rounding_multiply_by_pot(step, 3)
    x = mul(x, 1518500250)  # sqrt(2) / 2
    x, right = np.where(right < 0, x << np.maximum(-right, 0), x), np.maximum(right, 0)
    small = np.asarray(value, np.int64) < 2
    return np.where(small, fp.INT32_MAX, x), np.where(small, 0, -right)


def saturating_high_mul16(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """round(a * b / 2**15) of int16 operands, halves up, saturated (gemmlowp's SRDHM of int16)."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + (1 << 14)) >> 15, INT16_MAX)


def saturating_left_shift16(x: ArrayLike, exponent: int) -> np.ndarray:
    """x * 2**exponent, saturated to int16."""
    return np.clip(np.asarray(x, np.int64) << exponent, -INT16_MAX - 1, INT16_MAX)


def multiplier16(real: float) -> tuple[int, int]:
    """QuantizeMultiplier, then DownScaleInt32ToInt16Multiplier: ``real ~ m * 2**(shift - 15)``."""
    multiplier, shift = (int(v) for v in fp.quantize_multiplier(real))
    if multiplier >= fp.INT32_MAX - (1 << 15):
        return INT16_MAX, shift
    return (multiplier + (1 << 15)) >> 16, shift


def is_power_of_two(scale: float, exponent: int) -> bool:
    """TFLM's CheckedLog2: whether a float32 scale is 2**exponent, up to 1e-3 in the logarithm."""
    f32 = np.float32
    log2 = f32(np.log(f32(scale)) * (f32(1.0) / np.log(f32(2.0))))
    rounded = fp.round_half_away(log2)
    return bool(abs(log2 - rounded) < f32(1e-3)) and int(rounded) == exponent
