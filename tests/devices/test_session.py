"""Flashing, running and profiling on the virtual board, over perfect and over bad links."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from edgekit.devices import protocol
from edgekit.devices.emulators.machine import Machine
from edgekit.devices.emulators.stored import flashed_image, image_path
from edgekit.devices.flash import flash
from edgekit.devices.links.link import Link
from edgekit.devices.routes import Access
from edgekit.devices.routes.virtual import VirtualLink
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from targets import Board

from .conftest import Build

INPUT = bytes(i * 7 & 255 for i in range(600))
OUTPUT = bytes((255 - x + 4) & 255 for x in INPUT)


class BadLink:
    """Drops, flips and doubles bytes both ways."""

    def __init__(self, link: Link, rate: float, seed: int) -> None:
        self.link, self.rate, self.random = link, rate, random.Random(seed)

    def _spoil(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            draw = self.random.random() / self.rate
            if draw < 1:
                out += b"" if draw < 0.4 else bytes([byte ^ 1 << self.random.randrange(8)])
                out += bytes([byte]) if draw > 0.8 else b""
            else:
                out.append(byte)
        return bytes(out)

    def write(self, data: bytes) -> None:
        self.link.write(self._spoil(data))

    def read(self, seconds: float) -> bytes:
        return self._spoil(self.link.read(seconds))

    def where(self, address: int) -> str:
        return self.link.where(address)

    def close(self) -> None:
        self.link.close()


class SilentLink(BadLink):
    """A board that is not there, or says only what `talk` gives."""

    def __init__(self, talk: Callable[[], bytes] = bytes) -> None:
        self.talk = talk

    def write(self, data: bytes) -> None:
        self.sent = data

    def read(self, seconds: float) -> bytes:
        return self.talk()


def test_flash_run_profile(virtual: Board, build: Build) -> None:
    firmware = build(virtual)
    report = flash(virtual, firmware.elf)
    assert report.bytes == report.verified > 3000
    with connect(virtual) as session:
        hello = session.hello()
        assert (hello.mode, hello.version, hello.counter) == ("aot", "0.1.0", "dwt")
        assert (hello.inputs, hello.outputs, hello.layers) == (1, 2, 3)
        assert hello.build_id == firmware.build_id
        assert hello.model_hash == bytes(range(0, 136, 17))
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
        profile = session.profile([INPUT], repeat=3)
        assert profile.unit == "cycles (estimated)"
        assert profile.hz == virtual.clock_hz
        first, second, third = profile.layers
        assert first > 600
        assert second == pytest.approx(3 * third, rel=0.01)
        assert 0 <= profile.total - sum(profile.layers) < 100
        assert session.profile([INPUT], repeat=1).layers == profile.layers
        assert session.run([INPUT])[1] == bytes([1 + 3 + 1 + 1])
        used, size = session.stack_used()
        assert 50 < used < size == hello.stack_bytes


def test_a_board_keeps_its_flash_between_commands(virtual: Board, build: Build) -> None:
    with pytest.raises(EdgekitError, match="nothing has been flashed") as caught:
        connect(virtual)
    assert caught.value.code == "E606"
    flash(virtual, build(virtual).elf)
    for _ in range(2):  # power-cycled: the state is new each time
        with connect(virtual) as session:
            assert session.run([INPUT])[1] == b"\1"
    path = image_path(virtual)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(EdgekitError, match="flash the board again") as caught:
        connect(virtual)
    assert caught.value.code == "E613"


def test_a_bad_byte_in_flash_keeps_the_old_program(
    virtual: Board, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    flash(virtual, build(virtual).elf)
    before = flashed_image(virtual)
    good = Machine.write
    monkeypatch.setattr(
        Machine, "write", lambda self, at, data: good(self, at, data[:9] + b"\x5a" + data[10:])
    )
    with pytest.raises(EdgekitError, match="read 0x5a; 1 of") as caught:
        flash(virtual, build(virtual, opt="-Os").elf)
    assert caught.value.code == "E605"
    assert flashed_image(virtual) == before


@pytest.mark.parametrize("seed", range(12))
def test_bad_links_delay_and_never_lie(virtual: Board, build: Build, seed: int) -> None:
    flash(virtual, build(virtual).elf)
    link = BadLink(VirtualLink(virtual), rate=0.0008, seed=seed)
    with Session(virtual, link) as session:
        for count in range(1, 4):
            assert session.run([INPUT]) == [OUTPUT, bytes([count])]
        assert session.profile([INPUT], repeat=2).layers[1] > 10000


def test_a_hopeless_link_is_an_error(virtual: Board, build: Build) -> None:
    flash(virtual, build(virtual).elf)
    with Session(virtual, BadLink(VirtualLink(virtual), rate=0.2, seed=1)) as session:
        with pytest.raises(EdgekitError, match="does not answer") as caught:
            session.run([INPUT])
        assert caught.value.code == "E607"


def test_no_answer_says_what_was_sent(virtual: Board) -> None:
    with pytest.raises(EdgekitError, match=r"sent 'H' \(10 B\) 4 times, waited") as caught:
        Session(virtual, SilentLink()).hello()
    assert "flash" in caught.value.help
    chatter = SilentLink(lambda: b"boot ok\r\n\0")
    with pytest.raises(EdgekitError, match="damaged frames came"):
        Session(virtual, chatter, timeout=0.05).hello()


def test_another_protocol_version(virtual: Board) -> None:
    link = SilentLink(lambda: protocol.encode(b"h", 1, bytes([9]) * 80))
    with pytest.raises(EdgekitError, match="speaks link protocol 09, this edgekit 1"):
        Session(virtual, link).hello()


def test_a_model_that_cannot_be_opened(virtual: Board, build: Build) -> None:
    flash(virtual, build(virtual, defines={"FAKE_STATUS": "8"}).elf)
    with connect(virtual) as session:
        assert session.hello().status == 8
        for call in (lambda: session.run([INPUT]), lambda: session.request(protocol.RUN)):
            with pytest.raises(EdgekitError, match="8 KERNEL_MISSING") as caught:
                call()
            assert caught.value.code == "E608"
        assert session.stack_used()[0] > 0


def test_refused_requests(virtual: Board, build: Build) -> None:
    flash(virtual, build(virtual, profile=False).elf)
    with connect(virtual) as session:
        with pytest.raises(EdgekitError, match=r"takes inputs of \[600\] B, got \[5\] B"):
            session.run([b"wrong"])
        with pytest.raises(EdgekitError, match="built without profiling"):
            session.profile([INPUT])
        for type, payload in [
            (protocol.WRITE, b"\0\0" + (599).to_bytes(4, "little") + b"ab"),
            (protocol.WRITE, b"\0\0\xff\xff\xff\xffab"),
            (protocol.WRITE, b"\1\0" + bytes(5)),
            (protocol.OUTPUT, b"\0\0" + (600).to_bytes(4, "little") + b"\1\0"),
            (protocol.OUTPUT, b"\0\0" + bytes(4) + b"\1\1"),
            (protocol.SIZE, b"\1\2\0"),
        ]:
            with pytest.raises(EdgekitError, match="out of range"):
                session.request(type, payload)
        with pytest.raises(EdgekitError, match="wrong length"):
            session.request(protocol.OUTPUT, b"\0")
        assert session.run([INPUT])[0] == OUTPUT


def test_more_layers_than_room(virtual: Board, build: Build) -> None:
    flash(virtual, build(virtual, max_layers=2).elf)
    with connect(virtual) as session, pytest.raises(EdgekitError, match="2 layers, the model has"):
        session.profile([INPUT])


def test_faults_on_the_virtual_board(virtual: Board, build: Build) -> None:
    flash(virtual, build(virtual, defines={"FAKE_OVERFLOW": ""}).elf)
    with connect(virtual) as session, pytest.raises(EdgekitError, match="ek_app_invoke") as caught:
        session.run([INPUT])
    assert caught.value.code == "E609"


def test_emulated_boards_have_no_port(virtual: Board) -> None:
    with pytest.raises(EdgekitError, match="has no port '/dev/ttyACM0'"):
        connect(virtual, access=Access(port="/dev/ttyACM0"))


def test_instructions_instead_of_cycles(virtual: Board, build: Build) -> None:
    counting = replace(virtual, target=replace(virtual.target, cycle_model="instructions"))
    flash(counting, build(counting).elf)
    with connect(counting) as session:
        profile = session.profile([INPUT], repeat=2)
    assert (profile.unit, profile.hz) == ("instructions", 0)


def test_the_board_checks_its_own_flash(virtual: Board, build: Build) -> None:
    """Also without a model that opens: damaged flash is just what it has to tell."""
    flash(virtual, build(virtual, defines={"FAKE_STATUS": "4"}).elf)
    start, data = flashed_image(virtual).segments[0]
    assert start == virtual.flash.start
    with connect(virtual) as session:
        assert session.checksum(start, len(data)) == zlib.crc32(data)
        assert session.checksum(start + 5, 7) == zlib.crc32(data[5:12])
        assert session.checksum(start, 0) == 0
        blank = b"\xff" * 140_000  # several requests, one CRC
        end = virtual.flash.end
        assert session.checksum(end - len(blank), len(blank)) == zlib.crc32(blank)
        for address, size in ((start - 1, 2), (end - 1, 2), (virtual.ram.start, 4), (end + 1, 1)):
            with pytest.raises(EdgekitError, match="address out of range"):
                session.checksum(address, size)
        with pytest.raises(EdgekitError, match="out of range"):
            session.request(protocol.CHECKSUM, struct.pack("<III", start, 0xFFFFFFFF, 0))
        with pytest.raises(EdgekitError, match="wrong length"):
            session.request(protocol.CHECKSUM, bytes(8))


def test_a_second_conversation_gets_its_own_answers(virtual: Board, build: Build) -> None:
    """Both begin with the same request and number; the device answers repeated ones from memory."""
    flash(virtual, build(virtual).elf)
    start, data = flashed_image(virtual).segments[0]
    link = VirtualLink(virtual)
    for address in (start, start + 64, start + 128):
        session = Session(virtual, link)
        offset = address - start
        assert session.checksum(address, 64) == zlib.crc32(data[offset : offset + 64])
