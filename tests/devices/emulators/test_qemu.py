"""The same firmware in QEMU: flash by GDB, exact instruction counts, faults, clean exits."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from tools import need

from edgekit.devices.emulators.qemu import QemuMachine
from edgekit.devices.flash import flash
from edgekit.devices.session import Profile, connect
from edgekit.errors import EdgekitError
from targets import Board, board

from ..conftest import Build
from ..test_session import INPUT, OUTPUT

pytestmark = pytest.mark.apt


def profile_of(on: Board, build: Build, **options: object) -> Profile:
    flash(on, build(on, **options).elf)
    with connect(on) as session:
        return session.profile([INPUT], repeat=3)


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_flash_run_profile_by_both_compilers(qemu: Board, build: Build, compiler: str) -> None:
    if compiler == "gcc":
        need("arm-none-eabi-gcc")
    firmware = build(qemu, compiler=compiler)
    report = flash(qemu, firmware.elf)
    assert report.bytes == report.verified > 3000
    with connect(qemu) as session:
        hello = session.hello()
        assert (hello.counter, hello.build_id) == ("cmsdk-timer", firmware.build_id)
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
        profile = session.profile([INPUT], repeat=3)
        assert (profile.unit, profile.hz) == ("instructions", 0)
        assert session.run([INPUT])[1] == b"\5"
        assert session.stack_used()[0] > 50


def test_instructions_agree_with_the_virtual_board(
    qemu: Board, virtual: Board, build: Build
) -> None:
    counting = replace(virtual, target=replace(virtual.target, cycle_model="instructions"))
    exact, emulated = profile_of(counting, build), profile_of(qemu, build)
    for a, b in zip(exact.layers, emulated.layers, strict=True):
        assert abs(a - b) <= 4
    assert abs(exact.total - emulated.total) <= 12


def test_systick_counts_past_its_24_bits(qemu: Board, build: Build) -> None:
    """A layer of 13 million instructions is 21 million ticks: the counter wraps within it."""
    options = {"defines": {"FAKE_LOOPS": "2000u"}}
    systick = replace(qemu, counters=("dwt", "systick"))
    by_systick, by_timer = profile_of(systick, build, **options), profile_of(qemu, build, **options)
    assert (by_systick.counter, by_timer.counter) == ("systick", "cmsdk-timer")
    assert by_timer.layers[1] > 12e6
    for a, b in zip(by_systick.layers, by_timer.layers, strict=True):
        assert abs(a - b) <= 8 + b // 100_000


def test_faults_are_reported(qemu: Board, build: Build) -> None:
    flash(qemu, build(qemu, defines={"FAKE_UNALIGNED": ""}).elf)
    with connect(qemu) as session:
        for _ in range(2):  # and again for whoever asks later
            with pytest.raises(EdgekitError, match=r"ek_app_invoke\+.*: unaligned access") as fault:
                session.run([INPUT])
            assert fault.value.code == "E609"


def test_a_stack_overflow_is_reported(qemu: Board, build: Build) -> None:
    flash(qemu, build(qemu, defines={"FAKE_OVERFLOW": ""}).elf)
    with connect(qemu) as session, pytest.raises(EdgekitError, match="stack") as caught:
        session.run([INPUT])
    assert caught.value.code == "E609"


def test_the_process_always_ends(qemu: Board, build: Build) -> None:
    started: list[subprocess.Popen[bytes]] = []
    flash(qemu, build(qemu).elf)
    with pytest.raises(KeyboardInterrupt), connect(qemu) as session:
        started.append(session.link.machine._process)  # type: ignore[attr-defined]
        raise KeyboardInterrupt
    assert started[0].returncode is not None


def test_qemu_that_dies_is_noticed(qemu: Board, build: Build) -> None:
    flash(qemu, build(qemu).elf)
    with connect(qemu) as session:
        session.hello()
        process = session.link.machine._process  # type: ignore[attr-defined]
        process.kill()
        process.wait()
        with pytest.raises(EdgekitError, match="closed the UART") as caught:
            session.run([INPUT])
        assert caught.value.code == "E604"


def test_qemu_that_does_not_start(qemu: Board) -> None:
    assert qemu.qemu is not None
    wrong = replace(qemu, qemu=replace(qemu.qemu, machine="no-such-machine"))
    with pytest.raises(EdgekitError, match="unsupported machine type") as caught:
        QemuMachine(wrong)
    assert caught.value.code == "E603"


def test_qemu_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EdgekitError, match="apt install qemu-system-arm") as caught:
        QemuMachine(board("qemu-mps2-an386"))
    assert caught.value.code == "E602"
