"""The transport "usb": a Pico's own USB controller, on an RP2040 and a host by other hands."""

from __future__ import annotations

import json
import subprocess
import zlib
from pathlib import Path

import pytest

import targets
from edgekit.devices.firmware.image import load_elf
from edgekit.devices.links.process_link import ProcessLink
from edgekit.devices.routes import Access, transport_of
from edgekit.devices.session import Session
from edgekit.errors import EdgekitError

from ..conftest import Build
from ..test_session import INPUT, OUTPUT, BadLink
from .test_boot import flash_of, rp2040js

BOARD = targets.board("raspberry-pi-pico")
SCRIPT = Path(__file__).parents[1] / "peers" / "rp2040js_usb.cjs"


def command(build: Build, folder: Path, *more: str) -> list[str]:
    modules = rp2040js()
    image = folder / "flash.bin"
    image.write_bytes(flash_of(BOARD, build(BOARD, transport="usb").elf))
    return ["node", str(SCRIPT), str(modules), str(image), *more]


def link(build: Build, folder: Path) -> ProcessLink:
    ended = lambda status, said: EdgekitError("E604", f"{status}: {said}")  # noqa: E731
    return ProcessLink(BOARD, command(build, folder), None, ended)


def test_a_pico_talks_by_its_own_cable() -> None:
    assert transport_of(BOARD) == "usb"
    assert transport_of(BOARD, Access(route="gdb")) == "uart"
    with pytest.raises(EdgekitError, match="E646"):
        transport_of(BOARD, Access(route="gdb", transport="usb"))
    with pytest.raises(EdgekitError, match="E646"):
        transport_of(targets.board("nucleo-f401re"), Access(transport="usb"))


@pytest.mark.apt
def test_a_host_enumerates_it(build: Build, tmp_path: Path) -> None:
    """Addresses, configures, resets and does so again; every packet with the right DATA0 or 1."""
    done = subprocess.run(
        command(build, tmp_path, "describe"), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, again = json.loads(done.stdout)
    assert first == again
    (head, addressed, device, qualifier, short, whole, languages, name, status, configured, number,
     coded, coding, *acknowledged) = first  # fmt: skip
    assert (addressed, configured, coded, *acknowledged) == ("ok",) * 6 and qualifier == "stall"
    assert device.startswith(head) and whole.startswith(short) and len(short) == 18
    fields = bytes.fromhex(device)
    assert (fields[0], fields[1], fields[7], fields[17]) == (18, 1, 64, 1)
    vendor, product = (int.from_bytes(fields[at : at + 2], "little") for at in (8, 10))
    assert f"{vendor:04x}:{product:04x}" == BOARD.usb[0]
    assert (languages, status, number) == ("04030904", "0000", "01")
    assert bytes.fromhex(name)[2:].decode("utf-16-le") == "edgekit"
    assert coding == bytes([0x00, 0xC2, 0x01, 0x00, 0, 0, 8]).hex()

    found, rest = [], bytes.fromhex(whole)
    assert int.from_bytes(rest[2:4], "little") == len(rest)
    while rest:
        found.append(rest[: rest[0]])
        rest = rest[rest[0] :]
    interfaces = [d for d in found if d[1] == 4]
    assert [d[2] for d in interfaces] == [0, 1] and [d[4] for d in interfaces] == [1, 2]
    assert [(d[5], d[6]) for d in interfaces] == [(2, 2), (10, 0)]
    assert [d[2] for d in found if d[1] == 5] == [0x81, 0x02, 0x82]
    assert [bytes(d[3:]) for d in found if d[1] == 0x24 and d[2] == 6] == [bytes([0, 1])]


@pytest.mark.apt
def test_a_whole_session_by_usb(build: Build, tmp_path: Path) -> None:
    image = load_elf(build(BOARD, transport="usb").elf)
    with Session(BOARD, link(build, tmp_path), timeout=20.0) as session:
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
        profile = session.profile([INPUT], repeat=2)
        assert profile.counter == "systick" and min(profile.layers) > 0
        assert session.run([INPUT]) == [OUTPUT, b"\4"]
        for address, data in image.segments:  # what `uf2` does in place of reading back
            assert session.checksum(address, len(data)) == zlib.crc32(data)


@pytest.mark.apt
def test_a_line_that_loses_bytes(build: Build, tmp_path: Path) -> None:
    with Session(BOARD, BadLink(link(build, tmp_path), 1 / 800, 3), timeout=3.0) as session:
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
