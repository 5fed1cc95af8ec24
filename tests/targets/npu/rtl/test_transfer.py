"""The transfer engine alone: commands from a queue, a bus that answers, faults."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("amaranth")

from targets.npu.config import Accelerator
from targets.npu.isa import Load, Space, encode
from targets.npu.rtl.memory import READ_LATENCY
from targets.npu.rtl.transfer import Transfer

from .bench import simulate

_WITHOUT = Accelerator("without", 1, 1, 64, 16, 16, tables=False)
_WITH = Accelerator("with", 1, 1, 64, 16, 16)


@pytest.mark.parametrize(
    ("config", "command", "fault"),
    [
        (_WITHOUT, Load(0, 0, Space.T, 0, 1), True),
        (_WITH, Load(0, 0, Space.T, 0, 1), False),
        (_WITH, Load(0, 0, Space.T, 511, 2), True),
        (_WITH, Load(0, 0, Space.W, 15, 1), False),
        (_WITH, Load(0, 0, Space.W, 16, 1), True),
        (_WITH, Load(0, 0, Space.P, 15, 1), False),
        (_WITH, Load(0, 0, Space.P, 15, 2), True),
        (_WITH, Load(0, 0, Space.A, 63, 1, 8), False),
        (_WITH, Load(0, 0, Space.A, 63, 1, 9, 1), True),
        (_WITH, Load(0, 0, Space.A, 0, 1 << 20, 16), True),  # 2^24 bytes
        (_WITH, Load(0, 0, Space.W, (1 << 20) - 1, (1 << 24) - 1), True),
    ],
)
def test_words_outside_are_faults(config: Accelerator, command: Load, fault: bool) -> None:
    dut: Any = Transfer(config, READ_LATENCY)
    words = [*encode(command), 77]  # the last one is the command's number
    ended: list[str] = []

    async def drive(ctx: Any) -> None:
        ctx.set(dut.write_ready, 1)
        ctx.set(dut.ask_ready, 1)
        ready, arriving = 1, 0
        for _ in range(400):
            ctx.set(dut.ready, ready)
            ctx.set(dut.read, arriving > 0)
            arriving -= arriving > 0
            arriving += ctx.get(dut.ask_len) if ctx.get(dut.ask_valid) else 0
            ready &= not ctx.get(dut.release)
            ended.extend(name for name in ("done", "fault") if ctx.get(getattr(dut, name)))
            if ended:
                assert ctx.get(dut.number) == 77
                return
            place = ctx.get(dut.at)
            await ctx.tick()
            ctx.set(dut.word, words[place])

    simulate(dut, drive)
    assert ended == ["fault" if fault else "done"]
