"""The margin of scores beyond what calibration saw."""

from __future__ import annotations

import numpy as np
import pytest

from quantizer.tails import extended, tail_of


def test_an_exponential_tail_is_found() -> None:
    rng = np.random.default_rng(0)
    tail = tail_of(rng.exponential(2.0, 100_000))
    assert tail.mean == pytest.approx(2.0, rel=0.2)
    assert tail.rate == pytest.approx(316 / 100_000)
    limit = np.array([tail.threshold])
    assert tail.clipping(limit)[0] == pytest.approx(tail.rate * 2 * tail.mean**2)


def test_a_hard_limit_gets_no_margin() -> None:
    """Pixels: many samples reach 255, none more; a ReLU: every sample reaches 0."""
    maxima = np.minimum(np.random.default_rng(0).normal(250, 20, 64), 255)
    assert extended(np.zeros(64), maxima, 10) == (0.0, 255.0)


def test_the_margin_shrinks_with_the_samples() -> None:
    rng = np.random.default_rng(0)

    def margin(n: int) -> float:
        highs = [rng.exponential(1.0, n) for _ in range(50)]
        return float(np.mean([extended(-x, x, 10)[1] - x.max() for x in highs]))

    assert margin(16) > margin(256) > margin(16384) >= 0


def test_expected_error_falls() -> None:
    """Over many small calibration sets, the margin costs less than it saves on new samples."""
    rng = np.random.default_rng(1)
    plain = wide = 0.0
    for _ in range(200):
        seen, new = rng.laplace(0, 1, (30, 4)), rng.laplace(0, 1, (1000, 4))
        ranges = [(seen.min(), seen.max()), extended(seen.min(axis=1), seen.max(axis=1), 4)]
        errors = []
        for low, high in ranges:
            step = (high - low) / 255
            clipped = np.clip(new, low, high)
            errors.append(((np.rint(clipped / step) * step - new) ** 2).sum())
        plain, wide = plain + errors[0], wide + errors[1]
    assert wide < plain / 3


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_samples(n: int) -> None:
    low, high = extended(np.arange(n) - 5.0, np.arange(n) + 5.0, 3)
    assert low <= -5 and high >= 5 + n - 1
