"""Counters that stand still, run backwards or wrap early are found out, never reported."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from tools import need

from edgekit.devices import profiling, protocol
from edgekit.devices.emulators.virtual import VirtualBoard
from edgekit.devices.firmware.build import build_firmware
from edgekit.devices.firmware.image import load_elf
from edgekit.devices.flash import flash
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from targets import Board, Peripheral, board

from .conftest import APP, Build
from .esp32_csrs import MPCER, MPCMR, with_mpccr
from .odd_boards import (
    BackwardDwt,
    DeadDwt,
    LonelySysTick,
    NarrowDwt,
    OddBoard,
    OddLink,
    SecretlyNarrowDwt,
)
from .test_session import INPUT, OUTPUT

TIMER = Peripheral("cmsdk", 0x4000_0000)


@pytest.mark.parametrize("kind", [DeadDwt, BackwardDwt, NarrowDwt])
def test_a_bad_cycle_counter_is_passed_over(
    virtual: Board, build: Build, kind: type[OddBoard]
) -> None:
    on = replace(virtual, counters=("dwt", "cmsdk-timer"), timer=TIMER)
    good = OddBoard(on, load_elf(build(on).elf)).session().profile([INPUT], repeat=1)
    with kind(on, load_elf(build(on).elf)).session() as session:
        found = session.profile([INPUT], repeat=2)
    assert (good.counter, found.counter) == ("dwt", "cmsdk-timer")
    for a, b in zip(good.layers, found.layers, strict=True):
        assert abs(a - b) <= 8


@pytest.mark.parametrize("kind", [DeadDwt, BackwardDwt, NarrowDwt, LonelySysTick])
def test_without_a_counter_there_is_no_profile(
    virtual: Board, build: Build, kind: type[OddBoard]
) -> None:
    """Not figures of 0 ticks."""
    on = replace(virtual, counters=("systick",) if kind is LonelySysTick else ("dwt",))
    with kind(on, load_elf(build(on).elf)).session() as session:
        assert session.hello().counter == "none"
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
        with pytest.raises(EdgekitError, match="no counter that counts; it was built to try") as e:
            session.profile([INPUT])
    assert e.value.code == "E662"
    assert on.counters[0] in e.value.message


def test_a_counter_that_wraps_early_is_caught_when_it_does(virtual: Board, build: Build) -> None:
    machine = SecretlyNarrowDwt(virtual, load_elf(build(virtual).elf))
    with machine.session() as session:
        assert session.hello().counter == "dwt"
        with pytest.raises(EdgekitError, match=r"'dwt' of board .* wrapped within a layer") as e:
            session.profile([INPUT], repeat=5)
    assert e.value.code == "E663"


def test_a_wrap_within_a_layer_is_not_seen(virtual: Board, build: Build) -> None:
    """32 bits wrap every 36 s at 120 MHz: the figures are the same at any phase."""
    image = load_elf(build(virtual).elf)
    whole = OddBoard(virtual, image).session().profile([INPUT], repeat=1)
    for before in (30_000, 20_000, 9_000, 1_000, 1):
        machine = OddBoard(virtual, image)
        with machine.session() as session:
            session.load([INPUT])
            machine._cycle_base = machine.machine.cycles_now() - (1 << 32) + before
            assert session.profile([INPUT], repeat=2).layers == whole.layers


def test_a_long_pause_is_no_failure(virtual: Board, build: Build) -> None:
    machine = OddBoard(virtual, load_elf(build(virtual).elf))
    with machine.session() as session:
        before = session.profile([INPUT], repeat=1)
        machine._cycle_base -= 3 << 30  # 27 s, more than half of the counter's range
        assert session.profile([INPUT], repeat=1).layers == before.layers
        assert session.invoke() > 0


class Clock:
    """Stands for a session with a board whose counter runs at `rate`."""

    def __init__(self, board: Board, rate: float) -> None:
        self.board, self.rate = board, rate

    def request(self, type: bytes) -> bytes:
        assert type == protocol.NOW
        return int(time.monotonic() * self.rate).to_bytes(8, "little")


def test_a_clock_that_is_not_what_the_board_says(
    virtual: Board, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "_CLOCK_SECONDS", 0.05)
    with connect(virtual, elf=build(virtual).elf) as session:
        hello = session.hello()
        assert profiling.ticks_now(session) < profiling.ticks_now(session)
    assert hello.counter_hz == 120_000_000
    right, slow = Clock(virtual, 120e6), Clock(virtual, 4e6)
    assert profiling._wrong_clock(right, hello) == ""  # type: ignore[arg-type]
    said = profiling._wrong_clock(slow, hello)  # type: ignore[arg-type]
    assert "million ticks a second" in said and "is said to make 120: ticks are right" in said


def test_the_counter_of_the_esp32_c3(build: Build) -> None:
    """The core has no mcycle but three registers of its own, which are set up and then read."""
    plain = board("virtual-riscv32")
    on = replace(plain, counters=("mpccr",))
    machine = VirtualBoard(on, load_elf(build(on).elf))
    written = with_mpccr(machine.machine)
    with Session(on, OddLink(machine)) as session:
        assert session.hello().counter == "mpccr"
        found = session.profile([INPUT], repeat=2)
    assert (written[MPCER], written[MPCMR]) == (1, 1)
    with connect(plain, elf=build(plain).elf) as session:
        other = session.profile([INPUT], repeat=2)
    for a, b in zip(found.layers, other.layers, strict=True):
        assert abs(a - b) <= 60  # the double counts a block twice that it interrupts


@pytest.mark.apt
def test_systick_without_its_interrupts(qemu: Board, build: Build) -> None:
    """24 bits do for short layers; a layer that needs more is refused, not wrong."""
    systick = replace(qemu, counters=("systick",))
    flash(systick, build(systick).elf)
    with connect(systick) as session:
        assert session.hello().counter == "systick"
        shown = session.profile([INPUT], repeat=2)
        blind = session.profile([INPUT], repeat=2, interrupts_off=True)
        assert blind.interrupts_off and blind.warm_ups == 1
        for a, b in zip(shown.layers, blind.layers, strict=True):
            assert abs(a - b) <= 1
        assert session.profile([INPUT], repeat=1).layers[0] == pytest.approx(shown.layers[0], abs=1)
    flash(systick, build(systick, defines={"FAKE_LOOPS": "500u"}).elf)
    with connect(systick) as session:
        assert session.profile([INPUT], repeat=1).layers[1] > 3e6
        with pytest.raises(EdgekitError, match="interrupts off its counter has too few bits") as e:
            session.profile([INPUT], repeat=1, interrupts_off=True)
    assert e.value.code == "E608"


@pytest.mark.apt
def test_systick_on_armv6m_too(build: Build) -> None:
    need("qemu-system-arm")
    microbit = board("qemu-microbit")
    with connect(microbit, elf=build(microbit).elf) as session:
        shown = session.profile([INPUT], repeat=1)
        blind = session.profile([INPUT], repeat=1, interrupts_off=True)
    assert shown.counter == "systick"
    for a, b in zip(shown.layers, blind.layers, strict=True):
        assert abs(a - b) <= 1


def test_virtual_boards_are_whole(virtual: Board) -> None:
    """What the odd ones differ from."""
    firmware = build_firmware([APP], virtual)
    assert VirtualBoard(virtual, firmware.elf).run()
