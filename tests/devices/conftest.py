"""Boards whose flash content is the test's own, and the stand-in application."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tools import need

from edgekit.devices.firmware.build import Firmware, build_firmware
from targets import Board, board

APP = Path(__file__).parent / "app" / "fake_app.c"
Build = Callable[..., Firmware]


@pytest.fixture(autouse=True)
def state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def virtual() -> Board:
    return board("virtual-cortex-m4")


@pytest.fixture
def qemu() -> Board:
    need("qemu-system-arm")
    return board("qemu-mps2-an386")


@pytest.fixture
def build() -> Build:
    """``build(board, defines={...}, ...)``: firmware around the stand-in application."""

    def make(on: Board, **options: object) -> Firmware:
        return build_firmware([APP], on, **options)  # type: ignore[arg-type]

    return make
