"""Debug probes behind a GDB server: OpenOCD, J-Link, Black Magic Probe, pyOCD, probe-rs.

The port is HOST:PORT of the server, or the serial port of a probe that is one itself. What the
server offers is asked for: with a memory map, flash goes by vFlashErase, vFlashWrite and
vFlashDone; without, by plain writes, which some servers program flash with and others ignore.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path

from edgekit.devices.clients.gdb import GdbClient, crc32
from edgekit.devices.clients.gdb_memory import GdbMemory
from edgekit.devices.clients.gdb_wire import open_wire
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.devices.links.link import Link
from edgekit.devices.links.rtt import RttLink
from edgekit.devices.links.serial_link import open_serial
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board, Region

#: OpenOCD, pyOCD and probe-rs; J-Link; QEMU. What a server does not know it says so, or refuses.
RESETS = ("reset halt", "reset", "system_reset")
_UNKNOWN = re.compile(r"unknown|invalid|not (found|recogni[sz]ed|supported)|error|usage", re.I)
#: Where OpenOCD and pyOCD listen, and where J-Link's server does.
_PORT, _JLINK_PORT = "localhost:3333", "localhost:2331"
#: Seconds for a server to accept a connection: it is running already, or it is not.
_CONNECT_SECONDS = 3.0
#: Seconds before asking a server again that serves another client still.
_BUSY_SECONDS = 0.1
#: Seconds in which a program that cannot run stops, or the server complains.
_START_SECONDS = 0.05
#: Seconds for an answer, unless flash is at work.
_ANSWER_SECONDS = 10.0


class GdbRoute(Route):
    """Any GDB server that has a target stopped for its client."""

    name = "gdb"
    transports = ("uart", "rtt")
    proven = (
        "OpenOCD 0.12 (JTAG, STM32F4) and pyOCD 0.46 (nRF52) with a core that runs their flash "
        "algorithms, QEMU 7.2's stub; not J-Link, Black Magic Probe, probe-rs, nor hardware"
    )

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        self._gdb: GdbClient | None = None
        self._regions: tuple[tuple[Region, int], ...] = ()
        self._erased: list[tuple[int, int]] = []
        self._unfinished = self._written = self._plain = self._running = False
        with Settings(board, self.name) as settings:
            self._server = settings.text("server", "")
            self._reset = settings.text("reset", "")
            self._scan = settings.text("scan", "swdp_scan")
        usual = _JLINK_PORT if self._server.startswith("JLink") else _PORT
        self.port = access.port or usual

    # ---- the connection

    def connect(self) -> None:
        self._gdb = self._open()
        self._restart()
        self._regions = self._gdb.flash_regions()

    def _open(self) -> GdbClient:
        """A client whose target stands."""
        gdb = self._greeted()
        try:
            if not gdb.attached():
                self._find_target(gdb)
        except BaseException:
            gdb.close()
            raise
        return gdb

    def _greeted(self) -> GdbClient:
        """A client whose first questions are answered.

        A server that serves one client turns the next one away until it has noticed that the one
        before it left, so one that hangs up at once is asked again.
        """
        end = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                wire = open_wire(self.board, self.port, _CONNECT_SECONDS)
                return GdbClient(wire, _ANSWER_SECONDS)
            except EdgekitError as error:
                if "closed the connection" not in error.message or time.monotonic() > end:
                    raise self._explained(error) from None
            time.sleep(_BUSY_SECONDS)

    def _explained(self, error: EdgekitError) -> EdgekitError:
        start = "start the server first" + (f": {self._server}" if self._server else "")
        return EdgekitError(
            error.code, error.message, help=f"{start}, and name its HOST:PORT by --port"
        )

    def _find_target(self, gdb: GdbClient) -> None:
        """A probe that is a server itself waits to be told where its target is."""
        try:
            gdb.monitor(self._scan)
            gdb.attach(1)
        except EdgekitError as error:
            if error.code != "E640":
                raise
            raise EdgekitError(
                "E641",
                f"the GDB server at {self.port} has no target",
                details=[f"monitor {self._scan}", error.message],
                help="is the board powered and its debug cable plugged in?",
            ) from None

    @property
    def gdb(self) -> GdbClient:
        """The client; only between `connect` and `close`."""
        if self._gdb is None:
            raise RuntimeError("the route is not connected")
        return self._gdb

    def _restart(self) -> None:
        """Reset the target and stop it before its first instruction, by the server's command."""
        failed = []
        for command in (self._reset,) if self._reset else (*RESETS, None):
            try:
                if command is None:
                    self.gdb.restart()
                    return
                printed = self.gdb.monitor(command)
                if not _UNKNOWN.search(printed):
                    return
                failed.append(f"monitor {command}: {printed.strip()}")
            except EdgekitError as error:
                if error.code != "E640":
                    raise
                failed.append(error.message)
        raise EdgekitError(
            "E641",
            f"the GDB server at {self.port} does not reset its target",
            details=failed,
            help='name its command in the board\'s file: [settings.gdb] reset = "reset halt"',
        )

    # ---- flash

    def _parts(self, address: int, size: int) -> list[tuple[Region, int, int, int]]:
        """(region, its block size, first address, address after the last) of all of it, in order.

        Servers make a region of each run of sectors of one size.
        """
        parts, at = [], address
        while at < address + size:
            found = next((r for r in self._regions if r[0].holds(at)), None)
            if found is None:
                have = ", ".join(f"{r.start:#x}..{r.end:#x}" for r, _ in self._regions)
                raise EdgekitError(
                    "E641",
                    f"the GDB server at {self.port} knows no flash at {at:#x}, where board "
                    f"'{self.board.name}' has some",
                    details=[f"it has flash at {have}"],
                    help="is the server set up for this chip?",
                )
            end = min(found[0].end, address + size)
            parts.append((*found, at, end))
            at = end
        return parts

    def erase(self, address: int, size: int) -> None:
        if not self._regions:
            self._plain = True
            return
        for region, block, first, last in self._parts(address, size):
            start = first - (first - region.start) % block
            end = min(region.end, last + (region.start - last) % block)
            for low, high in self._erased:  # two segments may share a block
                if low <= start < high:
                    start = high
            if start < end:
                self.gdb.flash_erase(start, end - start)
                self._erased.append((start, end))
                self._unfinished = True

    def write(self, address: int, data: bytes) -> None:
        if not self._regions:
            self.gdb.write(address, data)
            return
        for _, _, first, last in self._parts(address, len(data)):
            self._program(first, data[first - address : last - address])

    def _program(self, address: int, data: bytes) -> None:
        try:
            self.gdb.flash_write(address, data)
        except EdgekitError as error:
            if error.code != "E640" or self._written:
                raise
            self._discard(error)
            self.gdb.flash_write(address, data)
        self._unfinished = self._written = True

    def _discard(self, refused: EdgekitError) -> None:
        """Let go of what a connection that broke has left in the server, which pyOCD's keeps."""
        try:
            self.gdb.flash_done()
        except EdgekitError as error:
            raise refused if error.code == "E640" else error from None
        for start, end in self._erased:
            self.gdb.flash_erase(start, end - start)

    def _finish(self) -> None:
        """Let the server program what it has collected; flash reads right only afterwards."""
        if self._unfinished:
            self.gdb.flash_done()
            self._unfinished = False

    def read(self, address: int, size: int) -> bytes:
        self._finish()
        return self.gdb.read(address, size)

    def verify(self, image: FlashImage, tell: Callable[[int], None]) -> FlashImage:
        try:
            stored = super().verify(image, tell)
        except EdgekitError as error:
            if error.code != "E605" or not self._plain:
                raise
            raise EdgekitError(
                "E641",
                f"the GDB server at {self.port} offers no flash commands (a memory map with flash, "
                "vFlashErase, vFlashWrite), and its plain writes do not reach flash",
                details=[error.message],
                help="set the server up for this chip, or take another one: OpenOCD and pyOCD "
                "program flash",
            ) from None
        for address, data in stored.segments:
            self._check(address, data)
        return stored

    def _check(self, address: int, data: bytes) -> None:
        """A second opinion from the server, which reads on its own side of the cable."""
        found = self.gdb.checksum(address, len(data))
        if found is not None and found != crc32(data):
            raise EdgekitError(
                "E605",
                f"the GDB server's checksum of {len(data)} B of flash at {address:#010x} is "
                f"{found:#010x}, of the bytes that were read back {crc32(data):#010x}",
                help="flash again; if it stays, the connection to the board is disturbed",
            )

    # ---- running

    def reset(self) -> None:
        self._finish()
        self._restart()
        self.gdb.resume()
        if self.gdb.wait(_START_SECONDS):
            raise EdgekitError(
                "E641",
                f"the program on '{self.board.name}' stopped as soon as it was started",
                help="is it built for this board? A breakpoint or a fault stops a probed CPU",
            )
        self._running = True

    def stream(self, elf: Path | None = None) -> Link:
        program = self.access.program
        image = load_elf(Path(program)) if program is not None else None
        if self.transport == "rtt":
            return RttLink(self.board, GdbMemory(self.board, self._open()), image)
        return open_serial(self.board, self.access.serial, image)

    def close(self) -> None:
        """A target that runs goes on; one that stands is left to the server's ``D``."""
        gdb, self._gdb = self._gdb, None
        if gdb is None:
            return
        gdb.timeout = min(gdb.timeout, 1.0)
        with contextlib.suppress(EdgekitError):
            if not self._running:
                gdb.detach()
        gdb.close()


ROUTE = GdbRoute
