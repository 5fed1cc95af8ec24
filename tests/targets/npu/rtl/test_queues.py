"""What waits between two blocks comes out whole and in order, whoever stops for how long."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("amaranth")

from targets.npu.rtl.fifo import Fifo
from targets.npu.rtl.queue import SLOTS, CommandQueue
from targets.npu.rtl.skid import Skid

from .bench import simulate


@pytest.mark.parametrize("depth", [2, 8])
def test_fifo(depth: int) -> None:
    rng = random.Random(depth)
    dut: Any = Fifo(16, depth)
    sent, got = list(range(1, 300)), []

    async def drive(ctx: Any) -> None:
        number = most = 0
        while len(got) < len(sent):
            put = number < len(sent) and ctx.get(dut.level) < depth and rng.random() < 0.7
            take = rng.random() < (0.3 if len(got) < 150 else 0.9)
            ctx.set(dut.put, put)
            ctx.set(dut.put_data, sent[number] if put else 0xFFFF)
            ctx.set(dut.take, take)
            if take and ctx.get(dut.ready):
                got.append(ctx.get(dut.data))
            number += put
            most = max(most, ctx.get(dut.level))
            await ctx.tick()
        assert most == depth

    simulate(dut, drive)
    assert got == sent


def test_fifo_gives_a_word_a_cycle() -> None:
    dut: Any = Fifo(16, 8)

    async def drive(ctx: Any) -> None:
        ctx.set(dut.take, 1)
        for cycle in range(40):
            ctx.set(dut.put, 1)
            ctx.set(dut.put_data, cycle)
            if cycle >= 3:
                assert ctx.get(dut.ready) and ctx.get(dut.data) == cycle - 3
            await ctx.tick()

    simulate(dut, drive)


def test_skid() -> None:
    rng = random.Random(5)
    dut: Any = Skid(16)
    sent, got = list(range(1, 300)), []

    async def drive(ctx: Any) -> None:
        number, idle = 0, 0
        while len(got) < len(sent):
            valid = number < len(sent) and rng.random() < 0.8
            ready = rng.random() < (0.5 if len(got) < 200 else 1)
            ctx.set(dut.in_valid, valid)
            ctx.set(dut.in_data, sent[number] if valid else 0xFFFF)
            ctx.set(dut.out_ready, ready)
            if ready and ctx.get(dut.out_valid):
                got.append(ctx.get(dut.out_data))
            number += valid and ctx.get(dut.in_ready)
            idle += valid and not ctx.get(dut.in_ready) and len(got) > 205
            await ctx.tick()
        assert idle == 0  # it stops nobody when the next stage does not

    simulate(dut, drive)
    assert got == sent


def test_commands_wait_in_slots() -> None:
    rng = random.Random(1)
    dut: Any = CommandQueue(3)
    commands = [[rng.randrange(1 << 32) for _ in range(8)] for _ in range(3 * SLOTS)]

    async def drive(ctx: Any) -> None:
        written = read = 0
        while read < len(commands):
            if written < len(commands) and not ctx.get(dut.full):
                for place, word in enumerate(commands[written]):
                    ctx.set(dut.put, 1)
                    ctx.set(dut.put_word, place)
                    ctx.set(dut.put_data, word)
                    await ctx.tick()
                ctx.set(dut.put, 0)
                ctx.set(dut.commit, 1)
                await ctx.tick()
                ctx.set(dut.commit, 0)
                written += 1
            if ctx.get(dut.full) or written == len(commands) or rng.random() < 0.3:
                assert ctx.get(dut.ready)
                found = []
                for place in range(8):
                    ctx.set(dut.at, place)
                    await ctx.tick()
                    found.append(ctx.get(dut.word))
                assert found == commands[read]
                ctx.set(dut.release, 1)
                await ctx.tick()
                ctx.set(dut.release, 0)
                read += 1
        assert not ctx.get(dut.ready)

    simulate(dut, drive)
