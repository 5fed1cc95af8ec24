"""QEMU's machines through their GDB stub."""

from __future__ import annotations

import contextlib
from pathlib import Path

from edgekit.devices.clients.gdb_memory import GdbMemory
from edgekit.devices.emulators import stored
from edgekit.devices.emulators.qemu import QemuMachine
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.devices.links.link import Link
from edgekit.devices.links.rtt import RttLink, check_transport
from edgekit.devices.routes.base import Route
from edgekit.errors import EdgekitError
from targets import USUAL_TRANSPORTS, Board


class QemuLink:
    """Powers a machine up with the board's kept flash content and lets it run."""

    def __init__(
        self, board: Board, image: FlashImage | None = None, transport: str = "uart"
    ) -> None:
        self._image = image or stored.flashed_image(board)
        with contextlib.ExitStack() as stack:
            self.machine = stack.enter_context(QemuMachine(board, transport == "semihosting"))
            for address, data in self._image.segments:
                self.machine.gdb.write_verified(address, data)
            self.machine.reset()
            if transport != "rtt":
                self.machine.gdb.resume()
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
        return self._image.where(address)

    def close(self) -> None:
        self._stack.close()


class _QemuMemory(GdbMemory):
    """The machine is powered down at the end."""

    def __init__(self, link: QemuLink) -> None:
        super().__init__(link.machine.board, link.machine.gdb)
        self._link = link

    def close(self) -> None:
        self._link.close()


class QemuRoute(Route):
    """Flash is memory of QEMU's machine, which its stub may write; kept as a file between runs."""

    name = "qemu-gdb"
    proven = "QEMU 7.2's GDB stub, an independent implementation of the protocol"
    transports = USUAL_TRANSPORTS

    def connect(self) -> None:
        self._machine = QemuMachine(self.board)

    def erase(self, address: int, size: int) -> None:
        """The machine's memory needs none."""

    def write(self, address: int, data: bytes) -> None:
        self._machine.gdb.write(address, data)

    def read(self, address: int, size: int) -> bytes:
        return self._machine.gdb.read(address, size)

    def reset(self) -> None:
        """Power comes with `stream`."""

    def stream(self, elf: Path | None = None) -> Link:
        image = load_elf(elf) if elf is not None else stored.flashed_image(self.board)
        check_transport(self.board, image, self.transport)
        link = QemuLink(self.board, image, self.transport)
        if self.transport == "rtt":
            return RttLink(self.board, _QemuMemory(link), image)
        return link

    def keep(self, stored_image: FlashImage) -> None:
        stored.keep(self.board, stored_image)

    def close(self) -> None:
        machine = getattr(self, "_machine", None)
        if machine is not None:
            machine.close()


ROUTE = QemuRoute
