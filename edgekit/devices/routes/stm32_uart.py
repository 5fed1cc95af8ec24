"""The bootloader in the ROM of STM32 chips, on a serial port (ST application note AN3155)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgekit.devices.clients.an3155 import BLOCK, Client, Refused
from edgekit.devices.clients.sectors import parse_sectors, touched
from edgekit.devices.links.ports import EVEN, TICK, find_port, open_port
from edgekit.devices.links.serial_link import SerialLink, open_serial
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board

_LINES = ("", "rts", "dtr", "!rts", "!dtr")


class Stm32UartRoute(Route):
    """Port: a serial device, a URL of pyserial, or a USB serial number.

    Settings of a board file, all optional: ``device_id`` (checked before anything is erased),
    ``sectors`` (without it the whole chip is erased), ``write_bytes`` (what the flash programs at
    once: writes are padded to it), ``baud``, and ``boot0`` and ``nrst``, the modem lines that work
    these pins: "rts" or "dtr", with "!" where the line is inverted.
    """

    name = "stm32-uart"
    proven = (
        "a double of AN3155's bootloader that stm32flash drives too, also behind RFC 2217, which "
        "carries parity and reset lines; no silicon, and no flash with ECC"
    )
    step = 4096

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        with Settings(board, self.name) as settings:
            self._device_id = settings.number("device_id", 0)
            self.unit = settings.number("write_bytes", 32)
            self._baud = settings.number("baud", 115_200)
            sectors = settings.text("sectors", "")
            self._boot0 = settings.one_of("boot0", _LINES)
            self._nrst = settings.one_of("nrst", _LINES)
            place = settings.place("sectors")
        self._sectors = parse_sectors(sectors, place) if sectors else []

    def connect(self) -> None:
        self._erased: set[int] = set()
        self._name = find_port(self.board, self.access.port)
        self._port = open_port(self.board, self._name, baud=self._baud, parity=EVEN, timeout=TICK)
        self._client = Client(self._port, self._name)
        if self._nrst:
            self._restart(self._port, bootloader=True)
        if not self._client.greet():
            raise EdgekitError(
                "E633",
                f"no STM32 bootloader answers on '{self._name}' at {self._baud} baud",
                details=[
                    "BOOT0 high (the button or jumper of the board), then reset",
                    "the chip's USART pins, TX to RX and RX to TX, and ground to ground",
                ],
                help="the bootloader is started by BOOT0 at reset: docs/FLASHING.md, stm32-uart",
            )
        with self._explained("its identification"):
            self._check_chip(self._client.get_id())

    def _check_chip(self, found: int) -> None:
        if self._device_id and found != self._device_id:
            raise EdgekitError(
                "E634",
                f"the chip on '{self._name}' has device id {found:#05x}, board "
                f"'{self.board.name}' has {self._device_id:#05x}: nothing was erased",
                help="is this the right board and the right port? edgekit boards lists boards",
            )

    def erase(self, address: int, size: int) -> None:
        with self._explained(f"erasing {size} B at {address:#010x}"):
            if not self._sectors:
                if not self._erased:
                    self._client.erase_all()
                self._erased.add(0)
                return
            numbers = touched(self._sectors, address - self.board.flash.start, size)
            for number in numbers:  # one by one: a progress that stands still looks dead
                if number not in self._erased:
                    self._client.erase([number])
                    self._erased.add(number)

    def write(self, address: int, data: bytes) -> None:
        self._erased.clear()
        with self._explained(f"writing {len(data)} B at {address:#010x}"):
            for at in range(0, len(data), BLOCK):
                self._client.write(address + at, data[at : at + BLOCK])

    def read(self, address: int, size: int) -> bytes:
        with self._explained(f"reading {size} B at {address:#010x}"):
            parts = range(0, size, BLOCK)
            return b"".join(self._client.read(address + a, min(BLOCK, size - a)) for a in parts)

    def reset(self) -> None:
        """By the reset line where there is one, else by a jump to the program."""
        if self._nrst:
            self._restart(self._port, bootloader=False)
            return
        with self._explained("starting the program"):
            self._client.go(self.board.flash.start)

    def _restart(self, port: Any, *, bootloader: bool) -> None:
        self._line(port, self._boot0, bootloader)
        self._line(port, self._nrst, True)
        time.sleep(0.02)
        self._line(port, self._nrst, False)
        time.sleep(0.1)  # until the boot ROM listens

    def _line(self, port: Any, line: str, active: bool) -> None:
        if not line:
            return
        try:
            setattr(port, line.lstrip("!"), active != line.startswith("!"))
        except OSError as error:
            raise EdgekitError(
                "E639",
                f"serial port '{self._name}' has no line '{line.lstrip('!')}': {error}",
                help=f"take 'boot0' and 'nrst' out of [settings.{self.name}] and use the buttons",
            ) from error

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            raise EdgekitError(
                "E635",
                f"the bootloader of board '{self.board.name}' refused {doing}",
                details=[str(refused), *_REASONS[refused.part == "command"]],
                help="docs/FLASHING.md, stm32-uart, says how protection is taken off",
            ) from refused

    def stream(self, elf: Path | None = None) -> SerialLink:
        self.close()
        link = open_serial(self.board, self.access.serial or self.access.port)
        if self._nrst and self.access.serial is None:
            # Opening a port raises its lines, which holds the chip in reset.
            self._name = link.port
            self._restart(link.device, bootloader=False)
        return link

    def close(self) -> None:
        port: Any = getattr(self, "_port", None)
        if port is not None:
            port.close()


_REASONS = {
    True: (
        "commands are refused while readout protection (RDP) is on;",
        "`stm32flash -k PORT` takes it off and erases the whole chip",
    ),
    False: (
        "an address or its data is refused where there is no flash, or write protection (WRP) is "
        "on;",
        "`stm32flash -u PORT` takes write protection off",
    ),
}

ROUTE = Stm32UartRoute
