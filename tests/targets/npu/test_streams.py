"""The random streams themselves: the same from the same seed, and of every kind."""

from __future__ import annotations

from collections import Counter

import pytest

from targets.npu.config import Accelerator
from targets.npu.footprint import blocks_of, footprint, group_lanes
from targets.npu.isa import TRANSFERS, Add, Command, Load, Opcode, Space, Store, Window, decode

from .streams import CONFIGURATIONS, TINY, valid


def test_a_seed_says_it_all() -> None:
    assert valid(TINY, 3) == valid(TINY, 3)
    assert valid(TINY, 3).words != valid(TINY, 4).words


def _corners(c: Command, config: Accelerator) -> set[str]:
    found = {c.opcode.name}
    if isinstance(c, Load | Store):
        found |= {
            f"{c.opcode.name} at byte {c.offset % 4}",
            f"{c.opcode.name} of {c.channels % 8} channels in the last block",
        }
        if isinstance(c, Load):
            found |= {f"to {Space(c.space).name}"} | ({"half"} if c.half else set())
            if c.space == Space.P and c.base % config.requant_lanes:
                found.add("P from the middle of a word")
    if isinstance(c, Window):
        lanes = group_lanes(c, config)
        found |= {f"{c.opcode.name} of {c.taps} taps, {c.tail} in the last group"}
        flags = {
            "uniform": c.uniform,
            "cut": c.o_blocks < blocks_of(c.groups * lanes),
            "pads": c.pad_top and c.pad_left and c.pad,
            "strides": c.stride_h > 1 and c.stride_w > 1,
            "dilated": c.step_h > 1,
            "groups overlap": c.kernel_groups > 1 and c.step_w < c.taps,
            "far rows": c.step_h > 20,
            "far columns": c.step_w > 20,
            "all outside": len(footprint(c, config)) < 3,
            "blocks": c.blocks > 1,
            "nothing between low and high": c.low > c.high,
            "planes overlap": c.a_plane < c.in_h * c.in_w and c.blocks > 1,
            "gap after a plane": c.o_plane > c.out_h * c.out_w,
        }
        found |= {name for name, is_so in flags.items() if is_so}
    if isinstance(c, Add):
        found |= {"in place"} if c.o_base in (c.a_base, c.b_base) else set()
        found |= {"twice"} if c.a_base == c.b_base else set()
    return found


def test_every_corner_is_reached() -> None:
    seen: Counter[str] = Counter()
    for config in CONFIGURATIONS:
        for seed in range(60):
            for command in decode(valid(config, seed).words, config):
                seen.update(_corners(command, config))
    wanted = {o.name for o in Opcode} | {f"to {s.name}" for s in Space}
    wanted |= {f"{o} at byte {n}" for o in ("LOAD", "STORE") for n in range(4)}
    wanted |= {
        f"{o} of {n} channels in the last block" for o in ("LOAD", "STORE") for n in range(8)
    }
    for opcode in (Opcode.CONV, Opcode.DEPTHWISE, Opcode.SUM, Opcode.MAX):
        for taps in (1, 2, 4) if opcode is Opcode.CONV else (1, 2, 3, 4):
            wanted |= {
                f"{opcode.name} of {taps} taps, {tail} in the last group"
                for tail in range(1, taps + 1)
            }
    wanted |= {"half", "P from the middle of a word", "uniform", "cut", "pads", "strides",
               "dilated", "groups overlap", "far rows", "far columns", "all outside", "blocks",
               "nothing between low and high", "planes overlap", "gap after a plane", "in place",
               "twice"}  # fmt: skip
    assert wanted - set(seen) == set()


@pytest.mark.parametrize("config", CONFIGURATIONS, ids=lambda c: c.name)
def test_engines_run_beside_each_other(config: Accelerator) -> None:
    """In half of the streams at least, a transfer may run while a compute command does."""
    beside = 0
    for seed in range(30):
        commands = decode(valid(config, seed).words, config)[1:-1]
        transfers = [c for c in commands if c.opcode in TRANSFERS]
        computes = [c for c in commands if c.opcode not in TRANSFERS]
        beside += any(
            max(c.after for c in computes[: i + 1]) <= j
            and max(t.after for t in transfers[: j + 1]) <= i
            for i in range(len(computes))
            for j in range(len(transfers))
        )
    assert beside >= 15
