"""Runs, blocks and addresses of LOAD and STORE against loops over bytes."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("amaranth")

from amaranth.hdl import Elaboratable, Module

from targets.npu.rtl.walk import Addresses, Blocks, Runs

from .bench import simulate


class _Walk(Elaboratable):
    """The three joined as the transfer engine joins them."""

    def __init__(self) -> None:
        self.runs: Any = Runs()
        self.blocks: Any = Blocks()
        self.addresses: Any = Addresses()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        runs, blocks, addresses = self.runs, self.blocks, self.addresses
        m.submodules.runs, m.submodules.blocks, m.submodules.addresses = runs, blocks, addresses
        block = runs.step & runs.block_done
        m.d.comb += [
            runs.next_last.eq(blocks.next_last),
            blocks.step.eq(block),
            addresses.step.eq(block),
            addresses.last.eq(blocks.last),
        ]
        return m


def _expected(position: int, base: int, plane: int, count: int, channels: int) -> list[Any]:
    """(word, place in it, address, byte of the block, bytes) of each run."""
    runs: list[list[int]] = []
    for number in range(count * channels):
        pixel, channel = divmod(number, channels)
        word, at = divmod(position + number, 4)
        key = [word, base + channel // 8 * plane + pixel, pixel, channel // 8]
        if runs and runs[-1][:4] == key:
            runs[-1][6] += 1
        else:
            runs.append([*key, at, channel % 8, 1])
    return [(w, at, address, place, n) for w, address, _, _, at, place, n in runs]


@pytest.mark.parametrize("seed", range(3))
def test_every_byte_comes_to_its_place(seed: int) -> None:
    rng = random.Random(seed)
    cases = [
        (rng.randrange(4), rng.randrange(50), rng.randrange(90), rng.randint(1, 9), channels)
        for channels in (1, 2, 3, 5, 8, 9, 12, 16, 17, rng.randint(1, 30))
    ]
    walk = _Walk()

    async def drive(ctx: Any) -> None:
        runs, blocks, addresses = walk.runs, walk.blocks, walk.addresses
        for position, base, plane, count, channels in cases:
            last = (channels - 1) // 8
            for signal, value in (
                (runs.position, position), (runs.last_room, (channels - 1) % 8 + 1),
                (runs.one_block, last == 0), (blocks.count, count), (blocks.last_block, last),
                (addresses.base, base), (addresses.plane, plane),
            ):  # fmt: skip
                ctx.set(signal, value)
            for part in (runs, blocks, addresses):
                ctx.set(part.begin, 1)
            await ctx.tick()
            for part in (runs, blocks, addresses):
                ctx.set(part.begin, 0)
            found, word = [], 0
            while True:
                step = rng.random() < 0.8
                ctx.set(runs.step, step)
                if step:
                    found.append((word, *(ctx.get(s) for s in (
                        runs.at, addresses.address, runs.place, runs.take))))  # fmt: skip
                    word += ctx.get(runs.word_done)
                    end = ctx.get(runs.block_done) and ctx.get(blocks.end)
                await ctx.tick()
                if step and end:
                    break
            ctx.set(runs.step, 0)
            assert found == _expected(position, base, plane, count, channels)

    simulate(walk, drive)


def test_an_address_beyond_20_bits_keeps_a_bit_for_it() -> None:
    dut: Any = Addresses()

    async def drive(ctx: Any) -> None:
        ctx.set(dut.base, (1 << 20) - 1)
        ctx.set(dut.plane, (1 << 20) - 1)
        for last in (0, 1):
            ctx.set(dut.begin, 1)
            await ctx.tick()
            ctx.set(dut.begin, 0)
            ctx.set(dut.step, 1)
            ctx.set(dut.last, last)
            await ctx.tick()
            assert ctx.get(dut.address) >> 20 == 1
            ctx.set(dut.step, 0)

    simulate(dut, drive)
