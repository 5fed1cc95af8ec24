"""The requantization lane against SPEC's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth")

from targets.npu.model import rescale
from targets.npu.rtl.rescale import Rescale

from .bench import simulate

_EXTREMES = (0, 1, -1, 2, -2, (1 << 31) - 1, -1 << 31, 1 << 30, -1 << 30)


def _operands(rng: np.random.Generator, count: int) -> np.ndarray:
    """int64 [count, 5]: acc, bias, multiplier, left, right."""
    wide = rng.integers(-1 << 31, 1 << 31, (count, 2)) >> rng.integers(0, 32, (count, 2))
    wide = np.where(rng.random((count, 2)) < 0.2, rng.choice(_EXTREMES, (count, 2)), wide)
    multiplier = rng.integers(0, 1 << 31, count)
    # Powers of two make sums that lie halfway between two results.
    halves = rng.random(count) < 0.4
    multiplier = np.where(halves, 1 << rng.integers(0, 31, count), multiplier)
    multiplier = np.where(rng.random(count) < 0.1, (1 << 31) - 1, multiplier)
    left = np.where(rng.random(count) < 0.6, 0, rng.integers(0, 32, count))
    right = np.where(rng.random(count) < 0.3, 0, rng.integers(0, 32, count))
    return np.concatenate([wide, multiplier[:, None], left[:, None], right[:, None]], axis=1)


@pytest.mark.parametrize(
    ("zero_point", "low", "high"), [(0, -128, 127), (-128, -128, 127), (127, -5, 5), (3, 9, -9)]
)
def test_results_are_specs(zero_point: int, low: int, high: int) -> None:
    operands = _operands(np.random.default_rng(zero_point + 128), 250)
    acc, bias, multiplier, left, right = operands.T
    parameters = np.stack([bias, multiplier, left | right << 8], axis=1).astype(np.int32)
    expected = np.minimum(
        np.maximum(rescale(acc.astype(np.int32), parameters) + zero_point, low), high
    )
    dut: Any = Rescale()
    results = []

    async def drive(ctx: Any) -> None:
        ctx.set(dut.zero_point, zero_point)
        ctx.set(dut.low, low)
        ctx.set(dut.high, high)
        for i in range(len(operands) + Rescale.LATENCY):
            if i >= Rescale.LATENCY:
                results.append(ctx.get(dut.result))
            row = operands[min(i, len(operands) - 1)].tolist()
            for name, value in zip(
                ("acc", "bias", "multiplier", "left", "right"), row, strict=True
            ):
                ctx.set(getattr(dut, name), value)
            await ctx.tick()

    simulate(dut, drive)
    wrong = np.nonzero(np.array(results) != expected)[0]
    assert not wrong.size, (operands[wrong[0]], results[wrong[0]], expected[wrong[0]])
