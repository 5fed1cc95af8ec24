"""Repeated runs, cold runs, runs without interrupts, and what they are reported as."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from tools import need

from edgekit.devices import protocol
from edgekit.devices.firmware.image import load_elf
from edgekit.devices.firmware.memory import memory_by_region
from edgekit.devices.profile import Profile, Run, Spread, warnings_of
from edgekit.devices.session import connect
from edgekit.devices.trace import profile_json
from edgekit.errors import EdgekitError
from edgekit.execute import session as open_session
from edgekit.output import Output
from targets import Board, board

from .conftest import Build
from .odd_boards import Caches
from .test_session import INPUT


def test_spreads() -> None:
    assert Spread.of([5, 1, 3]) == Spread(1, 3, 5)
    assert Spread.of([5, 1, 3, 4]) == Spread(1, 4, 5)
    assert Spread.of([7]).flat and Spread.of([7, 8]).flat and not Spread.of([7, 9]).flat


def test_runs_that_differ(virtual: Board, build: Build) -> None:
    """Each run adds one, two or three loops: the extremes and the middle are those of the runs."""
    elf = build(virtual, defines={"FAKE_JITTER": "3u"}).elf
    with connect(virtual, elf=elf) as session:
        single = [session.profile([INPUT], repeat=1) for _ in range(3)]
        found = session.profile([INPUT], repeat=6, warm_up=1)
    totals = [p.total for p in single]
    assert totals[0] < totals[1] < totals[2]
    assert found.whole == Spread(*totals)
    assert found.total == totals[0] == found.runs[2].total  # one warm-up went before
    assert found.layer(1) == Spread(*(p.layers[1] for p in single))
    assert found.layer(0).flat and found.layer(2).flat and not found.steady
    assert found.layers == single[0].layers
    assert (found.repeat, found.warm_ups, len(found.runs)) == (6, 1, 6)
    assert any("the slowest run took" in w for w in found.warnings)
    figures = profile_json(found, ["a", "b", "c"])
    assert figures["total_max"] == totals[2]
    assert figures["layers"][1]["max"] == single[2].layers[1]
    assert figures["layers"][1]["value"] == figures["layers"][1]["min"] == single[0].layers[1]


def test_every_run_gets_its_inputs_anew(digits: Output) -> None:
    """A run overwrites them: its arena is theirs. Softmax takes longer for some numbers."""
    with open_session(digits, board("virtual-cortex-m4"), mode="aot") as session:
        found = session.profile(list(digits.bundle.golden[-1].inputs), repeat=3)
        assert found.steady and found.warnings == ()
        assert {run.layers for run in found.runs} == {found.layers}
        assert session.outputs() == list(digits.bundle.golden[-1].outputs)
    for run in found.runs:
        assert 0 <= run.unaccounted < 0.005


def test_what_does_not_add_up_is_said() -> None:
    million = 1_000_000
    assert warnings_of([Run(million, (600_000, 396_000))], "ticks") == []
    lacking = Run(1_004_000, (600_000, 390_000))
    (said,) = warnings_of([Run(million, (600_000, 396_000)), lacking], "ticks")
    assert said == "a run's layers sum to 990000 ticks, the whole run took 1004000: 1.4 % apart"
    assert "0.6 % apart" in warnings_of([Run(million, (600_000, 406_000))], "ticks")[0]
    assert warnings_of([Run(10_000, (9_000,))], "cycles") == []  # what a cold cache takes
    assert warnings_of([Run(10_002, (9_000,))], "cycles")
    assert (
        "the slowest run took 1100" in warnings_of([Run(1000, (1000,)), Run(1100, (1100,))], "")[0]
    )


def test_a_firmware_that_sends_other_layers(virtual: Board, build: Build) -> None:
    with connect(virtual, elf=build(virtual).elf) as session:
        honest = session.request

        def request(type: bytes, payload: bytes = b"", seconds: float | None = None) -> bytes:
            answer = honest(type, payload, seconds)
            return answer[:-8] + b"" if type == protocol.LAYERS and payload != b"\0\0" else answer

        session.request = request  # type: ignore[method-assign]
        assert session.profile([INPUT], repeat=1).layers
        session.request = lambda t, p=b"", seconds=None: (  # type: ignore[method-assign]
            b"\1\0" + bytes(8) if t == protocol.LAYERS else honest(t, p, seconds)
        )
        with pytest.raises(EdgekitError, match="other layers than asked for"):
            session.profile([INPUT], repeat=1)


@pytest.mark.parametrize("name", ["virtual-cortex-m4", "virtual-cortex-m0", "virtual-riscv32"])
def test_interrupts_are_off_during_the_run_only(name: str, build: Build) -> None:
    on = board(name)
    with connect(on, elf=build(on, defines={"FAKE_MASKED": ""}).elf) as session:
        assert session.run([INPUT])[1] == b"\0"
        with_them = session.profile([INPUT], repeat=1)
        assert session.outputs()[1] == b"\0"
        found = session.profile([INPUT], repeat=1, interrupts_off=True)
        assert session.outputs()[1] == b"\1"
        assert session.run([INPUT])[1] == b"\0"
    assert found.layers == with_them.layers
    assert found.interrupts_off and not with_them.interrupts_off


def test_caches_are_emptied_line_by_line(build: Build) -> None:
    m7 = board("virtual-cortex-m7")
    machine = Caches(m7, load_elf(build(m7).elf))
    with machine.session() as session:
        session.profile([INPUT], repeat=2, warm_up=3)
        assert (machine.lines, machine.code) == ([], 0)
        found = session.profile([INPUT], repeat=2, warm_up=3, cold=True)
    assert found.cold == "emptied before each run: code cache, data cache"
    every = [way << 30 | line << 5 for line, way in product(range(64), range(4))]
    assert sorted(machine.lines) == sorted(every * 2)
    assert machine.code == 2


@pytest.mark.parametrize(
    ("level", "enabled", "said", "lines", "code"),
    [
        (0, 3 << 16, "nothing to empty: no cache on this core", 0, 0),
        (3, 0, "nothing to empty: the core's caches are switched off", 0, 0),
        (1, 3 << 16, "emptied before each run: code cache", 0, 1),
        (2, 3 << 16, "emptied before each run: data cache", 256, 0),
        (3, 1 << 17, "emptied before each run: code cache", 0, 1),
    ],
)
def test_caches_that_are_not_there(
    build: Build, level: int, enabled: int, said: str, lines: int, code: int
) -> None:
    m7 = board("virtual-cortex-m7")
    machine = Caches(m7, load_elf(build(m7).elf))
    machine.level, machine.enabled = level, enabled
    with machine.session() as session:
        found = session.profile([INPUT], repeat=1, cold=True)
    assert found.cold == said
    assert (len(machine.lines), machine.code) == (lines, code)
    figures = profile_json(found, ["a", "b", "c"])
    assert (figures["cold"], figures["cold_how"]) == (True, said)


def test_cores_without_cache_registers_and_boards_with_more(build: Build) -> None:
    for name, said in (
        ("virtual-cortex-m0", "nothing to empty: no cache on this core"),
        ("virtual-riscv32", "nothing was emptied: the port of this CPU cannot empty caches"),
    ):
        on = board(name)
        with connect(on, elf=build(on).elf) as session:
            assert session.profile([INPUT], 1, cold=True).cold == said
    on = board("virtual-cortex-m4")
    elf = build(on, defines={"EK_BOARD_COLD": "", "FAKE_BOARD_COLD": ""}).elf
    with connect(on, elf=elf) as session:
        found = session.profile([INPUT], 2, cold=True)
        assert session.run([INPUT])[1] == bytes([100 + 3])  # the fake step counts in its output
    assert found.cold == "emptied before each run: the board's flash accelerator"


def test_memory_by_region(virtual: Board, build: Build) -> None:
    firmware = build(virtual)
    found = memory_by_region(firmware.elf, virtual)
    assert [(r.name, r.kind, r.size) for r in found] == [
        (r.name, r.kind, r.size) for r in virtual.regions
    ]
    assert found[0].used == firmware.sizes.flash
    assert found[1].used == firmware.sizes.ram
    with_data = build(virtual, defines={"FAKE_DATA": ""})
    after = memory_by_region(with_data.elf, virtual)
    assert with_data.sizes.sections[".data"] >= 8
    assert after[0].used == with_data.sizes.flash
    assert after[1].used == with_data.sizes.ram
    with pytest.raises(EdgekitError, match="as an ELF file"):
        memory_by_region(firmware.elf.parent, virtual)
    linux = replace(virtual, target=replace(virtual.target, port="linux"))
    assert memory_by_region(firmware.elf, linux) == ()


def test_stack_of_profile_defaults() -> None:
    bare = Profile((3, 4), 8, "ticks", "dwt", 0, 1, "b")
    assert (bare.whole, bare.layer(1), bare.steady) == (Spread(8, 8, 8), Spread(4, 4, 4), True)


@pytest.mark.apt
def test_qemu_repeats_itself(qemu: Board, build: Build) -> None:
    need("qemu-system-arm")
    with connect(qemu, elf=build(qemu).elf) as session:
        assert session.profile([INPUT], repeat=3, warm_up=1, interrupts_off=True).steady
