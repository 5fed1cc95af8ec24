"""The ESP32 route against esp32-mock-bootloader: other chips, cuts and noise at any byte."""

from __future__ import annotations

import importlib
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from devices.peers import image, write_elf
from devices.peers.esp32 import OFFSET, START, Esp32, WornFlash, esp32_board
from devices.peers.proxy import DOWN, UP, Proxy
from esp32_mock_bootloader import server
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgekit.devices.flash import flash
from edgekit.devices.routes import Access
from edgekit.devices.routes import esptool as route
from edgekit.errors import EdgekitError

SEGMENTS = image(START, 600)


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_elf(tmp_path_factory.mktemp("elf") / "program.elf", SEGMENTS)


@pytest.fixture
def chip() -> Iterator[Esp32]:
    with closing(Esp32(flash=WornFlash())) as found:
        yield found


def content(chip: Esp32) -> list[tuple[int, bytes]]:
    return [
        (at, bytes(chip.flash.data[at - START + OFFSET :][: len(data)])) for at, data in SEGMENTS
    ]


def way(port: int) -> Access:
    return Access(port=f"socket://127.0.0.1:{port}")


def refused(access: Access, elf: Path, **settings: str | int) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        flash(esp32_board(**settings), elf, access=access)
    return caught.value


def test_another_chip_is_left_alone(elf: Path) -> None:
    with closing(Esp32("esp32s3")) as chip:
        error = refused(way(chip.port), elf)
        assert error.code == "E634" and "is esp32s3, board 'peer' has esp32c3" in error.message
        assert set(chip.flash.data) == {0xFF}


@pytest.mark.parametrize("name", ["esp32", "esp32s2", "esp32s3", "esp32c6"])
def test_chips_of_the_family(elf: Path, name: str) -> None:
    with closing(Esp32(name)) as chip:
        flash(esp32_board(chip=name), elf, access=way(chip.port))
        assert content(chip) == SEGMENTS


def test_nobody_answers(elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esptool.loader.SYNC_TIMEOUT", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = refused(way(silent.getsockname()[1]), elf)
    assert error.code == "E633" and "hold BOOT" in error.help


def test_a_flash_that_is_smaller_than_the_boards(
    chip: Esp32, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esp32_mock_bootloader.protocol.MOCK_FLASH_ID", 0x00124020)  # 256 KiB
    error = refused(way(chip.port), write_elf(tmp_path / "x.elf", image(START, 300_000)))
    assert error.code == "E635" and "has 0x40000 B of it: nothing" in error.message
    assert set(chip.flash.data) == {0xFF}


def test_secure_download_mode_is_refused(
    chip: Esp32, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def secure(_session: object) -> bytes:
        flags, chip_id = 1 << 2, 5  # SECURE_DOWNLOAD_ENABLE, ESP32-C3
        data = struct.pack("<IBBBBBBBBII", flags, 0, 0, 0, 0, 0, 0, 0, 0, chip_id, 0) + b"\0\0"
        return server.slip_encode(struct.pack("<BBHI", 1, 0x14, len(data), 0) + data)

    monkeypatch.setattr(server, "handle_get_security_info", secure)
    error = refused(way(chip.port), elf)
    assert error.code == "E635" and "secure download mode" in error.message
    assert set(chip.flash.data) == {0xFF}


def test_the_package_is_not_installed(
    chip: Esp32, elf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> ModuleType:
        if name.startswith("esptool"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, package)

    monkeypatch.setattr(route.importlib, "import_module", without)
    with pytest.raises(EdgekitError) as caught:
        route.EsptoolRoute(esp32_board(), way(chip.port)).connect()
    assert caught.value.code == "E636" and "pip install 'edgekit[esp]'" in caught.value.help


def test_it_says_nothing_of_its_own(
    chip: Esp32, elf: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flash(esp32_board(), elf, access=way(chip.port))
    assert capfd.readouterr() == ("", "")


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 12_000))
@example(cut=8000)
def test_a_cable_cut_at_any_byte(elf: Path, cut: int) -> None:
    board = esp32_board()
    with closing(Esp32(flash=WornFlash())) as chip, Proxy(chip.port, cut=cut) as cable:
        try:
            flash(board, elf, access=way(cable.port))
        except EdgekitError as error:
            assert error.code in ("E604", "E633"), str(error)
            assert "incomplete" in str(error) or set(chip.flash.data) == {0xFF}
        cable.mend()
        flash(board, elf, access=way(cable.port))
        assert content(chip) == SEGMENTS


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(way_of=st.sampled_from([UP, DOWN]), index=st.integers(0, 8000))
@example(way_of=UP, index=7000)
@example(way_of=DOWN, index=2500)
def test_a_byte_that_flips_never_passes(elf: Path, way_of: str, index: int) -> None:
    with closing(Esp32(flash=WornFlash())) as chip, Proxy(chip.port, flip=(way_of, index)) as cable:
        try:
            flash(esp32_board(), elf, access=way(cable.port))
        except EdgekitError as error:
            assert error.code in ("E604", "E605", "E633", "E634"), str(error)
        else:
            assert content(chip) == SEGMENTS
