"""Fixed-point primitives of TFLite and gemmlowp on numpy arrays, bit for bit.

Everything computes in int64 and wraps to int32 exactly where TFLite Micro's int32 would. "Qm.n"
below is a signed 32-bit fixed-point number with m integer and n fractional bits, m + n = 31.
Formula sources: ``quantization_util.cc`` and ``common.h`` of TFLite, ``fixedpoint.h`` of gemmlowp;
docs/SPEC.md repeats the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

INT32_MAX = 2**31 - 1
INT32_MIN = -(2**31)


def wrap32(x: ArrayLike) -> np.ndarray:
    """Two's complement wrap to int32, kept as int64."""
    return np.asarray(x, np.int64).astype(np.int32).astype(np.int64)


def round_half_away(x: ArrayLike) -> np.ndarray:
    """Round to the nearest integer, halves away from zero (C's ``round``); dtype is kept."""
    a = np.asarray(x)
    whole = np.trunc(a)
    # The fraction of a - trunc(a) is exact, so that 0.49999999999999994 does not become 1.
    return (whole + np.copysign(np.abs(a - whole) >= 0.5, a)).astype(a.dtype)


def quantize_multiplier(real: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """TFLite's QuantizeMultiplier: ``real ~ multiplier * 2**(shift - 31)``.

    Args:
        real: non-negative float64 numbers of any shape.

    Returns:
        (multiplier int32 in [2**30, 2**31) or 0, shift int32 in [-31, ...)); both 0 where `real`
        is 0 or below 2**-32.
    """
    fraction, exponent = np.frexp(np.asarray(real, np.float64))
    q = round_half_away(fraction * float(1 << 31)).astype(np.int64)
    exponent = exponent.astype(np.int64)
    carry = q == 1 << 31
    q = np.where(carry, 1 << 30, q)
    exponent = np.where(carry, exponent + 1, exponent)
    tiny = exponent < -31
    return (
        np.where(tiny, 0, q).astype(np.int32),
        np.where(tiny | (q == 0), 0, exponent).astype(np.int32),
    )


def multiplier_of(real: float) -> tuple[int, int]:
    """`quantize_multiplier` of one factor of either sign, at most 2**30: left shifts fit int32."""
    multiplier, shift = quantize_multiplier(math.copysign(min(abs(real), 2.0**30), real))
    return int(multiplier), int(shift)


def saturating_rounding_doubling_high_mul(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """gemmlowp's SRDHM: ``round(a * b / 2**31)`` of int32 operands, as int64 holding int32.

    gemmlowp adds a sign-dependent nudge and divides with C truncation, which is the same as
    rounding halves up: ``floor((a * b + 2**30) / 2**31)``. Only INT32_MIN squared saturates.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    return np.minimum((product + (1 << 30)) >> 31, INT32_MAX)


def rounding_divide_by_pot(x: ArrayLike, exponent: ArrayLike) -> np.ndarray:
    """``x / 2**exponent`` with halves away from zero; exponent in [0, 31]; int64."""
    v = np.asarray(x, np.int64)
    e = np.asarray(exponent, np.int64)
    half = (np.int64(1) << e) >> 1
    return (v + half - ((v < 0) & (e > 0))) >> e


def saturating_rounding_multiply_by_pot(x: ArrayLike, exponent: int) -> np.ndarray:
    """``x * 2**exponent``: saturates to int32 for positive exponents, rounds for negative ones."""
    v = np.asarray(x, np.int64)
    if exponent <= 0:
        return rounding_divide_by_pot(v, -exponent)
    return np.clip(v << exponent, INT32_MIN, INT32_MAX)


def multiply_by_quantized_multiplier(
    x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike
) -> np.ndarray:
    """TFLM's MultiplyByQuantizedMultiplier with its two roundings; a positive shift is left.

    Args:
        x: int32 values; `multiplier`, `shift` broadcast against them.

    Returns:
        int64 array that holds int32 values.
    """
    s = np.asarray(shift, np.int64)
    left, right = np.maximum(s, 0), np.maximum(-s, 0)
    v = np.asarray(x, np.int64)
    if left.any():
        v = wrap32(v << left)
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(v, multiplier), right)


def requantize(
    acc: np.ndarray,
    multiplier: ArrayLike,
    shift: ArrayLike,
    zero_point: int,
    qmin: int,
    qmax: int,
    dtype: str = "int8",
) -> np.ndarray:
    """`dtype` of int32 accumulators whose last axis is the channel (`multiplier` is [C] or [1]).

    Works in blocks of rows so that the int64 temporaries stay in the cache.
    """
    channels = acc.shape[-1]
    rows = acc.reshape(-1, channels)
    out = np.empty(rows.shape, dtype)
    step = max(1, 65536 // channels)
    for i in range(0, len(rows), step):
        y = multiply_by_quantized_multiplier(rows[i : i + step], multiplier, shift)
        out[i : i + step] = np.clip(y + zero_point, qmin, qmax)
    return out.reshape(acc.shape)


def reduced_multipliers(multiplier: ArrayLike, shift: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers of 15 bits and their right shifts, int64, of those of `quantize_multiplier`."""
    m = np.asarray(multiplier, np.int64)
    return np.where(m < 0x7FFF0000, (m + (1 << 15)) >> 16, 0x7FFF), 15 - np.asarray(shift, np.int64)


def reduced_multiplier(multiplier: int, shift: int) -> tuple[int, int]:
    """One of `reduced_multipliers`."""
    m, s = reduced_multipliers(multiplier, shift)
    return int(m), int(s)


def multiply_wide(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> np.ndarray:
    """TFLM's MultiplyByQuantizedMultiplier of int64 below 2**47: one rounding, halves up.

    `multiplier` and `shift` are those of `reduced_multiplier`.
    """
    right = np.asarray(shift, np.int64)
    product = np.asarray(x, np.int64) * np.asarray(multiplier, np.int64)
    wide: np.ndarray = (product + (np.int64(1) << (right - 1))) >> right
    return wide


def exp_on_interval_between_negative_one_quarter_and_0_excl(a: np.ndarray) -> np.ndarray:
    """exp(a) for a in [-1/4, 0), Q0.31 in and out: a Taylor expansion around -1/8."""
    mul = saturating_rounding_doubling_high_mul
    term = 1895147668  # exp(-1/8)
    third = 715827883  # 1/3
    x = np.asarray(a, np.int64) + (1 << 28)
    x2 = mul(x, x)
    x3 = mul(x2, x)
    x4_over_4 = rounding_divide_by_pot(mul(x2, x2), 2)
    higher = rounding_divide_by_pot(mul(x4_over_4 + x3, third) + x2, 1)
    return term + mul(term, x + higher)


#: exp(-2**k) in Q0.31 for k = -2 .. 4.
_EXP_OF_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def exp_on_negative_values(a: ArrayLike, integer_bits: int = 5) -> np.ndarray:
    """gemmlowp's exp of Q(integer_bits).n numbers <= 0; the result is Q0.31 (1.0 is INT32_MAX)."""
    v = np.asarray(a, np.int64)
    fractional_bits = 31 - integer_bits
    quarter = 1 << (fractional_bits - 2)
    rest = (v & (quarter - 1)) - quarter
    result = exp_on_interval_between_negative_one_quarter_and_0_excl(
        saturating_rounding_multiply_by_pot(rest, integer_bits)
    )
    remainder = rest - v
    for exponent, factor in zip(range(-2, integer_bits), _EXP_OF_POWERS, strict=False):
        bit = (remainder & (1 << (fractional_bits + exponent))) != 0
        result = np.where(bit, saturating_rounding_doubling_high_mul(result, factor), result)
    return np.where(v == 0, INT32_MAX, result)


def newton_reciprocal(a: ArrayLike) -> np.ndarray:
    """2 / (1 + a) for a in [0, 1), Q0.31 to Q2.29: three Newton-Raphson steps."""
    mul = saturating_rounding_doubling_high_mul
    total = np.asarray(a, np.int64) + INT32_MAX
    half_denominator = (total + 1) >> 1  # a rounding half sum of two non-negative numbers
    x = 1515870810 + mul(half_denominator, -1010580540)  # 48/17 - 32/17 * d
    for _ in range(3):
        error = (1 << 29) - mul(half_denominator, x)
        x = x + saturating_rounding_multiply_by_pot(mul(x, error), 2)
    return x


def one_over_one_plus_x_for_x_in_0_1(a: ArrayLike) -> np.ndarray:
    """1 / (1 + a) for a in [0, 1), Q0.31 in and out."""
    return saturating_rounding_multiply_by_pot(newton_reciprocal(a), 1)


def reciprocal(x: ArrayLike, integer_digits: int) -> tuple[np.ndarray, np.ndarray]:
    """TFLite's GetReciprocal of positive int32 `x` in Q(integer_digits).n.

    Returns:
        (scale in Q0.31, num_bits_over_unit): ``1 / x = scale * 2**-num_bits_over_unit``.
    """
    v = np.asarray(x, np.int64)
    headroom = 32 - np.frexp(v.astype(np.float64))[1].astype(np.int64)  # leading zeros of uint32
    return (
        one_over_one_plus_x_for_x_in_0_1((v << headroom) - (1 << 31)),
        integer_digits - headroom,
    )


def inverse_sqrt(x: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """TFLite's GetInvSqrtQuantizedMultiplierExp of int32 `x` >= 0, with its reverse shift of -1.

    Returns:
        (multiplier, shift): ``1 / sqrt(x) ~ multiplier * 2**(shift - 31)``; 0 counts as 1. Five
        Newton-Raphson steps from 1 in Q3.28.
    """
    mul = saturating_rounding_doubling_high_mul
    v = np.asarray(x, np.int64)
    one = v <= 1
    v = np.maximum(v, 2)
    shift = np.full(v.shape, 11, np.int64)
    while (large := v >= 1 << 29).any():
        v, shift = np.where(large, v >> 2, v), np.where(large, shift + 1, shift)
    # Leading zeros of 32 bits less the sign, in pairs, less one.
    pairs = (31 - np.frexp(v.astype(np.float64))[1].astype(np.int64)) // 2 - 1
    v, shift = v << (2 * pairs), shift - pairs
    half = rounding_divide_by_pot(v >> 1, 1)
    three_halves = (1 << 28) + (1 << 27)
    y = np.full(v.shape, 1 << 28, np.int64)
    for _ in range(5):
        cube = saturating_rounding_multiply_by_pot(mul(mul(y, y), y), 6)
        y = saturating_rounding_multiply_by_pot(wrap32(mul(three_halves, y) - mul(half, cube)), 3)
    y = mul(y, 1518500250)  # sqrt(2) / 2
    y = np.where(shift < 0, wrap32(y << np.maximum(-shift, 0)), y)
    return np.where(one, INT32_MAX, y), np.where(one, 0, -np.maximum(shift, 0))


def log_of_at_least_one(x: ArrayLike, bits_in: int, bits_out: int) -> np.ndarray:
    """TFLite's log_x_for_x_greater_than_or_equal_to_1: Q(bits_in) in, Q(bits_out) out.

    `x` lies between two powers of sqrt(2) times the fourth root of 1/2; a Pade approximation of
    the logarithm serves the rest. Constants are Q0.31.
    """
    mul, pot = saturating_rounding_doubling_high_mul, saturating_rounding_multiply_by_pot
    log_2, root4_half, root_half = 1488522236, 1805811301, 1518500250
    alpha_n, alpha_d, alpha_i, alpha_f = 117049297, 127690142, 1057819769, 638450708
    accumulated = bits_out + 1
    quarter = 1 << (29 - accumulated)
    z_a = np.asarray(x, np.int64)

    def leading_zeros(v: np.ndarray) -> np.ndarray:
        return 32 - np.frexp(v.astype(np.float64))[1].astype(np.int64)

    def up(v: np.ndarray, by: np.ndarray) -> np.ndarray:
        return np.clip(v << by, INT32_MIN, INT32_MAX)

    def whole(v: np.ndarray) -> np.ndarray:
        return np.clip(v << (31 - accumulated), INT32_MIN, INT32_MAX)

    zeros_a = leading_zeros(z_a)
    r_a = pot(mul(up(z_a, zeros_a - 1), root_half), 1)
    power_a = np.clip(whole(bits_in - zeros_a) + quarter, INT32_MIN, INT32_MAX)
    zeros_b = leading_zeros(mul(z_a, root_half)) - 1
    r_b = up(z_a, zeros_b)
    power_b = np.clip(whole(bits_in - zeros_b) - quarter, INT32_MIN, INT32_MAX)
    r, power = np.minimum(r_a, r_b), np.maximum(power_a, power_b)
    p = r + root4_half
    p = (p + 1) >> 1  # a rounding half sum of two non-negative numbers
    q = 2 * (r - root4_half)
    square = mul(q, q)
    numerator = mul(q, r) + mul(mul(q, square), alpha_n)
    rest = mul(p, alpha_i + q + mul(alpha_d, square)) + mul(alpha_f, q)
    inverse = one_over_one_plus_x_for_x_in_0_1(wrap32(rest))
    scaled = pot(wrap32(numerator), -accumulated)
    return pot(wrap32(mul(power, log_2) + mul(scaled, inverse)), 1)


#: Intervals of an interpolation table; it has one more entry than that.
TABLE_STEPS = 512


def interpolation_table(
    function: Callable[[np.ndarray], np.ndarray], lo: float, hi: float, scaling: float = 32768.0
) -> np.ndarray:
    """TFLite's LUTPopulate for int16: `function` times `scaling` over [lo, hi].

    int16[513], in float32 arithmetic; with the default `scaling` results in [-1, 1) are Q0.15. Each
    entry is lowered by half of the error that linear interpolation makes in the middle of its
    interval.
    """
    f32 = np.float32
    # The integers -32768..32767 stand for lo..hi, as TFLite derives both ends from a scale.
    step = (f32(hi) - f32(lo)) / f32(TABLE_STEPS)
    at = f32(lo) + np.arange(TABLE_STEPS + 1, dtype=f32) * step

    def scaled(x: np.ndarray) -> np.ndarray:
        return function(x.astype(np.float64)).astype(f32) * f32(scaling)

    start = round_half_away(scaled(at[:-1]))
    interpolated = round_half_away((scaled(at[1:]) + start) / f32(2))
    middle = round_half_away(scaled(at[:-1] + step / f32(2)))
    bias = round_half_away((interpolated - middle) / f32(2))
    last = round_half_away(scaled(at[-1:]))
    table: np.ndarray = np.clip(np.concatenate([start - bias, last]), -32768, 32767)
    return table.astype(np.int16)


def interpolate(table: np.ndarray, x: ArrayLike) -> np.ndarray:
    """The table's function at int16 numbers `x`, linearly between entries (TFLite's LUTLookup)."""
    v = np.asarray(x, np.int64)
    wide = table.astype(np.int64)
    index = 256 + (v >> 7)
    base = wide[index]
    return base + (((wide[index + 1] - base) * (v & 127) + 64) >> 7)


#: Beyond every integer of an activation and its zero point.
FAR = np.float32(1 << 20)


def clamp_range(
    clamp: tuple[float, float], scale: float, zero_point: int, qmin: int = -128, qmax: int = 127
) -> tuple[int, int]:
    """The integers between which a fused activation clamps (CalculateActivationRangeQuantized).

    Each finite bound becomes ``zero_point + round(bound / scale)``, in float32 and with halves
    away from zero, and is then limited to [qmin, qmax].
    """

    def quantized(bound: float) -> int:
        with np.errstate(over="ignore"):  # a quotient beyond float32 is beyond qmin or qmax
            ratio = np.clip(np.float32(bound) / np.float32(scale), -FAR, FAR)
        return int(min(max(float(round_half_away(ratio)) + zero_point, qmin), qmax))

    lo, hi = clamp
    return (
        qmin if math.isinf(lo) else quantized(lo),
        qmax if math.isinf(hi) else quantized(hi),
    )


def conv_multipliers(in_scale: float, w_scales: np.ndarray, out_scale: float) -> np.ndarray:
    """Effective scale per channel, float64, from float32 scales widened first.

    TFLM's PopulateConvolutionQuantizationParams: ``double(in) * double(filter) / double(out)``.
    """
    wide = np.float64(np.float32(in_scale)) * np.asarray(w_scales, np.float32).astype(np.float64)
    return wide / np.float64(np.float32(out_scale))
