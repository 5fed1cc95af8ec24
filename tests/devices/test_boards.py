"""Firmware of every board: built, and run on a core with its memories, clocks and UART."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pace import thinned
from tools import need

import targets
from edgekit.devices import protocol
from edgekit.devices.firmware.bringup import board_source
from edgekit.devices.flash import flash
from edgekit.devices.session import connect
from edgekit.devices.status import describe
from targets import Board, Step

from .chip_double import ChipDouble
from .conftest import Build
from .test_session import INPUT, OUTPUT

REAL = [b for b in targets.boards().values() if b.setup and not b.emulated]
#: Where a chip's ROM finds the vector table or the first instruction, from the start of flash.
START = {"": 0, "rp2040": 0x100, "rp2350": 0, "imxrt": 0x2000, "esp32c3": 8}
#: One for each driver and each kind of boot.
FAST = {(b.boot, b.uart.kind): b for b in REAL}.values()


def hello(chip: ChipDouble) -> protocol.Frame:
    chip.uart.received += protocol.encode(protocol.HELLO, 7, b"\1")
    assert chip.run()
    (frame,) = protocol.Decoder().feed(bytes(chip.uart.sent))
    chip.uart.sent.clear()
    return frame


def status_of(frame: protocol.Frame) -> int:
    return int.from_bytes(frame.payload[1:5], "little")


@pytest.mark.parametrize("board", thinned(REAL, lambda b: b in FAST), ids=lambda b: b.name)
def test_the_firmware_comes_up_and_answers(board: Board, build: Build) -> None:
    """Real start-up, the real steps of the file, the real driver: HELLO at the right baud rate."""
    chip = ChipDouble(board, build(board).elf)
    chip.start(board.flash.start + START[board.boot])
    assert chip.run(), chip.machine.where(chip.pc)
    frame = hello(chip)
    assert (frame.type, frame.seq, status_of(frame)) == (b"h", 7, 0)
    assert abs(chip.uart.baud() / board.uart.baud - 1) < 0.02
    chip.uart.overrun()
    assert hello(chip).type == b"h"


def test_a_step_that_waits_in_vain_is_reported(build: Build) -> None:
    """It ends, the UART opens all the same, and HELLO says which step it was."""
    board = targets.board("nucleo-f401re")
    hopeless = Step("wait", 0x4002_3850, 1, 1, "RCC.X: never")
    broken = replace(board, setup=(*board.setup, hopeless))
    chip = ChipDouble(broken, build(broken, defines={"EK_STEP_POLLS": "1000u"}).elf)
    chip.start()
    assert chip.run()
    status = status_of(hello(chip))
    assert status == 0x100 + len(broken.setup)
    assert f"step {len(broken.setup)} of 'setup'" in describe(status)


def test_every_kind_of_step_does_what_it_says(build: Build) -> None:
    board = targets.board("nucleo-f401re")
    at = 0x4002_3870
    steps = (
        Step("write", at, 0x1234_5678, 0xFFFF_FFFF),
        Step("write", at, 0xA00, 0xF00),
        Step("set", at, 0x8000_0000, 0x8000_0000),
        Step("clear", at, 0x8, 0x8),
        Step("wait", at, 0x9234_5A70, 0xFFFF_FFFF),
    )
    stepped = replace(board, setup=steps)
    chip = ChipDouble(stepped, build(stepped).elf)
    chip.start()
    chip.run(200_000)
    values = [v for a, v in chip.registers.written if a == at]
    assert values == [0x1234_5678, 0x1234_5A78, 0x9234_5A78, 0x9234_5A70]
    assert status_of(hello(chip)) == 0
    vtor = [v for a, v in chip.registers.written if a == 0xE000_ED08]
    assert vtor == [board.flash.start]


def test_without_steps_nothing_is_generated() -> None:
    for board in targets.boards().values():
        if board.emulated:
            assert board_source(board) == ""


def test_comments_cannot_end_a_comment() -> None:
    board = targets.board("nucleo-f401re")
    odd = replace(board, setup=(Step("set", 4, 1, 1, "A.B: */ #error /* x"),))
    (row,) = [line for line in board_source(odd).splitlines() if "#error" in line]
    assert row.count("*/") == 1 and row.endswith("*/")


def test_caches_are_emptied_line_by_line_before_they_are_on(build: Build) -> None:
    """A Cortex-M7 with 4 KB of data cache: 32 sets, 4 ways, lines of 32 bytes."""
    board = targets.board("nucleo-f746zg")
    chip = ChipDouble(board, build(board).elf)
    chip.registers.values[0xE000_ED80] = 31 << 13 | 3 << 3 | 1  # CCSIDR
    chip.start()
    assert chip.run()
    written = chip.registers.written
    lines = [v for a, v in written if a == 0xE000_EF60]
    assert sorted(lines) == [way << 30 | s << 5 for way in range(4) for s in range(32)]
    on = written.index((0xE000_ED14, 3 << 16))
    assert all(a != 0xE000_EF60 for a, _ in written[on:])
    assert (0xE000_EF50, 0) in written[:on]


def test_a_cold_run_takes_the_cold_steps(build: Build) -> None:
    """As the profiler asks for it; FLASH.ACR's caches off, reset, and on again."""
    board = targets.board("nucleo-f401re")
    chip = ChipDouble(board, build(board).elf)
    chip.start()
    assert chip.run()
    before = len(chip.registers.written)
    chip.uart.received += protocol.encode(protocol.PROFILE, 1, bytes([protocol.RUN_COLD]))
    assert chip.run()
    (frame,) = protocol.Decoder().feed(bytes(chip.uart.sent))
    assert frame.type == b"p" and frame.payload[-1] & 8
    acr = [v & 0x1F00 for a, v in chip.registers.written[before:] if a == 0x4002_3C00]
    assert acr == [0x100, 0x1900, 0x100, 0x700]
    assert "ek_board_cold" not in board_source(targets.board("nucleo-f746zg"))


@pytest.mark.parametrize("name", ["nucleo-l4r5zi", "raspberry-pi-pico", "esp32-c3-devkitm"])
def test_fractional_dividers_reach_fast_rates(name: str, build: Build) -> None:
    """921600 baud where the divider has a fraction: within half a percent."""
    board = targets.board(name)
    fast = replace(board, uart=replace(board.uart, baud=921_600))
    chip = ChipDouble(fast, build(fast).elf)
    chip.start(board.flash.start + START[board.boot])
    assert chip.run()
    assert hello(chip).type == b"h"
    assert abs(chip.uart.baud() / 921_600 - 1) < 0.005


@pytest.mark.apt
@pytest.mark.parametrize("name", ["qemu-netduinoplus2", "qemu-netduino2"])
def test_the_stm32_usart_in_qemu(name: str, build: Build) -> None:
    """The driver against QEMU's model of the USART, which other hands have written."""
    board = targets.board(name)
    need("qemu-system-arm")
    flash(board, build(board).elf)
    with connect(board) as session:
        assert session.hello().counter == "systick"
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
