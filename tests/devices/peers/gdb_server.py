"""A GDB server with NOR flash behind it: what OpenOCD and the like are to a client.

Flash is erased by whole blocks to 0xFF and programming can only clear bits; a plain write does not
reach it. gdb-multiarch's ``load`` and ``compare-sections`` are run against it in the tests, so
that it is not merely what our client believes a server to be.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.devices.routes import Access

from . import Peer, Proof, image, peer_board
from .listener import Listener

#: Core registers of a Cortex-M as GDB numbers them without a description: r0-r15, FPA, cpsr.
_REGISTERS = b"00000000" * 16 + b"0" * 24 * 8 + b"00000000" + b"00000001"


def _crc_of(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ (0x04C11DB7 if crc >> 31 else 0)) & 0xFFFFFFFF
    return crc


_CRC = [_crc_of(byte) for byte in range(256)]


@dataclass(frozen=True)
class Bank:
    """A flash memory whose erase blocks have `block` bytes."""

    start: int
    size: int
    block: int


@dataclass
class Flash:
    """NOR flash in banks, and RAM everywhere else.

    `stuck` is the address of a byte whose lowest bit always reads as one.
    """

    banks: Sequence[Bank]
    stuck: int | None = None
    erases: int = 0
    content: dict[Bank, bytearray] = field(default_factory=dict)
    ram: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for i, bank in enumerate(self.banks):  # what was there before
            self.content[bank] = bytearray(bytes((i, 0x5A, 0, 0xA5)) * (bank.size // 4))

    def bank(self, address: int, size: int) -> Bank | None:
        return next(
            (b for b in self.banks if b.start <= address and address + size <= b.start + b.size),
            None,
        )

    def erase(self, address: int, size: int) -> bool:
        bank = self.bank(address, size)
        if bank is None or (address - bank.start) % bank.block or size % bank.block or not size:
            return False
        at = address - bank.start
        self.content[bank][at : at + size] = b"\xff" * size
        self.erases += size // bank.block
        return True

    def program(self, address: int, data: bytes) -> bool:
        bank = self.bank(address, len(data))
        if bank is None:
            return False
        for i, byte in enumerate(data, address - bank.start):
            self.content[bank][i] &= byte
        return True

    def read(self, address: int, size: int) -> bytes:
        data = bytearray(self.ram.get(address + i, 0xAA) for i in range(size))
        for bank in self.banks:
            low, high = max(address, bank.start), min(address + size, bank.start + bank.size)
            if low < high:
                part = self.content[bank][low - bank.start : high - bank.start]
                data[low - address : high - address] = part
        if self.stuck is not None and address <= self.stuck < address + size:
            data[self.stuck - address] |= 1
        return bytes(data)

    def write(self, address: int, data: bytes) -> None:
        """A plain write: flash ignores it, as a bus does without a programming sequence."""
        if self.bank(address, len(data)) is None:
            self.ram |= dict(enumerate(data, address))


class Cut(Exception):
    """The cable is cut."""


@dataclass
class GdbServer:
    """Serves one client after another until `close`.

    Attributes:
        cuts: for each connection in turn, after how many bytes (of both directions) it breaks.
        flips: positions of bytes, counted over all connections, that lose a bit on the way.
        map: whether there is a memory map, and with it vFlash.
        acknowledge: whether acknowledgements stay on.
        probe: the server is the probe itself and has no target before it was told to look for one.
        resets: monitor commands that reset.
        buffered: flash is programmed by vFlashDone and not before.
    """

    flash: Flash
    cuts: list[int] = field(default_factory=list)
    flips: set[int] = field(default_factory=set)
    map: bool = True
    acknowledge: bool = False
    probe: bool = False
    resets: tuple[str, ...] = ("reset halt",)
    buffered: bool = True
    packet_size: int = 0x400

    def __post_init__(self) -> None:
        self.seen: list[bytes] = []
        self.running = False
        self.starts = 0
        self.passed = 0
        self._collected: list[tuple[int, bytes]] = []
        self._scanned = self._target = not self.probe
        self._listener = Listener(self._serve)
        self.port = self._listener.port

    def close(self) -> None:
        self._listener.close()

    # ---- the line

    def _serve(self, connection: socket.socket) -> None:
        self._connection = connection
        self._left = self.cuts.pop(0) if self.cuts else 1 << 40
        self._acknowledging = True
        self._collected = []
        with contextlib.suppress(Cut):
            self._talk()

    def _pass(self, data: bytes) -> bytes:
        """What of `data` comes through."""
        out = bytearray(data)
        for position in [p for p in self.flips if self.passed <= p < self.passed + len(data)]:
            out[position - self.passed] ^= 0x04
            self.flips.discard(position)
        self.passed += len(data)
        out = out[: max(self._left, 0)]
        self._left -= len(data)
        return bytes(out)

    def _send(self, data: bytes) -> None:
        self._connection.sendall(self._pass(data))
        if self._left <= 0:
            raise Cut

    def _receive(self) -> None:
        data = self._connection.recv(4096)
        if not data:
            raise Cut
        self._buffer += self._pass(data)
        if self._left <= 0:
            raise Cut

    def _talk(self) -> None:
        self._buffer = b""
        while True:
            # From the first byte that begins something: 0x03 is also a byte of binary data.
            found = re.match(rb"[^\x03$]*(?:\x03|\$([^#]*)#(..))", self._buffer, re.DOTALL)
            if found is None:
                self._receive()
                continue
            self._buffer = self._buffer[found.end() :]
            if found[1] is None:
                if self.running:
                    self.running = False
                    self._packet(b"T02")
                continue
            good = b"%02x" % (sum(found[1]) & 0xFF) == found[2].lower()
            if self._acknowledging:
                self._send(b"+" if good else b"-")
            if good:
                self.seen.append(found[1])
                for answer in self._answers(found[1]):
                    self._packet(answer)

    def _packet(self, answer: bytes) -> None:
        packet = b"$%s#%02x" % (answer, sum(answer) & 0xFF)
        for _ in range(4):
            self._send(packet)
            if not self._acknowledging:
                return
            while not self._buffer:
                self._receive()
            if self._buffer[:1] != b"-":
                return
            self._buffer = self._buffer[1:]

    # ---- what it answers

    def _answers(self, packet: bytes) -> list[bytes]:
        if packet.startswith((b"c", b"vCont;c")):
            self.running = True
            self.starts += 1
            return []
        if packet.startswith(b"qRcmd,"):
            return self._monitor(bytes.fromhex(packet[6:].decode()).decode())
        return [self._answer(packet)]

    def _answer(self, packet: bytes) -> bytes:
        handlers = {
            b"qSupported": self._supported,
            b"QStartNoAckMode": self._no_acknowledgements,
            b"qXfer": self._transfer,
            b"qCRC": self._checksum,
            b"m": self._read,
            b"M": self._write,
            b"X": self._write_binary,
            b"vFlashErase": self._erase,
            b"vFlashWrite": self._program,
            b"vFlashDone": self._done,
            b"vAttach": self._attach,
        }
        for name, handler in handlers.items():
            if packet.startswith(name):
                return handler(packet)
        fixed = {b"?": b"T05" if self._target else b"W00", b"!": b"OK", b"vCont?": b"vCont;c;s"}
        fixed |= {b"g": _REGISTERS, b"D": b"OK", b"Hg0": b"OK", b"qAttached": b"1"}
        if packet == b"D":
            self.running = True
        if packet[:1] in (b"P", b"G"):
            return b"OK"
        return fixed.get(packet, b"")

    def _supported(self, _packet: bytes) -> bytes:
        offers = [b"PacketSize=%x" % self.packet_size, b"vContSupported+"]
        offers += [b"qXfer:memory-map:read+"] if self.map else []
        offers += [] if self.acknowledge else [b"QStartNoAckMode+"]
        return b";".join(offers)

    def _no_acknowledgements(self, _packet: bytes) -> bytes:
        self._acknowledging = False
        return b"OK"

    def _monitor(self, command: str) -> list[bytes]:
        if command == "swdp_scan" and self.probe:
            self._scanned = True
            return [b"O" + b"Available Targets:\n 1 STM32F40x M4\n".hex().encode(), b"OK"]
        if command in self.resets:
            self.running = False
            return [b"O" + b"target halted\n".hex().encode(), b"OK"]
        return [b"O" + f"unknown command '{command}'\n".encode().hex().encode(), b"OK"]

    def _attach(self, _packet: bytes) -> bytes:
        self._target = self._scanned
        return b"T05" if self._target else b"E01"

    def _transfer(self, packet: bytes) -> bytes:
        offset, size = (int(x, 16) for x in packet.split(b":")[-1].split(b","))
        if not packet.startswith(b"qXfer:memory-map:read::"):
            return b""
        memories = "".join(
            f'<memory type="flash" start="{b.start:#x}" length="{b.size:#x}">'
            f'<property name="blocksize">{b.block:#x}</property></memory>'
            for b in self.flash.banks
        )
        text = (
            '<?xml version="1.0"?><!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map '
            'V1.0//EN" "http://sourceware.org/gdb/gdb-memory-map.dtd"><memory-map>'
            f'{memories}<memory type="ram" start="0x20000000" length="0x40000"/></memory-map>'
        ).encode()
        part = text[offset : offset + min(size, 100)]  # in pieces
        return (b"l" if offset + len(part) >= len(text) else b"m") + part

    def _place(self, packet: bytes) -> tuple[int, int]:
        numbers = re.match(rb"(?:m|M|X|qCRC:|vFlashErase:)([0-9a-f]+),([0-9a-f]+)", packet)
        assert numbers is not None, packet
        return int(numbers[1], 16), int(numbers[2], 16)

    def _read(self, packet: bytes) -> bytes:
        return self.flash.read(*self._place(packet)).hex().encode()

    def _write(self, packet: bytes) -> bytes:
        self.flash.write(self._place(packet)[0], bytes.fromhex(packet.split(b":")[1].decode()))
        return b"OK"

    def _write_binary(self, packet: bytes) -> bytes:
        address, size = self._place(packet)
        data = unescape(packet.split(b":", 1)[1])
        if len(data) != size:
            return b"E01"
        self.flash.write(address, data)
        return b"OK"

    def _checksum(self, packet: bytes) -> bytes:
        """As "Debugging with GDB" describes the answer to qCRC."""
        crc = 0xFFFFFFFF
        for byte in self.flash.read(*self._place(packet)):
            crc = crc << 8 & 0xFFFFFFFF ^ _CRC[crc >> 24 ^ byte]
        return b"C%08x" % crc

    def _erase(self, packet: bytes) -> bytes:
        return b"OK" if self.map and self.flash.erase(*self._place(packet)) else b"E01"

    def _program(self, packet: bytes) -> bytes:
        head, _, data = packet.partition(b":")[2].partition(b":")
        address, data = int(head, 16), unescape(data)
        if self.flash.bank(address, len(data)) is None:
            return b"E.memtype"
        self._collected.append((address, data))
        return b"OK" if self.buffered else self._done(b"")

    def _done(self, _packet: bytes) -> bytes:
        for address, data in self._collected:
            self.flash.program(address, data)
        self._collected = []
        return b"OK"


def unescape(data: bytes) -> bytes:
    return re.sub(rb"\}(.)", lambda m: bytes([m[1][0] ^ 0x20]), data, flags=re.DOTALL)


# ---- proofs


class _Served:
    """A server with one bank of flash."""

    def __init__(self, server: GdbServer) -> None:
        self.server = server
        self.board = peer_board("gdb", 0x0800_0000, 0x10_0000)
        self.access = Access(port=f"127.0.0.1:{server.port}")

    def content(self, address: int, size: int) -> bytes:
        return self.server.flash.read(address, size)

    def mend(self) -> None:
        assert not self.server.starts, "an incomplete program was started"
        self.server.flash.stuck = None
        self.server.cuts.clear()


@contextlib.contextmanager
def _start(_folder: Path, variant: str) -> Iterator[Peer]:
    flash = Flash([Bank(0x0800_0000, 0x10_0000, 0x800)])
    if variant == "corrupted":
        drawn = image(0x0800_0000)[0][1]
        flash.stuck = 0x0800_0000 + next(i for i in range(99, 999) if not drawn[i] & 1)
    with contextlib.closing(GdbServer(flash, cuts=[2500] * 3 if variant == "cut" else [])) as it:
        yield _Served(it)


PROOFS = (Proof("gdb", _start, name="gdb-vflash"),)
