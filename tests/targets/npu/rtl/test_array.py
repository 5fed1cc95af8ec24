"""Lanes, products, sums and maxima of single steps and of pixels of several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth")

from targets.npu.config import Accelerator
from targets.npu.rtl.array import LUT_LATENCY, MultiplierArray, lut_product

from .bench import simulate

_KINDS = ("one", "two", "four", "depthwise", "sum", "max")


def _step(words: np.ndarray, weights: np.ndarray, kind: str, offset: int, group: int) -> list[int]:
    """What a step adds to each lane, or its maxima."""
    per = {"one": 8, "two": 4, "four": 2}.get(kind)
    if per:
        lanes = words[: 8 // per, :per].reshape(8)
        return (weights.astype(int) @ lanes.astype(int)).tolist()
    bytes_ = words[:, offset : offset + group].astype(int)
    if kind == "max":
        return bytes_.max(axis=0).tolist()
    factors = weights[:group, :4].astype(int).T if kind == "depthwise" else 1
    return (bytes_ * factors).sum(axis=0).tolist()


@pytest.mark.parametrize("lut", [False, True])
@pytest.mark.parametrize("lanes", [1, 2])
def test_lanes_and_sums(lanes: int, lut: bool) -> None:
    config = Accelerator("t", lanes, 1, 64, 16, 16, lut_multipliers=lut)
    rng = np.random.default_rng(lanes)
    dut: Any = MultiplierArray(config)

    async def drive(ctx: Any) -> None:
        for kind in _KINDS:
            command = {"conv": int(kind in ("one", "two", "four")), "two": int(kind == "two"),
                       "four": int(kind == "four"), "sum": int(kind == "sum"),
                       "max": int(kind == "max")}  # fmt: skip
            ctx.set(dut.command, {**_zeros(dut), **command})
            offset = int(rng.integers(0, 8 // lanes)) * lanes
            steps = int(rng.integers(1, 5))
            words = rng.integers(-128, 128, (steps, 4, 8)).astype(np.int8)
            weights = rng.integers(-128, 128, (steps, lanes, 8)).astype(np.int8)
            for cycle in range(steps + dut.latency):
                step = min(cycle, steps - 1)
                for t in range(4):
                    ctx.set(dut.words[t], int.from_bytes(words[step, t].tobytes(), "little"))
                    some = words[step, t, offset : offset + lanes].tobytes()
                    ctx.set(dut.channels[t], int.from_bytes(some, "little"))
                ctx.set(dut.weights, int.from_bytes(weights[step].tobytes(), "little"))
                at = cycle - (dut.latency - 1)
                ctx.set(dut.valid, int(0 <= at < steps))
                ctx.set(dut.first, int(at == 0))
                await ctx.tick()
            sums = np.array(
                [_step(words[i], weights[i], kind, offset, lanes) for i in range(steps)]
            )
            expected = sums.max(axis=0) if kind == "max" else sums.sum(axis=0)
            assert [ctx.get(r) for r in dut.results] == expected.tolist(), kind

    simulate(dut, drive)


def _zeros(dut: Any) -> dict[str, int]:
    return dict.fromkeys(dut.command.shape().members, 0)


def test_a_product_from_logic_is_the_product() -> None:
    from amaranth.hdl import Module, signed
    from amaranth.lib.wiring import Component, In, Out

    class Product(Component):
        def __init__(self) -> None:
            super().__init__({"a": In(signed(8)), "b": In(signed(8)), "p": Out(signed(16))})

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.d.comb += self.p.eq(lut_product(m, self.a, self.b, "product"))
            return m

    dut: Any = Product()
    values = [(a, b) for a in (-128, -127, -1, 0, 1, 77, 127) for b in range(-128, 128, 5)]
    values += [(a, b) for b in (-128, -1, 127) for a in range(-128, 128, 7)]

    async def drive(ctx: Any) -> None:
        for i in range(len(values) + LUT_LATENCY):
            if i >= LUT_LATENCY:
                a, b = values[i - LUT_LATENCY]
                assert ctx.get(dut.p) == a * b
            a, b = values[min(i, len(values) - 1)]
            ctx.set(dut.a, a)
            ctx.set(dut.b, b)
            await ctx.tick()

    simulate(dut, drive)
