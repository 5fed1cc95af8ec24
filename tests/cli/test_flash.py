"""``edgekit flash`` where it stops half way, as a user sees it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

import edgekit.devices.session
import edgekit.execute
from edgekit.cli import main
from edgekit.devices.flash import FlashReport
from edgekit.errors import EdgekitError
from edgekit.output import Output

BOARD = "virtual-cortex-m4"


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """No compiler is needed to fail later."""
    monkeypatch.setattr(
        edgekit.execute, "build", lambda *_, **__: SimpleNamespace(elf=Path("firmware.elf"))
    )


def flash(digits: Output) -> int:
    return main(["flash", str(digits.path), "--board", BOARD])


def test_an_interrupt_says_what_the_flash_is_now(
    digits: Output, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt("board 'b': 1 of 2 B were written: the flash is incomplete")

    monkeypatch.setattr(edgekit.execute, "flash_firmware", stop)
    assert flash(digits) == 130
    said = capsys.readouterr().err.strip()
    assert said == "interrupted: board 'b': 1 of 2 B were written: the flash is incomplete"


def test_a_silent_program_was_flashed_all_the_same(
    digits: Output, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise EdgekitError("E607", "board 'b' does not answer", details=["first"], help="try")

    report = FlashReport("b", 77, 77, 0.1, "virtual", "against itself")
    monkeypatch.setattr(edgekit.execute, "flash_firmware", lambda *_: report)
    monkeypatch.setattr(edgekit.devices.session, "connect", silent)
    assert flash(digits) == 1
    said = capsys.readouterr().err
    assert "E607 board 'b' does not answer\n  first\n  flashing is over: all 77 B were" in said
    assert "help: is --serial the port that the program talks on?" in said
