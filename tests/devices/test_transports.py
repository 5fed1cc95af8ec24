"""RTT and semihosting: answers and figures as by the UART, and what goes wrong with them."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tools import need

from edgekit.cli import main
from edgekit.devices.emulators.virtual import VirtualBoard
from edgekit.devices.firmware.image import (
    FlashImage,
    load_elf,
    load_image,
    load_symbols,
    save_image,
)
from edgekit.devices.flash import flash
from edgekit.devices.links import rtt
from edgekit.devices.links.rtt import RttLink
from edgekit.devices.routes import Access, transport_of
from edgekit.devices.routes.virtual import VirtualMemory
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from edgekit.execute import session
from edgekit.output import Output, open_output
from targets import USUAL_TRANSPORTS, Board, board

from .conftest import Build
from .test_session import INPUT, OUTPUT

QEMU = {"qemu-mps2-an386": "qemu-system-arm", "qemu-riscv32-virt": "qemu-system-riscv32"}
Figures = tuple[tuple[int, ...], int]


def talk(on: Board, build: Build, transport: str) -> Figures:
    access = Access(transport=transport)
    flash(on, build(on, transport=transport).elf, access=access)
    with connect(on, access=access) as session:
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
        profile = session.profile([INPUT], repeat=2)
        assert session.run([INPUT]) == [OUTPUT, b"\4"]
    return profile.layers, profile.total


@pytest.mark.parametrize("name", ["virtual-cortex-m4", "virtual-riscv32"])
def test_every_transport_tells_the_same(name: str, build: Build) -> None:
    by_uart, *others = (talk(board(name), build, t) for t in USUAL_TRANSPORTS)
    assert others == [by_uart, by_uart]


@pytest.mark.apt
@pytest.mark.parametrize("name", list(QEMU))
def test_every_transport_tells_the_same_in_qemu(name: str, build: Build) -> None:
    need(QEMU[name])
    by_uart, *others = (talk(board(name), build, t) for t in USUAL_TRANSPORTS)
    for layers, total in others:
        for found, wanted in zip((*layers, total), (*by_uart[0], by_uart[1]), strict=True):
            assert abs(found - wanted) <= 2  # the timer resolves 0.6 of an instruction


@pytest.mark.parametrize("transport", ["rtt", "semihosting"])
def test_the_command_line(
    digits: Output, tmp_path: Path, transport: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = open_output(Path(shutil.copytree(digits.path, tmp_path / "out")))
    figures = {}
    for chosen in ("uart", transport):  # the second finds the first one's program, and flashes
        file = tmp_path / f"{chosen}.json"
        assert main(["profile", str(folder.path), "--board", "virtual-cortex-m4", "--repeat", "1",
                     "--transport", chosen, "--json", str(file)]) == 0  # fmt: skip
        figures[chosen] = json.loads(file.read_text())
    for measured in figures.values():
        del measured["stack_bytes"], measured["regions"]
    assert figures["uart"] == figures[transport]
    names = {p.name for p in (folder.path / "firmware").glob("virtual-cortex-m4-interp*.elf")}
    assert names >= {f"virtual-cortex-m4-interpreter{t}.elf" for t in ("", f"-{transport}")}
    capsys.readouterr()


def test_boards_and_routes_that_do_not_have_it(virtual: Board, build: Build) -> None:
    flash(virtual, build(virtual).elf)
    plain = replace(virtual, transports=("uart",))
    with pytest.raises(EdgekitError, match="does not talk by 'rtt' over route 'virtual'") as e:
        connect(plain, access=Access(transport="rtt"))
    assert e.value.code == "E646" and e.value.help == "it does with --transport uart"
    probed = replace(virtual, routes=("gdb",))
    with pytest.raises(EdgekitError, match="does not talk by 'semihosting'") as e:
        connect(probed, access=Access(transport="semihosting"))
    assert e.value.help == "it does with --transport uart or rtt"
    both = replace(virtual, routes=("stm32-uart", "gdb"), transports=("rtt", "uart"))
    assert transport_of(both) == "uart"  # the first that the route carries
    assert transport_of(both, Access(route="gdb")) == "rtt"
    assert transport_of(both, Access(route="gdb", transport="uart")) == "uart"
    first = replace(virtual, transports=("rtt", "uart"))
    flash(first, build(first, transport="rtt").elf)
    with connect(first) as session:  # the first is the default
        assert isinstance(session.link, RttLink)
        assert session.run([INPUT]) == [OUTPUT, b"\1"]


def test_what_was_flashed_talks_otherwise(virtual: Board, build: Build) -> None:
    for built, asked, says in (("rtt", "uart", "talks by RTT"), ("uart", "rtt", "not by RTT")):
        flash(virtual, build(virtual, transport=built).elf)
        with pytest.raises(EdgekitError, match=says) as caught:
            connect(virtual, access=Access(transport=asked))
        assert caught.value.code == "E647" and f"--transport {asked}" in caught.value.help


@pytest.mark.apt
def test_from_one_transport_to_the_other(digits: Output, tmp_path: Path) -> None:
    """A program that makes semihosting calls ends a QEMU that does not expect them."""
    need("qemu-system-arm")
    folder = open_output(Path(shutil.copytree(digits.path, tmp_path / "out")))
    qemu = board("qemu-mps2-an386")
    sample = list(folder.bundle.golden[0].inputs)
    for transport in ("semihosting", "rtt", "uart"):
        with session(folder, qemu, access=Access(transport=transport)) as device:
            assert device.run(sample) == list(folder.bundle.golden[0].outputs)


# ---- RTT


@pytest.fixture
def machine(virtual: Board, build: Build) -> VirtualBoard:
    return VirtualBoard(virtual, build(virtual, transport="rtt").elf)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtt, "_PATIENCE", 0.1)


def test_the_block_is_where_the_symbol_is(machine: VirtualBoard, virtual: Board) -> None:
    assert machine.image.rtt is not None
    reads: list[int] = []

    class Watched(VirtualMemory):
        def read(self, address: int, size: int) -> bytes:
            reads.append(address)
            return super().read(address, size)

    with Session(virtual, RttLink(virtual, Watched(machine), machine.image)) as session:
        assert session.run([INPUT]) == [OUTPUT, b"\1"]
    assert reads[0] == machine.image.rtt
    assert len(set(reads)) < 600  # the rings, and no search


def test_an_unknown_block_is_found(machine: VirtualBoard, virtual: Board) -> None:
    with Session(virtual, RttLink(virtual, VirtualMemory(machine), None)) as session:
        assert session.run([INPUT]) == [OUTPUT, b"\1"]


def test_the_kept_image_knows_the_block(machine: VirtualBoard, tmp_path: Path) -> None:
    save_image(machine.image, tmp_path / "flash.img")
    assert load_image(tmp_path / "flash.img") == machine.image
    assert machine.image.aligned(64).rtt == machine.image.rtt


def no_block(memory: VirtualMemory, image: FlashImage | None, virtual: Board) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        RttLink(virtual, memory, image)
    assert caught.value.code == "E647"
    return caught.value


def test_a_program_without_rtt(virtual: Board, build: Build) -> None:
    machine = VirtualBoard(virtual, build(virtual).elf)
    assert machine.image.rtt is None
    error = no_block(VirtualMemory(machine), None, virtual)
    assert "has no RTT control block anywhere in RAM" in error.message
    elsewhere = replace(machine.image, rtt=virtual.ram.start + 64)
    error = no_block(VirtualMemory(machine), elsewhere, virtual)
    assert "at 0x20000040" in error.message and "--transport rtt" in error.help


@pytest.mark.parametrize(
    ("offset", "value", "says"),
    [
        (16, 0, "0 rings to the host and 1 from it"),
        (20, 99, "1 rings to the host and 99 from it"),
        (28, 0x0800_0000, "a ring of 1024 B at 0x08000000"),
        (28, 0x2009_FFFF, "a ring of 1024 B at 0x2009ffff"),
        (32, 1, "a ring of 1 B"),
        (56, 0xFFFF_FFFF, "a ring of 4294967295 B"),
    ],
)
def test_a_damaged_block(
    machine: VirtualBoard, virtual: Board, offset: int, value: int, says: str
) -> None:
    machine.run(limit=100_000)

    class Still(VirtualMemory):
        def run(self, seconds: float) -> None:
            """It runs no more."""

    assert machine.image.rtt is not None
    machine.machine.write(machine.image.rtt + offset, struct.pack("<I", value))
    assert says in no_block(Still(machine), machine.image, virtual).message


def test_damaged_offsets_and_a_program_that_does_not_read(
    machine: VirtualBoard, virtual: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = VirtualMemory(machine)
    link = RttLink(virtual, memory, machine.image)
    monkeypatch.setattr(memory, "run", lambda _seconds: None)
    with pytest.raises(EdgekitError, match=r"does not read its RTT ring, 89 B are left"):
        link.write(bytes(600))
    assert machine.image.rtt is not None
    machine.machine.write(machine.image.rtt + 24 + 12, struct.pack("<I", 1024))
    with pytest.raises(EdgekitError, match="offsets 1024 and 0 in a ring of 1024 B"):
        link.read(0.1)


class Rings:
    """RAM with a control block, and a device that sends back what it reads, bytes turned over."""

    def __init__(self, up: int, down: int, at: int) -> None:
        self.sizes, self.start = (up, down), 0x2000_0000
        self.ram = bytearray(4096)
        head = b"SEGGER RTT".ljust(16, b"\0") + struct.pack("<ii", 1, 1)
        data = self.start + 0x400
        for size in self.sizes:
            head += struct.pack("<6I", 0, data, size, at % size, at % size, 2)
            data += size
        self.ram[0x100 : 0x100 + len(head)] = head

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.ram[address - self.start :][:size])

    def write(self, address: int, data: bytes) -> None:
        self.ram[address - self.start : address - self.start + len(data)] = data

    def run(self, _seconds: float) -> None:
        up, down = (struct.unpack_from("<6I", self.ram, 0x100 + 24 + 24 * i) for i in range(2))
        written, taken = up[3], down[4]
        while taken != down[3] and (written + 1) % up[2] != up[4]:
            self.ram[up[1] - self.start + written] = self.ram[down[1] - self.start + taken] ^ 0xFF
            written, taken = (written + 1) % up[2], (taken + 1) % down[2]
        struct.pack_into("<I", self.ram, 0x100 + 24 + 12, written)
        struct.pack_into("<I", self.ram, 0x100 + 48 + 16, taken)

    def close(self) -> None:
        pass


@settings(max_examples=40, deadline=None)
@given(
    data=st.lists(st.binary(max_size=90), max_size=6),
    up=st.integers(2, 100), down=st.integers(2, 100), at=st.integers(0, 99),
)  # fmt: skip
def test_rings_of_any_size_lose_nothing(data: list[bytes], up: int, down: int, at: int) -> None:
    on = board("virtual-cortex-m4")
    memory = Rings(up, down, at)
    link = RttLink(on, memory, FlashImage((), (), memory.start + 0x100))
    for part in data:
        if len(part) <= min(up, down) - 1:
            link.write(part)
        else:  # the device waits for the host to read
            for i in range(len(part)):
                link.write(part[i : i + 1])
                assert link.read(0.5) == bytes([part[i] ^ 0xFF])
            continue
        found = b""
        while len(found) < len(part):
            found += link.read(0.5)
        assert found == bytes(b ^ 0xFF for b in part)
    assert link.read(0) == b""


@settings(max_examples=60, deadline=None)
@given(block=st.binary(min_size=24, max_size=72))
def test_any_block_is_taken_or_an_error(block: bytes) -> None:
    memory = Rings(16, 16, 0)
    memory.ram[0x110 : 0x110 + len(block)] = block
    memory.run = lambda _seconds: None  # type: ignore[method-assign]
    try:
        link = RttLink(board("virtual-cortex-m4"), memory, FlashImage((), (), 0x2000_0100))
        link.read(0)
        link.write(b"x")
    except EdgekitError as error:
        assert error.code == "E647"


def test_the_ring_symbol_is_the_block(virtual: Board, build: Callable[..., object]) -> None:
    elf: Path = build(virtual, transport="rtt").elf  # type: ignore[attr-defined]
    assert load_elf(elf).rtt == load_symbols(elf)["ek_rtt"]
    text = elf.read_bytes()
    assert b"SEGGER RTT" not in text  # who searches flash finds nothing
