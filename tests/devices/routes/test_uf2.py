"""The UF2 drive: the file against an independent parser, which drive is meant, what goes wrong."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from devices.peers import image, peer_board, write_elf
from devices.peers.uf2_drive import RP2040, START, Drive, uf2_board
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uf2utils.file import UF2File

from edgekit.devices.clients import drives
from edgekit.devices.clients.drives import INFO, block_device, find_drive, mounted
from edgekit.devices.clients.uf2 import block, parse
from edgekit.devices.firmware.build import build_firmware
from edgekit.devices.firmware.image import load_elf
from edgekit.devices.flash import flash
from edgekit.devices.routes import Access, open_route
from edgekit.devices.routes.uf2 import CURRENT, FILE
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import board

APP = Path(__file__).parents[1] / "app" / "fake_app.c"

SEGMENTS = image(START, 90_000)


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_elf(tmp_path_factory.mktemp("elf") / "program.elf", SEGMENTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A drive that is nothing but a folder."""
    path = tmp_path / "RPI-RP2"
    path.mkdir()
    (path / INFO).write_text("UF2 Bootloader v3.0\r\nBoard-ID: RPI-RP2\r\n")
    return path


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    with closing(Drive(tmp_path / "RPI-RP2")) as found:
        yield found


def refused(access: Access, elf: Path, **settings: str | int) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        flash(uf2_board(**settings), elf, access=access)
    return caught.value


# ---- the file


def test_the_file_as_uf2utils_reads_it(folder: Path, elf: Path) -> None:
    whole = load_elf(elf).aligned(4096)
    with open_route(uf2_board(), Access(port=str(folder))) as route:
        for address, data in whole.segments:
            route.erase(address, len(data))
        (folder / INFO).unlink()  # the board has restarted
        for address, data in whole.segments:
            route.write(address, data)
    blocks = list(UF2File(str(folder / FILE)))
    assert [b.header.block_number for b in blocks] == list(range(whole.bytes // 256))
    assert {b.header.total_blocks for b in blocks} == {len(blocks)}
    assert {b.header.board_family for b in blocks} == {RP2040}
    found = {b.header.address: bytes(b.payload) for b in blocks}
    for address, data in whole.segments:
        for at in range(0, len(data), 256):
            assert found.pop(address + at) == data[at : at + 256]
    assert not found


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=256, max_size=256))))
def test_what_is_written_is_parsed(pages: list[tuple[int, bytes]]) -> None:
    file = b"".join(block(a, d, i, len(pages), RP2040) for i, (a, d) in enumerate(pages))
    assert list(parse(file)) == pages


@given(st.binary(max_size=1100))
def test_any_bytes_for_a_file(data: bytes) -> None:
    try:
        list(parse(data))
    except EdgekitError as error:
        assert error.code == "E638"


# ---- which drive


def test_the_drive_of_the_board_is_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "STICK").mkdir()
    other = tmp_path / "NRF52BOOT"
    other.mkdir()
    (other / INFO).write_text("Board-ID: nRF52840-Feather\n")
    monkeypatch.setattr(drives, "mounted", lambda: [tmp_path / "STICK", other, folder])
    board_ = uf2_board()
    assert find_drive(board_, None, "RPI-RP2") == folder
    with pytest.raises(EdgekitError, match="2 drives of board 'peer'") as caught:
        find_drive(board_, None, "")
    assert caught.value.code == "E637" and f"{other}: nRF52840-Feather" in caught.value.details
    with pytest.raises(EdgekitError, match="no drives of board 'peer'"):
        find_drive(board_, None, "RP2350")
    with pytest.raises(EdgekitError, match="has 'RPI-RP2': nothing was written") as caught:
        find_drive(board_, str(other), "RPI-RP2")
    assert caught.value.code == "E634"
    with pytest.raises(EdgekitError, match="no drive of a UF2 bootloader"):
        find_drive(board_, str(tmp_path / "STICK"), "RPI-RP2")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/mounts")
def test_mounted_drives(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        "/dev/sdb1 /media/ann/RPI-RP2 vfat rw 0 0\n"
        "/dev/sdc1 /media/ann/My\\040Drive vfat rw 0 0\n"
    )
    assert mounted(table) == [Path("/media/ann/RPI-RP2"), Path("/media/ann/My Drive")]
    assert mounted(tmp_path / "none") == []


@pytest.mark.skipif(sys.platform != "linux", reason="/sys/dev/block")
def test_a_pulled_drive_that_stays_mounted(folder: Path, elf: Path, tmp_path: Path) -> None:
    number = folder.stat().st_dev
    shown = tmp_path / "block" / f"{os.major(number)}:{os.minor(number)}"
    assert block_device(folder, tmp_path / "block") is None
    shown.mkdir(parents=True)
    whole = load_elf(elf).aligned(4096)
    with open_route(uf2_board(), Access(port=str(folder))) as route:
        route._device = block_device(folder, tmp_path / "block")  # type: ignore[attr-defined]
        for address, data in whole.segments:
            route.erase(address, len(data))
        *first, (address, data) = whole.segments
        for part in first:
            route.write(*part)
        shown.rmdir()
        route.write(address, data)  # the last block: the board has restarted
        assert (folder / INFO).exists()


# ---- what goes wrong


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(vanish=st.integers(0, 200))
def test_a_drive_that_vanishes_after_any_block(elf: Path, tmp_path: Path, vanish: int) -> None:
    shutil.rmtree(tmp_path / "drive", ignore_errors=True)
    with closing(Drive(tmp_path / "drive", vanish=vanish)) as drive:
        access = Access(port=str(drive.folder), serial=f"socket://127.0.0.1:{drive.port}")
        error = refused(access, elf)
        assert error.code == "E604" and "the flash is incomplete" in error.message
        # What the last attempt met: a drive that went, or none any more.
        assert "vanished after" in str(error) or "is no drive of a UF2" in str(error)
        drive.vanish = None
        drive.plug()
        flash(uf2_board(), elf, access=access)
        for address, data in SEGMENTS:
            assert drive.flash[address - START :][: len(data)] == data


def test_blocks_of_another_family_are_told(drive: Drive, elf: Path) -> None:
    error = refused(Access(port=str(drive.folder)), elf, family=0xADA5_2840)
    assert error.code == "E638" and "did not restart within" in error.message
    assert "0xada52840" in str(error) and not any(drive.flash)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full")
def test_no_space(folder: Path, elf: Path) -> None:
    os.symlink("/dev/full", folder / FILE)
    error = refused(Access(port=str(folder)), elf)
    assert error.code == "E638" and "No space left on device" in error.message


def test_a_program_that_says_nothing(drive: Drive, elf: Path) -> None:
    error = refused(Access(port=str(drive.folder), serial="socket://127.0.0.1:1"), elf)
    assert error.code == "E638" and "does not confirm what is in the flash" in error.message
    assert "Connection refused" in str(error)


def test_bootloaders_that_have_the_file_and_restart(drive: Drive, elf: Path) -> None:
    """As Adafruit's: what CURRENT.UF2 has before the restart is the old program."""
    (drive.folder / CURRENT).write_bytes(block(START, b"old".ljust(256), 0, 1, RP2040))
    access = Access(port=str(drive.folder), serial=f"socket://127.0.0.1:{drive.port}")
    report = flash(uf2_board(), elf, access=access)
    assert report.verified == report.bytes and drive.runs


@pytest.mark.parametrize("worn", [False, True])
def test_bootloaders_that_stay_are_read_back(folder: Path, elf: Path, worn: bool) -> None:
    whole = load_elf(elf).aligned(256)
    pages = [(a + i, d[i : i + 256]) for a, d in whole.segments for i in range(0, len(d), 256)]
    if worn:
        pages[5] = (pages[5][0], pages[5][1][:9] + b"?" + pages[5][1][10:])
    current = b"".join(block(a, d, i, len(pages), RP2040) for i, (a, d) in enumerate(pages))
    (folder / CURRENT).write_bytes(current)
    if worn:
        error = refused(Access(port=str(folder)), elf)
        assert error.code == "E605" and f"{pages[5][0] + 9:#010x}" in error.message
    else:
        report = flash(uf2_board(), elf, access=Access(port=str(folder)))
        assert report.verified == sum(len(data) for _, data in SEGMENTS)


@pytest.mark.parametrize("garble", [None, 2])
def test_real_firmware_confirms_its_own_flash(tmp_path: Path, garble: int | None) -> None:
    """The device program goes through the drive, runs in the emulator and checks itself."""
    virtual = board("virtual-cortex-m4")
    firmware = build_firmware([APP], virtual)
    on = peer_board("uf2", virtual.flash.start, virtual.flash.size, settings={"family": RP2040})
    with closing(Drive(tmp_path / "drive", garble=garble, board=virtual)) as drive:
        access = Access(port=str(drive.folder), serial=f"socket://127.0.0.1:{drive.port}")
        if garble is not None:  # in data that it does not need to answer
            with pytest.raises(EdgekitError) as caught:
                flash(on, firmware.elf, access=access)
            assert caught.value.code in ("E605", "E638"), str(caught.value)
            return
        report = flash(on, firmware.elf, access=access)
        assert report.bytes == report.verified > 3000
        with connect(on, access=access) as session:
            assert session.hello().build_id == firmware.build_id


def test_the_family_must_be_known(folder: Path, elf: Path) -> None:
    error = refused(Access(port=str(folder)), elf, family=0)
    assert error.code == "E639" and "'family' is missing" in error.message
