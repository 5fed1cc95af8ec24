"""What the inner loops may sum in 16 bits, against every extreme input."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codegen.a64 import broadcast
from codegen.a64.cores import widest

EXTREMES = np.array([-128, 127])


def fits(weights: np.ndarray) -> bool:
    """Whether 16 bits hold the sums of each row of `weights` with any int8."""
    products = weights.astype(int)[..., None] * EXTREMES
    most, least = products.max(-1).sum(-1), products.min(-1).sum(-1)
    return bool(most.max() <= 32767 and least.min() >= -32768)


@st.composite
def drawn(draw: st.DrawFn) -> tuple[np.ndarray, list[slice]]:
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    run, runs = draw(st.integers(1, 70)), draw(st.integers(1, 3))
    most = draw(st.sampled_from([1, 31, 63, 64, 90, 127, 128]))
    weights = r.integers(-most, min(most, 127) + 1, (draw(st.integers(1, 9)), run * runs))
    if draw(st.booleans()):
        weights = np.where(weights < 0, -most, min(most, 127))
    return weights.astype(np.int8), [slice(i * run, (i + 1) * run) for i in range(runs)]


@given(drawn())
def test_products_that_are_summed(case: tuple[np.ndarray, list[slice]]) -> None:
    weights, runs = case

    def fit(count: int) -> bool:
        """Taps eight apart, `count` at a time from the start of a run on."""
        found = True
        for run in runs:
            taps = weights[:, run]
            taps = np.pad(taps, ((0, 0), (0, -taps.shape[1] % 32)))
            for at in range(0, taps.shape[1], 8 * count):
                found &= all(fits(taps[:, at + i : at + 8 * count : 8]) for i in range(8))
        return found

    assert widest(weights, runs) == (4 if fit(4) else 2 if fit(2) else 1)


@given(drawn(), st.sampled_from([1, 2, 4]))
def test_groups_that_are_summed(case: tuple[np.ndarray, list[slice]], most: int) -> None:
    weights, runs = case
    found = broadcast.groups(weights, runs, most)
    run = runs[0].stop
    assert [sum(counts) for counts in found] == [
        -(-min(16, run - at) // 2) for at in range(0, run, 16)
    ]
    at, larger = 0, False
    for counts in found:
        for i, count in enumerate(counts):
            assert 1 <= count <= most
            for taps in (weights[:, slice_] for slice_ in runs):
                if count > 1:
                    for lane in (0, 1):
                        assert fits(taps[:, at + lane : at + 2 * count : 2])
            if count < most and i + 1 < len(counts):  # none could be larger
                larger |= all(
                    fits(weights[:, run_][:, at + lane : at + 2 * count + 2 : 2])
                    for run_ in runs
                    for lane in (0, 1)
                )
            at += 2 * count
    assert not larger
