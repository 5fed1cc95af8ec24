"""Debug probes by pyOCD as a library: CMSIS-DAP, ST-Link, J-Link, and pyOCD's own remote probes.

The port is the probe's unique id, as ``pyocd list`` shows it, or a part of it. pyOCD reports
success where a byte of flash does not take what is written; here everything is read back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekit.devices.clients.pyocd_session import (
    PyocdMemory,
    close_session,
    errors,
    find_probe,
    open_session,
    read_memory,
)
from edgekit.devices.firmware.image import load_elf
from edgekit.devices.links.link import Link
from edgekit.devices.links.rtt import RttLink
from edgekit.devices.links.serial_link import open_serial
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board


class PyocdRoute(Route):
    """Flash by pyOCD's algorithms, sector by sector and page by page, so that progress is real."""

    name = "pyocd"
    transports = ("uart", "rtt")
    proven = (
        "pyOCD 0.46 with a debug port whose CPU executes pyOCD's own flash algorithms (nRF52832, "
        "STM32F412); not the USB framing of CMSIS-DAP and ST-Link probes, nor hardware"
    )
    step = 8192

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        with Settings(board, self.name) as settings:
            self._target = settings.text("target", "")
            self._frequency = settings.number("frequency", 0)
            self._mode = settings.one_of("connect_mode", ("halt", "under-reset", "pre-reset"))
        self._session: Any = None
        self._flash: Any = None

    # ---- the connection

    def connect(self) -> None:
        probe = find_probe(self.board, self.access.port)
        self._session = open_session(self.board, probe, self._target, self._mode, self._frequency)
        with errors(self.board):
            self._chip.reset_and_halt()
        self.unit = 1 << (self._largest_page() - 1).bit_length()
        self._erased: set[int] = set()

    def _largest_page(self) -> int:
        """Bytes; a chip's flash may be several regions to pyOCD."""
        flash, pages, at = self.board.flash, [1], self.board.flash.start
        while at < flash.end:
            region = self._at(at).region
            pages.append(region.page_size)
            at = region.end + 1
        return max(pages)

    @property
    def _chip(self) -> Any:
        return self._session.target

    # ---- flash

    def _at(self, address: int) -> Any:
        """The algorithm of the flash at an address."""
        region = self._chip.memory_map.get_region_for_address(address)
        if region is None or not region.is_flash:
            raise EdgekitError(
                "E645",
                f"pyOCD's chip '{self._target}' has no flash at {address:#x}, board "
                f"'{self.board.name}' has",
                help="is [settings.pyocd] target the board's chip?",
            )
        return region.flash

    def _start(self, flash: Any, operation: Any) -> None:
        """Load the algorithm into RAM for erasing or for programming."""
        if self._flash == (flash, operation):
            return
        self._finish()
        flash.init(operation)
        self._flash = (flash, operation)

    def _finish(self) -> None:
        """Leave the algorithm, where one is loaded."""
        if self._flash is not None:
            flash, self._flash = self._flash[0], None
            flash.cleanup()

    def erase(self, address: int, size: int) -> None:
        with errors(self.board):
            at = address
            while at < address + size:
                flash = self._at(at)
                sector = flash.get_sector_info(at)
                if sector.base_addr not in self._erased:  # two segments may share one
                    self._start(flash, flash.Operation.ERASE)
                    flash.erase_sector(sector.base_addr)
                    self._erased.add(sector.base_addr)
                at = sector.base_addr + sector.size

    def write(self, address: int, data: bytes) -> None:
        with errors(self.board):
            done = 0
            while done < len(data):
                flash = self._at(address + done)
                self._start(flash, flash.Operation.PROGRAM)
                part = data[done : done + flash.get_page_info(address + done).size]
                flash.program_page(address + done, list(part))
                done += len(part)

    def read(self, address: int, size: int) -> bytes:
        with errors(self.board):
            self._finish()
            return read_memory(self._chip, address, size)

    # ---- running

    def reset(self) -> None:
        with errors(self.board):
            self._finish()
            self._chip.reset()
            self._chip.resume()

    def stream(self, elf: Path | None = None) -> Link:
        program = self.access.program
        image = load_elf(Path(program)) if program is not None else None
        if self.transport == "rtt":
            probe = find_probe(self.board, self.access.port)
            session = open_session(self.board, probe, self._target, "attach", self._frequency)
            return RttLink(self.board, PyocdMemory(self.board, session), image)
        return open_serial(self.board, self.access.serial, image)

    def close(self) -> None:
        """The CPU runs on; the probe is free."""
        session, self._session, self._flash = self._session, None, None
        if session is not None:
            close_session(session)


ROUTE = PyocdRoute
