"""The vectorised primitives against plain Python integers and real arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.ops import fixedpoint as fp

INT32 = st.integers(-(2**31), 2**31 - 1)
EDGES = [-(2**31), -(2**31) + 1, -(2**30), -1, 0, 1, 2**30 - 1, 2**30, 2**31 - 1]
INT32_EDGES = st.one_of(INT32, st.sampled_from(EDGES))


def c_div(a: int, b: int) -> int:
    """C's truncating division."""
    return abs(a) // abs(b) * (1 if (a >= 0) == (b >= 0) else -1)


def srdhm(a: int, b: int) -> int:
    if a == b == -(2**31):
        return 2**31 - 1
    nudge = 2**30 if a * b >= 0 else 1 - 2**30
    return c_div(a * b + nudge, 2**31)


def rdpot(x: int, exponent: int) -> int:
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if (x & mask) > threshold else 0)


def wrap(x: int) -> int:
    return (x + 2**31) % 2**32 - 2**31


@given(INT32_EDGES, INT32_EDGES)
def test_srdhm(a: int, b: int) -> None:
    assert int(fp.saturating_rounding_doubling_high_mul(a, b)) == srdhm(a, b)


@given(INT32_EDGES, st.integers(0, 31))
def test_rounding_divide(x: int, exponent: int) -> None:
    got = int(fp.rounding_divide_by_pot(x, exponent))
    assert got == rdpot(x, exponent)
    half_away = math.floor(abs(Fraction(x, 2**exponent)) + Fraction(1, 2))
    assert got == (half_away if x >= 0 else -half_away)


@given(INT32_EDGES, st.integers(2**30, 2**31 - 1), st.integers(-31, 30))
def test_multiply_by_quantized_multiplier(x: int, multiplier: int, shift: int) -> None:
    left, right = max(shift, 0), max(-shift, 0)
    want = rdpot(srdhm(wrap(x << left), multiplier), right)
    assert int(fp.multiply_by_quantized_multiplier(x, multiplier, shift)) == want


@given(st.lists(st.tuples(INT32_EDGES, st.integers(-31, 10)), min_size=1, max_size=50))
def test_vectors_equal_scalars(rows: list[tuple[int, int]]) -> None:
    x, shift = np.array(rows).T
    multiplier = np.full(len(x), 1518500250)
    together = fp.multiply_by_quantized_multiplier(x, multiplier, shift)
    alone = [
        int(fp.multiply_by_quantized_multiplier(*row))
        for row in zip(x, multiplier, shift, strict=True)
    ]
    assert together.tolist() == alone


@given(st.floats(2**-31, 2.0**30))
def test_quantize_multiplier(real: float) -> None:
    multiplier, shift = (int(v) for v in fp.quantize_multiplier(real))
    assert 2**30 <= multiplier < 2**31
    exact = Fraction(multiplier) * Fraction(2) ** (shift - 31)
    assert abs(exact - Fraction(real)) <= Fraction(real) / 2**31


@pytest.mark.parametrize(
    ("real", "want"),
    [
        (0.0, (0, 0)),
        (1.0, (1 << 30, 1)),
        (0.5, (1 << 30, 0)),
        (math.nextafter(1.0, 0.0), (1 << 30, 1)),  # rounds up to 2**31: carried into the shift
        (2.0**-32, (1 << 30, -31)),
        (2.0**-33, (0, 0)),  # a right shift of 32 is flushed to zero
        (1e-30, (0, 0)),
    ],
)
def test_quantize_multiplier_edges(real: float, want: tuple[int, int]) -> None:
    assert tuple(int(v) for v in fp.quantize_multiplier(real)) == want


@given(st.integers(-(2**31), 0))
def test_exp(a: int) -> None:
    got = int(fp.exp_on_negative_values(a)) / 2**31
    assert abs(got - math.exp(a / 2**26)) < 4e-7


@given(st.integers(0, 2**31 - 1))
def test_one_over_one_plus_x(a: int) -> None:
    got = int(fp.one_over_one_plus_x_for_x_in_0_1(a)) / 2**31
    assert abs(got - 1 / (1 + a / 2**31)) < 4e-9


@given(st.integers(2**19, 2**31 - 1))
def test_reciprocal(x: int) -> None:
    scale, over_unit = fp.reciprocal(x, 12)
    got = int(scale) / 2**31 * 2.0 ** -int(over_unit)
    assert got == pytest.approx(2**19 / x, rel=1e-8)


@given(st.floats(-1e6, 1e6))
def test_round_half_away(x: float) -> None:
    want = math.floor(abs(x)) + (abs(x) - math.floor(abs(x)) >= 0.5)
    assert float(fp.round_half_away(np.float64(x))) == math.copysign(want, x)


def test_round_half_away_near_a_half() -> None:
    assert float(fp.round_half_away(np.float64(0.49999999999999994))) == 0
    assert fp.round_half_away(np.float64([0.5, -0.5, 1.5, -2.5])).tolist() == [1, -1, 2, -3]


@pytest.mark.parametrize(
    ("clamp", "scale", "zero_point", "want"),
    [
        ((-math.inf, math.inf), 0.1, 5, (-128, 127)),
        ((0.0, math.inf), 0.1, -128, (-128, 127)),
        ((0.0, math.inf), 0.1, 5, (5, 127)),
        ((0.0, 6.0), 0.1, -100, (-100, -40)),
        ((0.0, 6.0), 0.01, -100, (-100, 127)),
        ((-1.0, 1.0), 0.01, 100, (0, 127)),
        ((1e9, 2e9), 1e-3, 0, (127, 127)),
    ],
)
def test_clamp_range(
    clamp: tuple[float, float], scale: float, zero_point: int, want: tuple[int, int]
) -> None:
    assert fp.clamp_range(clamp, scale, zero_point) == want
