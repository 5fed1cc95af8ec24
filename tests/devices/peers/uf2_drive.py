"""A bootloader's drive: a folder whose file is a pipe into a boot ROM, which uf2utils parses.

As the RP2040's ROM does, it takes blocks of its family and ignores all others, restarts after
the last one (the folder goes) and stays where one is missing. A pipe, so that a drive that vanishes
is an error of the very write that it meets. The program that then runs is on a TCP port: one that
says hello and computes checksums, or a board's real firmware, emulated.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from devices.peers import Peer, Proof, Start, image, peer_board
from uf2utils.block import DataBlock
from uf2utils.header import UF2DecodeError

from edgekit.devices import protocol
from edgekit.devices.clients.drives import INFO
from edgekit.devices.conversation import _HELLO
from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.routes import Access
from edgekit.devices.routes.uf2 import FILE
from edgekit.devices.routes.virtual import VirtualLink
from targets import Board

START, RP2040 = 0x1000_0000, 0xE48B_FF56
SIZE = 1 << 20


class Drive:
    """The board.

    Args:
        folder: where its drive shows up while the bootloader runs.
        vanish: the drive goes after so many blocks.
        drop: the number of a block that gets lost.
        garble: the number of a block in which a byte of data changes.
        board: run what is in flash on this emulated board.
    """

    def __init__(
        self,
        folder: Path,
        *,
        vanish: int | None = None,
        drop: int | None = None,
        garble: int | None = None,
        board: Board | None = None,
    ) -> None:
        self.folder, self.vanish, self.drop, self.garble = folder, vanish, drop, garble
        self.board = board
        self.start = board.flash.start if board else START
        self.flash = bytearray(b"\0" * SIZE)
        self.wrong: list[str] = []
        self.runs = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._program, daemon=True).start()
        self.plug()

    def plug(self) -> None:
        """The bootloader starts."""
        self.unplug()
        self.runs = False
        self.folder.mkdir()
        (self.folder / INFO).write_text(
            "UF2 Bootloader v3.0\nModel: Raspberry Pi RP2\nBoard-ID: RPI-RP2\n"
        )
        os.mkfifo(self.folder / FILE)
        threading.Thread(target=self._boot, args=(self.folder / FILE,), daemon=True).start()

    def unplug(self) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def close(self) -> None:
        # A boot ROM that still waits for its file reads an empty one.
        with contextlib.suppress(OSError):
            os.close(os.open(self.folder / FILE, os.O_WRONLY | os.O_NONBLOCK))
        self.unplug()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _boot(self, pipe: Path) -> None:
        got: set[int] = set()
        erased: set[int] = set()
        with contextlib.suppress(OSError), pipe.open("rb", buffering=0) as file:
            for count in range(1 << 20):
                if count == self.vanish:
                    return self.unplug()  # and the pipe breaks
                data = b""
                while len(data) < 512:
                    part = file.read(512 - len(data))
                    if not part:
                        return None
                    data += part
                if count == self.drop:
                    continue
                if count == self.garble:
                    data = data[:100] + bytes([data[100] ^ 1]) + data[101:]
                total = self._take(data, got, erased)
                if total and len(got) == total:
                    self.runs = True
                    return self.unplug()
        return None

    def _take(self, data: bytes, got: set[int], erased: set[int]) -> int:
        """Program one block; how many there are in all, 0 where the block is ignored."""
        try:
            block = DataBlock.fromBlock(data)
        except UF2DecodeError:
            return 0
        head = block.header
        if head.board_family != RP2040 or head.flags & 1:
            return 0
        at = head.address - self.start
        if len(block.payload) != 256 or at % 256 or not 0 <= at < SIZE:
            self.wrong.append(f"block {head.block_number} at {head.address:#x}")
            return 0
        sector = at - at % 4096
        if sector not in erased:
            self.flash[sector : sector + 4096] = b"\xff" * 4096
            erased.add(sector)
        self.flash[at : at + 256] = block.payload
        got.add(head.block_number)
        return int(head.total_blocks)

    def _program(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                with contextlib.suppress(OSError), near:
                    if self.board:
                        self._emulate(self.board, near)
                    else:
                        self._serve(near)

    def _emulate(self, board: Board, near: socket.socket) -> None:
        link = VirtualLink(board, FlashImage(((self.start, bytes(self.flash)),)))
        while data := near.recv(4096):
            link.write(data)
            near.sendall(link.read(1.0))

    def _serve(self, near: socket.socket) -> None:
        decoder = protocol.Decoder()
        while data := near.recv(4096):
            for frame in decoder.feed(data) if self.runs else ():
                if frame.type == protocol.HELLO:
                    hello = _HELLO.pack(protocol.VERSION, *[0] * 10, b"program!", 0)
                    near.sendall(protocol.encode(b"h", frame.seq, hello + b"0\0aot\0dwt\0"))
                if frame.type == protocol.CHECKSUM:
                    address, size, crc = struct.unpack("<III", frame.payload)
                    crc = zlib.crc32(self.flash[address - START :][:size], crc)
                    near.sendall(protocol.encode(b"k", frame.seq, crc.to_bytes(4, "little")))


def uf2_board(**settings: str | int) -> Board:
    """A board like the Raspberry Pi Pico."""
    chosen: dict[str, str | int] = {"family": RP2040, "board_id": "RPI-RP2", **settings}
    return peer_board("uf2", START, SIZE, based_on="virtual-cortex-m0plus", settings=chosen)


class _Proven:
    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.board = uf2_board()
        self.access = Access(port=str(drive.folder), serial=f"socket://127.0.0.1:{drive.port}")

    def content(self, address: int, size: int) -> bytes:
        assert self.drive.runs and not self.drive.wrong
        return bytes(self.drive.flash[address - START :][:size])

    def mend(self) -> None:
        self.drive.vanish = self.drive.drop = self.drive.garble = None
        self.drive.plug()


def _starter(**fault: int) -> Start:
    @contextlib.contextmanager
    def start(folder: Path, variant: str) -> Iterator[Peer]:
        cut = {"vanish": 7} if variant == "cut" else {}
        drive = Drive(folder / "RPI-RP2", **(fault if variant == "corrupted" else cut))
        with contextlib.closing(drive):
            yield _Proven(drive)

    return start


def _long(on: Board) -> list[tuple[int, bytes]]:
    """More than a pipe holds: a copy must not be over before the drive vanishes."""
    return image(on.flash.start, 100_000)


PROOFS = (
    Proof("uf2", _starter(garble=3), segments=_long),
    Proof("uf2", _starter(drop=3), "uf2-dropped", segments=_long, caught=("E638",)),
)
