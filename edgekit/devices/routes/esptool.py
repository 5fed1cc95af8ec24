"""ESP32 chips through the bootloader in their ROM, by the package esptool."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serial import SerialException

from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.links.ports import find_port, open_port
from edgekit.devices.links.serial_link import SerialLink, open_serial
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board

_SECTOR = 4096
_ROM_BAUD = 115_200
_MISMATCH = ("MD5 of file does not match", "written flash region is empty")
_REFUSED = ("Secure Boot", "encryption", "ncrypted", "ecure download", "ecure Download")


class EsptoolRoute(Route):
    """Port: a serial device, a URL of pyserial, or a USB serial number.

    Settings of a board file: ``chip``, esptool's name of it ("esp32c3"), checked before anything is
    written; ``offset``, where in the SPI flash the first flash region starts (default 0); ``baud``
    for data (default 460800). The program is what the chip's ROM starts, or a second bootloader:
    nothing in it is changed on the way.
    """

    name = "esptool"
    proven = (
        "esp32-mock-bootloader 0.3.0, a ROM bootloader in Python from other hands; no silicon, no "
        "reset by modem lines and no chip with secure boot"
    )
    unit = _SECTOR

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        with Settings(board, self.name) as settings:
            self._chip = settings.text("chip", "")
            self._offset = settings.number("offset", 0)
            self._baud = settings.number("baud", 460_800)

    def connect(self) -> None:
        self._commands, self._failure = _esptool()
        self._name = find_port(self.board, self.access.port)
        self._port = open_port(self.board, self._name, baud=_ROM_BAUD)
        with self._explained("finding the chip"):
            # A socket has no modem lines: whoever serves it has put the chip into its bootloader.
            mode = "no-reset" if self._name.startswith("socket://") else "default-reset"
            self._loader = self._detect(mode)
            self._check(self._chip)
            self._loader = self._commands.run_stub(self._loader)
            if self._baud != _ROM_BAUD:
                self._loader.change_baud(self._baud)
            self._commands.attach_flash(self._loader)
        # A connection that breaks is made anew by edgekit.devices.flash, which says so.
        self._loader.WRITE_FLASH_ATTEMPTS = 1

    def _detect(self, mode: str) -> Any:
        try:
            return self._commands.detect_chip(
                self._port, _ROM_BAUD, connect_mode=mode, connect_attempts=3
            )
        except self._failure as error:
            raise EdgekitError(
                "E633",
                f"no ESP32 bootloader answers on '{self._name}'",
                details=str(error).splitlines()[:3],
                help="hold BOOT, press RESET, let BOOT go, then run the command again",
            ) from error

    def _check(self, chip: str) -> None:
        found = str(self._loader.CHIP_NAME).lower().replace("-", "")
        if chip and found != chip:
            raise EdgekitError(
                "E634",
                f"the chip on '{self._name}' is {found}, board '{self.board.name}' has {chip}: "
                "nothing was written",
                help="is this the right board and the right port? edgekit boards lists boards",
            )
        if self._loader.secure_download_mode:
            raise EdgekitError(
                "E635",
                f"the {found} of board '{self.board.name}' is in secure download mode: its flash "
                "cannot be read back",
                help="such a chip takes signed images only, by its maker's own tools",
            )

    def arrange(self, image: FlashImage) -> FlashImage:
        """Whole sectors, all of them in the chip's flash."""
        whole = super().arrange(image)
        with self._explained("asking for the size of the flash"):
            size = _bytes(self._commands.detect_flash_size(self._loader))
        end = max(self._place(address) + len(data) for address, data in whole.segments)
        if size is not None and end > size:
            raise EdgekitError(
                "E635",
                f"the image ends at {end:#x} of the SPI flash, board '{self.board.name}' has "
                f"{size:#x} B of it: nothing was erased",
                help="is this the right board, and 'offset' in its file right?",
            )
        return whole

    def erase(self, address: int, size: int) -> None:
        """`write` erases the sectors that it programs, which are whole ones."""

    def _place(self, address: int) -> int:
        return address - self.board.flash.start + self._offset

    def write(self, address: int, data: bytes) -> None:
        with self._explained(f"writing {len(data)} B at {address:#010x}"):
            self._commands.write_flash(
                self._loader, [(self._place(address), data)], no_progress=True
            )

    def read(self, address: int, size: int) -> bytes:
        with self._explained(f"reading {size} B at {address:#010x}"):
            return bytes(
                self._commands.read_flash(
                    self._loader, self._place(address), size, no_progress=True
                )
            )

    def reset(self) -> None:
        with self._explained("starting the program"):
            self._commands.reset_chip(self._loader, "hard-reset")

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except self._failure as error:
            lines = str(error).splitlines() or [type(error).__name__]
            if any(word in str(error) for word in _MISMATCH):
                raise EdgekitError(
                    "E605",
                    f"flash verification failed in esptool, {doing}: {lines[0]}",
                    help="flash again; if it stays, the flash is worn or protected",
                ) from error
            if any(word in str(error) for word in _REFUSED):
                raise EdgekitError(
                    "E635",
                    f"the chip of board '{self.board.name}' is protected, {doing}: {lines[0]}",
                    details=lines[1:],
                    help="such a chip takes what its maker has signed or encrypted",
                ) from error
            raise self._broken(doing, lines) from error
        except (SerialException, OSError) as error:
            raise self._broken(doing, [str(error)]) from error

    def _broken(self, doing: str, lines: list[str]) -> EdgekitError:
        return EdgekitError(
            "E604",
            f"the connection to the ESP32 bootloader on '{self._name}' broke, {doing}: {lines[0]}",
            details=lines[1:3],
            help="check the cable and run the same command again",
        )

    def stream(self, elf: Path | None = None) -> SerialLink:
        self.close()
        return open_serial(self.board, self.access.serial or self.access.port)

    def close(self) -> None:
        port: Any = getattr(self, "_port", None)
        if port is not None:
            port.close()


def _bytes(size: str | None) -> int | None:
    """ "256KB" and "4MB" in bytes; None where the chip does not tell."""
    found = re.fullmatch(r"(\d+)(KB|MB)", size or "")
    return int(found[1]) << (10 if found[2] == "KB" else 20) if found else None


def _esptool() -> tuple[Any, type[Exception]]:
    """The package's commands, silenced, and its exception."""
    try:
        commands = importlib.import_module("esptool.cmds")
        package = importlib.import_module("esptool")
    except ImportError as error:
        raise EdgekitError(
            "E636",
            f"route 'esptool' needs the package esptool: {error}",
            help="pip install 'edgekit[esp]'",
        ) from error
    importlib.import_module("esptool.logger").log.set_verbosity("silent")
    failure: type[Exception] = package.FatalError
    return commands, failure


ROUTE = EsptoolRoute
