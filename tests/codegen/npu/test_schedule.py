"""Commands in an order, and the same ones with two engines beside each other: one result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.npu.schedule import schedule
from targets.npu.check import check
from targets.npu.isa import Add, Command, Load, Opcode, Space, Store, Window, stream
from targets.npu.model import Model
from targets.npu.timing import timing

from .configurations import TINY

CONFIG = TINY[0]
REGIONS = [4096, 512, 512]


def _commands(rng: np.random.Generator, count: int) -> list[Command]:
    """Any commands on few places, so that nearly all of them depend on others."""
    places = [0, 20, 40, 60]

    def place() -> int:
        return int(rng.choice(places))

    found: list[Command] = []
    for _ in range(count):
        kind = rng.integers(7)
        a = place()
        o = int(rng.choice([p for p in places if p != a]))
        size = int(rng.integers(1, 4))
        if kind == 0:
            region = int(rng.integers(1, 3))
            found.append(Load(int(rng.integers(100)), region, Space.A, a, int(rng.integers(1, 20)),
                              int(rng.integers(1, 9)), 20))  # fmt: skip
        elif kind == 1:
            base, words = int(rng.integers(0, 8)), int(rng.integers(1, 8))
            found.append(Load(4 * int(rng.integers(32)), 0, Space.W, base, words))
        elif kind == 2:
            found.append(Load(4 * int(rng.integers(32)), 0, Space.P, 4 * int(rng.integers(3)), 8))
        elif kind == 3:
            found.append(Load(4 * int(rng.integers(32)), 0, Space.T, 0, 512))
        elif kind == 4:
            found.append(Store(int(rng.integers(100)), 2, a, int(rng.integers(1, 20)),
                               int(rng.integers(1, 9)), 20))  # fmt: skip
        elif kind == 5:
            found.append(Add(a, place() if rng.random() < 0.5 else a, a, int(rng.integers(1, 20)),
                             int(rng.integers(3))))  # fmt: skip
            if found[-1].b_base != a:
                found[-1] = replace(found[-1], o_base=o if o != found[-1].b_base else a)
        else:
            opcode = Opcode(
                int(rng.choice([Opcode.CONV, Opcode.DEPTHWISE, Opcode.SUM, Opcode.MAX]))
            )
            found.append(Window(opcode, a, 20, 4, 4, size, size, o, 20, 1, 1,
                                w_base=int(rng.integers(0, 12)),
                                p_base=int(rng.integers(0, 3))))  # fmt: skip
    return found


def _one_by_one(commands: list[Command]) -> list[Command]:
    """Each waits for all in front of it."""
    done = [0, 0]
    found = []
    for command in commands:
        mine = isinstance(command, Load | Store)
        found.append(replace(command, after=done[not mine]))
        done[mine] += 1
    return found


def _scheduled(commands: list[Command]) -> list[Command]:
    return list(schedule(commands, REGIONS, CONFIG).commands)


def _run(commands: list[Command], seed: int, first: bool) -> list[bytes]:
    model, rng = Model(CONFIG), np.random.default_rng(seed)
    regions = [rng.integers(0, 256, size, np.uint8) for size in REGIONS]
    regions[0].view(np.uint32)[:] &= 0x00001F1F  # parameters, and anything else
    model.run(stream(commands, CONFIG), regions, compute_first=first)
    return [m.tobytes() for m in (model.a, model.w, model.p, model.t, *regions)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_one_result(seed: int, count: int) -> None:
    commands = _commands(np.random.default_rng(seed), count)
    scheduled = _scheduled(commands)
    check(stream(scheduled, CONFIG), CONFIG, REGIONS)
    want = _run(_one_by_one(commands), seed, first=False)
    for first in (False, True):
        assert _run(scheduled, seed, first) == want


def test_transfers_run_beside_computes() -> None:
    """By a few cycles a schedule may be worse, on the whole it has to be better."""
    ends = np.zeros((40, 2))
    for seed in range(40):
        commands = _commands(np.random.default_rng(seed), 30)
        for i, c in enumerate((_one_by_one(commands), _scheduled(commands))):
            ends[seed, i] = timing(check(stream(c, CONFIG), CONFIG), CONFIG).cycles
    assert (ends[:, 1] <= 1.01 * ends[:, 0]).all()
    assert ends[:, 1].sum() < 0.97 * ends[:, 0].sum()


def test_each_engine_keeps_its_order_of_computes() -> None:
    commands = _commands(np.random.default_rng(5), 40)
    found = schedule(commands, REGIONS, CONFIG)
    assert sorted(found.index) == list(range(40))
    computes = [i for c, i in zip(commands, found.index, strict=True)
                if not isinstance(c, Load | Store)]  # fmt: skip
    assert computes == sorted(computes)
