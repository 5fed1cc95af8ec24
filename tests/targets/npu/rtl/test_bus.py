"""Two that ask for bursts, one bus: words come to who asked, and a drain leaves nothing behind."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

pytest.importorskip("amaranth")

from targets.npu.rtl.bus import Bus

from .bench import simulate


class _Memory:
    """The other side of the bus, in which a word's content is its address; slow at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.bursts: deque[tuple[bool, list[int]]] = deque()
        self.written: list[tuple[int, int, int]] = []
        self.takes = self.moves = False

    def offer(self, ctx: Any, dut: Any) -> None:
        """What it does in this cycle; `write_ready` depends on it."""
        self.takes = self.rng.random() < 0.5
        self.moves = bool(self.bursts) and self.rng.random() < 0.7
        we, addresses = self.bursts[0] if self.moves else (False, [])
        ctx.set(dut.m_cmd_ready, self.takes)
        ctx.set(dut.m_r_valid, self.moves and not we)
        ctx.set(dut.m_r_data, addresses[0] if self.moves and not we else 0xFFFF_FFFF)
        ctx.set(dut.m_w_ready, self.moves and we)

    async def tick(self, ctx: Any, dut: Any) -> None:
        """The end of a cycle, and what it does in the next one."""
        we, addresses = self.bursts[0] if self.moves else (False, [])
        if self.moves and ctx.get(dut.m_w_valid if we else dut.m_r_ready):
            at = addresses.pop(0)
            if we:
                self.written.append((at, ctx.get(dut.m_w_data), ctx.get(dut.m_w_strb)))
            if not addresses:
                self.bursts.popleft()
        if self.takes and ctx.get(dut.m_cmd_valid):
            at, length = ctx.get(dut.m_cmd_addr) // 4, ctx.get(dut.m_cmd_len)
            self.bursts.append((bool(ctx.get(dut.m_cmd_we)), list(range(at, at + length))))
        await ctx.tick()
        self.offer(ctx, dut)


@pytest.mark.parametrize("seed", range(3))
def test_words_come_to_who_asked(seed: int) -> None:
    rng = random.Random(seed)
    dut: Any = Bus()
    memory = _Memory(rng)
    fetches = [(rng.randrange(1 << 20), rng.randint(1, 16)) for _ in range(12)]
    moves = [(rng.random() < 0.4, rng.randrange(1 << 20), rng.randint(1, 64)) for _ in range(12)]
    fetched: list[int] = []
    moved: list[int] = []

    async def drive(ctx: Any) -> None:
        waiting, asking = deque(fetches), deque(moves)
        ctx.set(dut.write_strb, 0b0101)
        sent, left = 0, 4
        for _ in range(4000):
            fetch, move = bool(waiting) and rng.random() < 0.3, bool(asking)
            ctx.set(dut.fetch_valid, fetch)
            ctx.set(dut.move_valid, move)
            if fetch:
                ctx.set(dut.fetch_address, waiting[0][0])
                ctx.set(dut.fetch_len, waiting[0][1])
            if move:
                ctx.set(dut.move_we, asking[0][0])
                ctx.set(dut.move_address, asking[0][1])
                ctx.set(dut.move_len, asking[0][2])
            put = rng.random() < 0.8
            ctx.set(dut.write_valid, put)
            ctx.set(dut.write_data, sent)
            if fetch and ctx.get(dut.fetch_ready):
                waiting.popleft()
            if move and ctx.get(dut.move_ready):
                asking.popleft()
            sent += put and ctx.get(dut.write_ready)
            if ctx.get(dut.fetch_read):
                fetched.append(ctx.get(dut.read_data))
            if ctx.get(dut.move_read):
                moved.append(ctx.get(dut.read_data))
            await memory.tick(ctx, dut)
            quiet = not (waiting or asking or memory.bursts or ctx.get(dut.m_cmd_valid))
            left = left - 1 if quiet else 4  # the last words are on their way through registers
            if not left:
                break

    simulate(dut, drive)
    assert fetched == [a + i for a, n in fetches for i in range(n)]
    assert moved == [a + i for we, a, n in moves if not we for i in range(n)]
    written = [a + i for we, a, n in moves if we for i in range(n)]
    assert memory.written == [(a, i, 0b0101) for i, a in enumerate(written)]


def test_a_drain_reads_and_writes_to_the_end_and_changes_nothing() -> None:
    rng = random.Random(1)
    dut: Any = Bus()
    memory = _Memory(rng)

    async def ask(ctx: Any, we: bool, length: int) -> None:
        ctx.set(dut.move_valid, 1)
        ctx.set(dut.move_we, we)
        ctx.set(dut.move_len, length)
        while not ctx.get(dut.move_ready):
            await memory.tick(ctx, dut)
        await memory.tick(ctx, dut)
        ctx.set(dut.move_valid, 0)

    async def drive(ctx: Any) -> None:
        for _ in range(10):
            for we in (False, True, False):
                await ask(ctx, we, rng.randint(1, 64))
            for _ in range(rng.randrange(40)):
                await memory.tick(ctx, dut)
            ctx.set(dut.drain, 1)
            await memory.tick(ctx, dut)
            ctx.set(dut.drain, 0)
            for _ in range(2000):
                if not ctx.get(dut.busy):
                    break
                assert not ctx.get(dut.move_read)
                await memory.tick(ctx, dut)
            assert not memory.bursts and not ctx.get(dut.m_cmd_valid)
        assert memory.written and all(strb == 0 for _, _, strb in memory.written)

    simulate(dut, drive)
