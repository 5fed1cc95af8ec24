"""Memory A: four neighbouring words in order, fill, and whose turn a bank is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth")

from targets.npu.config import Accelerator
from targets.npu.rtl.memory import READ_LATENCY, ActivationMemory

from .bench import simulate

_CONFIG = Accelerator("t", 1, 1, 64, 16, 16)


@pytest.mark.parametrize("group", [1, 4, 8])
def test_a_window_reads_four_words_and_fills_the_others(group: int) -> None:
    rng = np.random.default_rng(1)
    words = [int(v) for v in rng.integers(0, 1 << 62, 64)]
    dut: Any = ActivationMemory(replace(_CONFIG, out_lanes=group))
    latency = ActivationMemory.WINDOW_LATENCY
    cases = [tuple(int(rng.integers(0, n)) for n in (61, 16, 16, 8 // group)) for _ in range(120)]

    async def drive(ctx: Any) -> None:
        await _write(ctx, dut, words)
        ctx.set(dut.pad, 0x5A)
        ctx.set(dut.neutral, 0x80)
        for i in range(len(cases) + latency):
            if i >= latency:
                at, use, live, offset = cases[i - latency]
                for t in range(4):
                    fill = (0x5A if live >> t & 1 else 0x80) * 0x0101010101010101
                    word = words[at + t] if use >> t & 1 else fill
                    few = 8 if group == 8 else ActivationMemory.WORD_BYTES[t]
                    assert ctx.get(dut.words[t]) == word & (1 << 8 * few) - 1
                    channels = word >> 8 * offset * group & (1 << 8 * group) - 1
                    assert ctx.get(dut.channels[t]) == channels
            at, use, live, offset = cases[min(i, len(cases) - 1)]
            ctx.set(dut.at, at)
            ctx.set(dut.use, use)
            ctx.set(dut.live, live)
            ctx.set(dut.offset, offset * group)
            await ctx.tick()

    simulate(dut, drive)


def test_a_read_waits_for_its_bank_only() -> None:
    words = [i * 0x0123456789 for i in range(64)]
    dut: Any = ActivationMemory(_CONFIG)
    rng = np.random.default_rng(2)
    granted: list[int | None] = []
    waits = 0

    async def drive(ctx: Any) -> None:
        nonlocal waits
        await _write(ctx, dut, words)
        for _ in range(200):
            at, use, address = (int(rng.integers(0, n)) for n in (61, 16, 64))
            ctx.set(dut.at, at)
            ctx.set(dut.use, use)
            ctx.set(dut.read_valid, 1)
            ctx.set(dut.read_address, address)
            banks = {(at + t) % 4 for t in range(4) if use >> t & 1}
            ready = ctx.get(dut.read_ready)
            assert ready == (address % 4 not in banks)
            waits += not ready
            granted.append(address if ready else None)
            if len(granted) > READ_LATENCY and granted[-1 - READ_LATENCY] is not None:
                assert ctx.get(dut.read_data) == words[granted[-1 - READ_LATENCY]]
            await ctx.tick()

    simulate(dut, drive)
    assert 50 < waits < 150


def test_the_engines_write_goes_first_and_leaves_other_bytes() -> None:
    dut: Any = ActivationMemory(_CONFIG)

    async def drive(ctx: Any) -> None:
        await _write(ctx, dut, [0x1111111111111111] * 64)
        ctx.set(dut.put_valid, 1)
        ctx.set(dut.put_address, 5)
        ctx.set(dut.put_data, 0x2222222222222222)
        ctx.set(dut.put_enable, 0b00000110)
        ctx.set(dut.write_valid, 1)
        ctx.set(dut.write_address, 6)
        ctx.set(dut.write_data, 0x3333333333333333)
        ctx.set(dut.write_enable, 0b11110000)
        assert not ctx.get(dut.write_ready)
        await ctx.tick()
        ctx.set(dut.put_valid, 0)
        assert ctx.get(dut.write_ready)
        await ctx.tick()
        ctx.set(dut.write_valid, 0)
        for address, expected in ((5, 0x1111111111222211), (6, 0x3333333311111111)):
            ctx.set(dut.read_address, address)
            await ctx.tick().repeat(READ_LATENCY)
            assert ctx.get(dut.read_data) == expected

    simulate(dut, drive)


async def _write(ctx: Any, dut: Any, words: list[int]) -> None:
    ctx.set(dut.write_valid, 1)
    ctx.set(dut.write_enable, 0xFF)
    for address, word in enumerate(words):
        ctx.set(dut.write_address, address)
        ctx.set(dut.write_data, word)
        await ctx.tick()
    ctx.set(dut.write_valid, 0)
