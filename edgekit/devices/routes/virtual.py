"""The virtual board in this process."""

from __future__ import annotations

import time
from pathlib import Path

from edgekit.devices.emulators import stored
from edgekit.devices.emulators.machine import Machine
from edgekit.devices.emulators.virtual import VirtualBoard
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.devices.links.link import Link
from edgekit.devices.links.rtt import RttLink, check_transport
from edgekit.devices.routes.base import Route
from targets import USUAL_TRANSPORTS, Board

#: Instructions between two looks at the rings of RTT: about a millisecond of the host's time.
_LOOK = 100_000


class VirtualLink:
    """The virtual board runs while the host waits for it."""

    _semihosted = False

    def __init__(
        self, board: Board, image: FlashImage | None = None, transport: str = "uart"
    ) -> None:
        self.machine = VirtualBoard(board, image or stored.flashed_image(board))
        self._semihosted = transport == "semihosting"

    def write(self, data: bytes) -> None:
        if self._semihosted:
            self.machine.console.received += data
        else:
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


class VirtualMemory:
    """See `edgekit.devices.links.rtt.DeviceMemory`."""

    def __init__(self, machine: VirtualBoard) -> None:
        self.machine = machine

    def read(self, address: int, size: int) -> bytes:
        return self.machine.machine.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        self.machine.machine.write(address, data)

    def run(self, seconds: float) -> None:
        self.machine.run(seconds, limit=_LOOK)

    def close(self) -> None:
        pass


class VirtualRoute(Route):
    """Flash is memory of an emulated core, kept as a file from one command to the next."""

    name = "virtual"
    proven = "it is the emulator itself, which runs in every test"
    transports = USUAL_TRANSPORTS

    def connect(self) -> None:
        self._machine = Machine(self.board.target, self.board.regions)

    def erase(self, address: int, size: int) -> None:
        self._machine.write(address, b"\xff" * size)

    def write(self, address: int, data: bytes) -> None:
        self._machine.write(address, data)

    def read(self, address: int, size: int) -> bytes:
        return self._machine.read(address, size)

    def reset(self) -> None:
        """Power comes with `stream`."""

    def stream(self, elf: Path | None = None) -> Link:
        image = load_elf(elf) if elf is not None else stored.flashed_image(self.board)
        check_transport(self.board, image, self.transport)
        if self.transport == "rtt":
            return RttLink(self.board, VirtualMemory(VirtualBoard(self.board, image)), image)
        return VirtualLink(self.board, image, self.transport)

    def keep(self, stored_image: FlashImage) -> None:
        stored.keep(self.board, stored_image)


ROUTE = VirtualRoute
