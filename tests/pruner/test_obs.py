"""Optimal brain surgeon against brute force and against magnitude."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruner import obs
from pruner.obs import Reader, follows, sparsify


def problem(seed: int, rows: int = 5, k: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and the moment of correlated inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, k)) @ rng.normal(size=(k, k)) + 0.3 * rng.normal(size=(400, k))
    return rng.normal(size=(rows, k)), x.T @ x / len(x)


def error(rows: np.ndarray, new: np.ndarray, h: np.ndarray) -> float:
    return float(np.einsum("ok,kl,ol->", new - rows, h, new - rows))


def refitted(row: np.ndarray, h: np.ndarray, live: np.ndarray) -> np.ndarray:
    """The best row with zeros outside `live`, by solving for it."""
    new = np.zeros_like(row)
    new[live] = np.linalg.solve(h[np.ix_(live, live)], h[live] @ row)
    return new


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.25, 0.5, 0.7]))
def test_beats_magnitude_and_leaves_the_best_weights(seed: int, share: float) -> None:
    rows, h = problem(seed)
    count = round(share * rows.size)
    new = sparsify(rows, h, count)
    assert (new == 0).sum() == count
    cut = np.where(np.abs(rows) > np.sort(np.abs(rows).ravel())[count - 1], rows, 0)
    assert error(rows, new, h) < error(rows, cut, h)
    for row, found in zip(rows, new, strict=True):
        np.testing.assert_allclose(found, refitted(row, h, found != 0), rtol=1e-5, atol=1e-8)


def test_chooses_better_than_magnitude_even_refitted() -> None:
    """Over many problems: the choice of the weights counts, not their refit alone."""
    ratios = []
    for seed in range(20):
        rows, h = problem(seed)
        new = sparsify(rows, h, rows.size // 2)
        threshold = np.median(np.abs(rows))
        simple = np.array([refitted(r, h, np.abs(r) > threshold) for r in rows])
        ratios.append(error(rows, new, h) / error(rows, simple, h))
    assert np.mean(ratios) < 0.7 and max(ratios) < 1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8)]),
       st.integers(3, 26))  # fmt: skip
def test_patterns_hold(seed: int, pattern: tuple[int, int], k: int) -> None:
    rows, h = problem(seed, 3, k)
    new = sparsify(rows, h, 0, pattern)
    assert follows(new, pattern) and not follows(np.ones((1, pattern[1])), pattern)
    full = k // pattern[1] * pattern[0] + min(k % pattern[1], pattern[0])
    assert ((new != 0).sum(axis=1) == full).all(), "no more zeros than the pattern asks for"


def test_zeros_stay_and_count() -> None:
    rows, h = problem(1)
    rows[:, :6] = 0
    new = sparsify(rows, h, 50)
    assert (new[:, :6] == 0).all() and (new == 0).sum() == 50


def test_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, h = problem(2, rows=7)
    monkeypatch.setattr(obs, "BLOCK_ELEMENTS", 2 * h.size)
    new = sparsify(rows, h, 83)
    assert (new == 0).sum() == 83
    for row, found in zip(rows, new, strict=True):
        np.testing.assert_allclose(found, refitted(row, h, found != 0), rtol=1e-5, atol=1e-8)


def test_costs_of_channels_are_errors_after_the_refit() -> None:
    rows, h = problem(3)
    reader = Reader(rows, np.linalg.inv(h), 2.0)
    sets = [np.array([0, 1, 2]), np.array([5, 9]), np.array([], int)]
    live = np.ones(len(h), bool)
    live[sets[0]] = False
    best = np.array([refitted(r, h, live) for r in rows])
    costs = reader.costs(sets)
    np.testing.assert_allclose(costs[0], error(rows, best, h) / 2.0)
    assert costs[2] == 0
    reader.remove(sets[0])
    np.testing.assert_allclose(reader.rows, best, atol=1e-9)
    live[sets[1]] = False
    after = np.array([refitted(r, h, live) for r in rows])
    np.testing.assert_allclose(reader.costs([sets[1]])[0], error(best, after, h) / 2.0, rtol=1e-6)
