"""The trigger pin of real boards: their own firmware moves their own registers at layer edges."""

from __future__ import annotations

import pytest
from pace import every

import targets
from edgekit.devices.session import Session
from edgekit.errors import EdgekitError
from targets import Board

from .chip_double import ChipDouble
from .conftest import Build
from .test_boards import START

WIRED = [b for b in targets.boards().values() if b.trigger and not b.emulated]
SMALL = {"FAKE_BYTES": "32u", "FAKE_LOOPS": "1u"}
INPUT = bytes(range(32))


class ChipLink:
    """A session's bytes over a chip double's UART."""

    def __init__(self, chip: ChipDouble) -> None:
        self.chip = chip

    def write(self, data: bytes) -> None:
        self.chip.uart.received += data

    def read(self, seconds: float) -> bytes:
        self.chip.run(50_000_000)
        data = bytes(self.chip.uart.sent)
        self.chip.uart.sent.clear()
        return data

    def where(self, address: int) -> str:
        return hex(address)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("board", every(3, WIRED), ids=[b.name for b in WIRED])
def test_a_run_toggles_the_boards_pin(board: Board, build: Build) -> None:
    assert board.trigger is not None
    # EK_CLOCK_HZ tells how long a millisecond is; each reading of the double's counter is a tick.
    quick = {**SMALL, "EK_CLOCK_HZ": "100000u"}
    chip = ChipDouble(board, build(board, trigger=True, defines=quick).elf)
    chip.start(board.flash.start + START[board.boot])
    assert chip.run()
    pin = board.trigger
    edges = {(pin.set, pin.mask): True, (pin.clear, pin.mask << pin.clear_shift): False}

    def moved() -> list[bool]:
        found = [edges[write] for write in chip.registers.written if write in edges]
        chip.registers.written.clear()
        return found

    begun = moved()
    assert True not in begun  # setup may lower it, and calibration is not seen
    with Session(board, ChipLink(chip)) as session:
        session.load([INPUT])
        assert moved() == []
        for _ in range(2):
            session.invoke()
            assert moved() == [True, False, True, False]


def test_boards_without_a_pin(virtual: Board, build: Build) -> None:
    with pytest.raises(EdgekitError, match="names no pin for a power analyser") as caught:
        build(virtual, trigger=True)
    assert caught.value.code == "E664"


def test_another_program_is_another_build(build: Build) -> None:
    """So that a board which runs one of them is flashed with the other."""
    board = targets.board("nrf52840-dk")
    plain, wired = build(board), build(board, trigger=True)
    assert plain.build_id != wired.build_id
    assert plain.build_id == build(board).build_id
    quiet = build(board, profile=False)
    assert len({plain.build_id, wired.build_id, quiet.build_id}) == 3
