"""The device program on every core: QEMU's and unicorn's, by both compilers, and how they fault."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from pace import every, thinned
from tools import need

from edgekit.devices.emulators.stored import flashed_image
from edgekit.devices.flash import flash
from edgekit.devices.session import Profile, connect
from edgekit.errors import EdgekitError
from targets import Board, board

from ..conftest import Build
from ..test_session import INPUT, OUTPUT

pytestmark = pytest.mark.apt

#: QEMU's board and its counter, and the virtual board of the same target.
PAIRS = [
    ("qemu-microbit", "systick", "virtual-cortex-m0"),
    ("qemu-nrf51-512k", "systick", "virtual-cortex-m0plus"),
    ("qemu-mps2-an385", "cmsdk-timer", "virtual-cortex-m3"),
    ("qemu-mps2-an500", "cmsdk-timer", "virtual-cortex-m7"),
    ("qemu-mps2-an505", "cmsdk-timer", "virtual-cortex-m33"),
    ("qemu-riscv32-virt", "mcycle", "virtual-riscv32"),
]


def emulated(name: str) -> Board:
    found = board(name)
    assert found.qemu is not None
    need(found.qemu.command)
    return found


def counting(name: str) -> Board:
    """A virtual board whose counter counts instructions."""
    found = board(name)
    return replace(found, target=replace(found.target, cycle_model="instructions"))


def profile_of(on: Board, build: Build, compiler: str, counter: str) -> Profile:
    flash(on, build(on, compiler=compiler).elf)
    start, code = flashed_image(on).segments[0]
    with connect(on) as session:
        assert session.hello().counter == counter
        assert session.checksum(start, len(code)) == zlib.crc32(code)
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
        assert 50 < session.stack_used()[0] < 1000
        return session.profile([INPUT], repeat=2)


@pytest.mark.parametrize("compiler", every(2, ["zig", "gcc"]))
@pytest.mark.parametrize(
    ("name", "counter", "virtual"),
    thinned(PAIRS, lambda pair: pair in (PAIRS[0], PAIRS[4], PAIRS[5])),
)
def test_qemu_and_the_virtual_board_agree(
    name: str, counter: str, virtual: str, compiler: str, build: Build
) -> None:
    on = emulated(name)
    if compiler == "gcc":
        need(on.target.gcc_command)
    exact = profile_of(on, build, compiler, counter)
    assert exact.unit == "instructions"
    twin = counting(virtual)
    theirs = profile_of(twin, build, compiler, twin.counters[0])
    for a, b in zip(exact.layers, theirs.layers, strict=True):
        assert abs(a - b) <= 8  # a counter's read is not in the middle of itself on every board


@pytest.mark.parametrize("name", ["qemu-mps2-an505", "qemu-microbit", "qemu-riscv32-virt"])
def test_a_stack_overflow_ends_in_a_fault(name: str, build: Build) -> None:
    on = emulated(name)
    elf = build(on, defines={"FAKE_OVERFLOW": ""}).elf
    with connect(on, elf=elf) as session, pytest.raises(EdgekitError) as caught:
        session.run([INPUT])
    assert caught.value.code == "E609"
    if "riscv" in name:  # memory protection stops the very store
        assert "ek_app_invoke" in caught.value.message
        assert "stack overflow" in caught.value.message


def test_virtual_boards_of_all_cores_fault_below_the_stack(build: Build) -> None:
    for name in ("virtual-cortex-m0", "virtual-riscv32"):
        on = board(name)
        elf = build(on, defines={"FAKE_OVERFLOW": ""}).elf
        with connect(on, elf=elf) as session, pytest.raises(EdgekitError, match="write") as caught:
            session.run([INPUT])
        assert caught.value.code == "E609"
