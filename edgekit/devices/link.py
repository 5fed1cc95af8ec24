"""Bytes to and from a powered board: one small class per route, all with the same methods."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Protocol

from edgekit.devices.flash import flashed_image
from edgekit.devices.image import FlashImage, load_elf
from edgekit.devices.qemu import QemuMachine
from edgekit.devices.virtual import VirtualBoard
from edgekit.errors import EdgekitError
from targets import Board


class Link(Protocol):
    """A board's UART, seen from the host."""

    def write(self, data: bytes) -> None:
        """Send bytes to the board."""

    def read(self, seconds: float) -> bytes:
        """What the board has sent; waits up to `seconds` for the first byte, else empty.

        May return early and empty where it is certain that nothing will come.
        """

    def where(self, address: int) -> str:
        """A code address as text, by function name where the link knows symbols."""

    def close(self) -> None:
        """Power the board down or close the port."""


class VirtualLink:
    """The virtual board runs while the host waits for it."""

    def __init__(self, board: Board, image: FlashImage | None = None) -> None:
        self.machine = VirtualBoard(board, image or flashed_image(board))

    def write(self, data: bytes) -> None:
        self.machine.send(data)

    def read(self, seconds: float) -> bytes:
        end = time.monotonic() + seconds
        while True:
            waits = self.machine.run(max(0.0, end - time.monotonic()))
            data = self.machine.take()
            if data or waits or time.monotonic() >= end:
                return data

    def where(self, address: int) -> str:
        return self.machine.machine.where(address)

    def close(self) -> None:
        pass


class QemuLink:
    """Powers a machine up with the board's kept flash content and lets it run."""

    def __init__(self, board: Board, image: FlashImage | None = None) -> None:
        self._image = image or flashed_image(board)
        with contextlib.ExitStack() as stack:
            self.machine = stack.enter_context(QemuMachine(board))
            for address, data in self._image.segments:
                self.machine.gdb.write_verified(address, data)
            self.machine.start()
            self._stack = stack.pop_all()

    def write(self, data: bytes) -> None:
        try:
            self.machine.uart.sendall(data)
        except OSError as error:
            raise self._gone() from error

    def read(self, seconds: float) -> bytes:
        self.machine.uart.settimeout(max(seconds, 0.001))
        try:
            data = self.machine.uart.recv(65536)
        except TimeoutError:
            return b""
        except OSError as error:
            raise self._gone() from error
        if not data:
            raise self._gone()
        return data

    def _gone(self) -> EdgekitError:
        name = self.machine.board.name
        return EdgekitError("E604", f"QEMU closed the UART of '{name}'")

    def where(self, address: int) -> str:
        for symbol in self._image.functions:
            if symbol.address <= address < symbol.address + symbol.size:
                return f"{symbol.name}+{address - symbol.address:#x}"
        return f"{address:#010x}"

    def close(self) -> None:
        self._stack.close()


def open_link(board: Board, port: str | None = None, elf: Path | None = None) -> Link:
    """Power an emulated board up with what was flashed, or with `elf` for this once.

    Raises:
        EdgekitError: E606 where nothing was flashed.
    """
    if port is not None:
        raise EdgekitError(
            "E601",
            f"board '{board.name}' is emulated and has no port '{port}'",
            help="leave --port away",
        )
    image = load_elf(elf) if elf is not None else None
    return QemuLink(board, image) if board.route == "qemu-gdb" else VirtualLink(board, image)
