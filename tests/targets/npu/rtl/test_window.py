"""The loop nest alone: every step's flags, weight word and reads, in order and in time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import Any

import pytest

pytest.importorskip("amaranth")

from targets.npu.config import BLOCK, Accelerator
from targets.npu.footprint import group_lanes
from targets.npu.isa import Opcode
from targets.npu.isa import Window as Command
from targets.npu.rtl.window import Window

from .bench import simulate
from .commands import commands

_CONFIG = Accelerator("t", 2, 1, 256, 64, 32, tables=False)
_Step = tuple[bool, bool, bool, bool, int | None, int | None, int, int]


def _steps(c: Command) -> Iterator[_Step]:
    """first, last, group_last, final, weight, address if any word is read, use, offset."""
    group = _CONFIG.depthwise_lanes
    inner = list(product(range(c.kernel_h), range(c.kernel_groups), range(c.blocks)))
    pixels = list(product(range(c.out_h), range(c.out_w)))
    for g in range(c.groups):
        for y, x in pixels:
            for number, (ky, kg, b) in enumerate(inner):
                first, last = number == 0, number == len(inner) - 1
                ends = last and (y, x) == pixels[-1]
                iy = y * c.stride_h - c.pad_top + ky * c.step_h
                ix = x * c.stride_w - c.pad_left + kg * c.step_w
                live = c.tail if kg == c.kernel_groups - 1 else c.taps
                use = sum(1 << t for t in range(live) if 0 <= iy < c.in_h and 0 <= ix + t < c.in_w)
                conv = c.opcode is Opcode.CONV
                block = b if conv else g * group // BLOCK
                at = c.a_base + block * c.a_plane + iy * c.in_w + ix if use else None
                weight = c.w_base + g * c.steps + number
                reads = c.opcode in (Opcode.CONV, Opcode.DEPTHWISE)
                offset = 0 if conv else g * group % BLOCK
                yield (
                    first,
                    last,
                    ends,
                    ends and g == c.groups - 1,
                    weight if reads else None,
                    at,
                    use,
                    offset,
                )


def _fields(c: Command, dut: Any) -> dict[str, int]:
    names = set(dut.command.shape().members) & set(Command.fields)
    values = {name: getattr(c, name) for name in names}
    values |= {"taps": (1 << c.taps) - 1, "tail": (1 << c.tail) - 1}
    for name in ("conv", "sum", "max"):
        values[name] = int(c.opcode.name.lower() == name)
    return {**dict.fromkeys(dut.command.shape().members, 0), **values}


@pytest.mark.parametrize("seed", [1, 2])
def test_every_step_in_its_order(seed: int) -> None:
    dut: Any = Window(_CONFIG)
    later = Window.READ_LATENCY

    async def drive(ctx: Any) -> None:
        for command in islice(commands(_CONFIG, seed, longest=250, add=False), 8):
            assert isinstance(command, Command)
            expected = list(_steps(command))
            slices = group_lanes(command, _CONFIG) // _CONFIG.requant_lanes
            ctx.set(dut.command, _fields(command, dut))
            ctx.set(dut.gap, slices - 1)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await ctx.tick()
            # The steps that have been issued, and the cycles of pixels' last ones.
            seen: list[int | None] = []
            number, ends = 0, []
            for cycle in range(len(expected) * slices + later + 1):
                assert not ctx.get(dut.fault)
                if ctx.get(dut.valid):
                    first, last, group_last, final, weight, _, _, offset = expected[number]
                    flags = [ctx.get(getattr(dut, n)) for n in ("first", "last", "group_last")]
                    assert flags == [first, last, group_last], (command, number)
                    assert ctx.get(dut.final) == final and ctx.get(dut.offset) == offset
                    assert weight is None or ctx.get(dut.weight) == weight
                    ends += [cycle] if last else []
                    seen.append(number)
                    number += 1
                else:
                    seen.append(None)
                past = seen[-1 - later] if len(seen) > later else None
                at, use = expected[past][5:7] if past is not None else (None, 0)
                assert ctx.get(dut.use) == use, (command, past)
                assert at is None or ctx.get(dut.at) == at % _CONFIG.a_words
                await ctx.tick()
            assert number == len(expected)
            pace = max(command.steps, slices)
            assert ends == list(range(ends[0], ends[0] + pace * len(ends), pace))

    simulate(dut, drive)


def test_the_lane_starts_where_the_group_does() -> None:
    """The test above sees all of a word's groups, and blocks of several."""
    some = list(islice(commands(_CONFIG, 1, longest=250, add=False), 8))
    some += list(islice(commands(_CONFIG, 2, longest=250, add=False), 8))
    groups = [c.groups for c in some if isinstance(c, Command) and c.opcode is not Opcode.CONV]
    assert max(groups) > BLOCK // _CONFIG.depthwise_lanes
