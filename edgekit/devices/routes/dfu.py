"""USB bootloaders that speak DFU with ST's extensions (DfuSe), through the program dfu-util."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edgekit.devices.clients.dfu_util import Device, DfuUtil, memory_layout
from edgekit.devices.clients.sectors import touched
from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.links.serial_link import SerialLink, open_serial
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board


class DfuRoute(Route):
    """Port: the serial number or the path ("1-1.2") of the USB device, as ``dfu-util -l`` has it.

    Settings of a board file, all optional: ``vendor`` and ``product``, the bootloader's USB
    identifier (default 0x0483 and 0xdf11, ST's); ``alternate``, the alternate setting whose name
    describes the flash (default 0); ``write_bytes``, what the flash programs at once (default 32).
    """

    name = "dfu"
    proven = (
        "the real dfu-util on a USB device that Debian's umockdev emulates: DfuSe state machine, "
        "flash that must be erased; no USB wires and no silicon"
    )
    step = 1 << 30  # dfu-util erases the sectors of what it gets: a segment goes in one piece

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        with Settings(board, self.name) as settings:
            vendor, product = settings.number("vendor", 0x0483), settings.number("product", 0xDF11)
            self._usb = f"{vendor:04x}:{product:04x}"
            self._alternate = settings.number("alternate", 0)
            self.unit = settings.number("write_bytes", 32)

    def connect(self) -> None:
        self._tool = DfuUtil(self.board, self._usb)
        devices = [d for d in self._tool.devices() if d.alt == self._alternate]
        self._device = self._choose(devices)
        start = self.board.flash.start
        layout = memory_layout(self._device.name)
        if start not in layout:
            raise EdgekitError(
                "E634",
                f"the USB bootloader on path {self._device.path} offers '{self._device.name}', "
                f"board '{self.board.name}' has its flash at {start:#010x}: nothing was erased",
                help=f"is this the right board? [settings.{self.name}] 'alternate' is "
                f"{self._alternate}",
            )
        self._sectors = layout[start]

    def _choose(self, found: list[Device]) -> Device:
        port = self.access.port
        fitting = [d for d in found if port in (None, d.serial, d.path)]
        if len(fitting) == 1:
            return fitting[0]
        lines = [f"path {d.path}, serial number {d.serial}: {d.name}" for d in found]
        if fitting:
            raise EdgekitError(
                "E630",
                f"{len(fitting)} USB bootloaders {self._usb} may be board '{self.board.name}'",
                details=lines,
                help=f"choose one by path or serial number, for instance --port {fitting[0].path}",
            )
        which = f" on '{port}'" if port else ""
        raise EdgekitError(
            "E633",
            f"no USB bootloader {self._usb} of board '{self.board.name}' is there{which}",
            details=lines,
            help="BOOT0 high (button, jumper), then reset; `dfu-util -l` lists what is there",
        )

    def arrange(self, image: FlashImage) -> FlashImage:
        """Segments that share a sector become one: writing the second would erase the first."""
        joined: list[tuple[int, bytes]] = []
        for address, data in image.aligned(self.unit).segments:
            if joined:
                start, before = joined[-1]
                if self._last(start + len(before) - 1) == self._last(address):
                    between = b"\xff" * (address - start - len(before))
                    joined[-1] = (start, before + between + data)
                    continue
            joined.append((address, data))
        return FlashImage(tuple(joined), image.functions)

    def _last(self, address: int) -> list[int]:
        return touched(self._sectors, address - self.board.flash.start, 1)

    def erase(self, address: int, size: int) -> None:
        """dfu-util erases the sectors of what it writes."""

    def _run(self, *arguments: str, doing: str) -> None:
        chosen = ("-d", self._usb, "-p", self._device.path, "-a", str(self._device.alt))
        self._tool.run(*chosen, *arguments, doing=doing, during=self.during)

    def write(self, address: int, data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "segment.bin"
            file.write_bytes(data)
            doing = f"writing {len(data)} B at {address:#010x}"
            self._run("-s", f"{address:#010x}", "-D", str(file), doing=doing)

    def read(self, address: int, size: int) -> bytes:
        return self._upload(f"{address:#010x}:{size}", size, f"reading {size} B at {address:#010x}")

    def _upload(self, place: str, size: int, doing: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "read.bin"
            self._run("-s", place, "-U", str(file), doing=doing)
            found = file.read_bytes()
        if len(found) != size:
            raise EdgekitError(
                "E604",
                f"board '{self.board.name}' gave {len(found)} of {size} B, {doing}",
                help="check the cable and run the same command again",
            )
        return found

    def reset(self) -> None:
        """Leave DFU mode for the program; dfu-util does so after an upload only."""
        self.during = lambda _bytes: None
        place = f"{self.board.flash.start:#010x}:{self.unit}:leave"
        self._upload(place, self.unit, "starting the program")

    def stream(self, elf: Path | None = None) -> SerialLink:
        return open_serial(self.board, self.access.serial)


ROUTE = DfuRoute
