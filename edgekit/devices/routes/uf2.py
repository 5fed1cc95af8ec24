"""The drive that a UF2 bootloader offers: the program is a file that is copied there."""

from __future__ import annotations

import errno
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from edgekit.devices.clients.drives import block_device, find_drive, identity
from edgekit.devices.clients.uf2 import BLOCK, PAYLOAD, block, parse
from edgekit.devices.conversation import Conversation
from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.links.serial_link import SerialLink, open_serial
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board

FILE, CURRENT = "EDGEKIT.UF2", "CURRENT.UF2"
#: Seconds that a board has to restart after the last block, and to bring its serial port up.
RESTART = 10.0


class Uf2Route(Route):
    """Port: the folder at which the bootloader's drive is mounted.

    Settings of a board file: ``family``, the chip's UF2 family ID; ``board_id``, the "Board-ID" of
    the drive's INFO_UF2.TXT (empty: any); ``sector``, what the flash erases at once (default 4096):
    the RP2040 wants every page of a sector that it writes (erratum RP2040-E14).

    The drive cannot be read back, but for bootloaders that keep it and offer CURRENT.UF2. The
    program is then asked for checksums of its flash.
    """

    name = "uf2"
    transports = ("uart", "usb")
    proven = (
        "a folder that takes blocks as the RP2040's boot ROM does, parsed by PyPI's uf2utils, and "
        "checksums that the device computes; no USB, no FAT file system and no silicon"
    )

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        with Settings(board, self.name) as settings:
            self._family = settings.number("family", 0)
            self._board_id = settings.text("board_id", "")
            self.unit = max(settings.number("sector", 4096), PAYLOAD)
            if not self._family:
                raise EdgekitError("E639", f"{settings.place('family')} is missing")

    def connect(self) -> None:
        self._drive = find_drive(self.board, self.access.port, self._board_id)
        self._device = block_device(self._drive)
        self._file = -1
        self._total = self._sent = 0

    def erase(self, address: int, size: int) -> None:
        """The bootloader erases as it writes; every block has to say how many there will be."""
        self._total += size // PAYLOAD

    def write(self, address: int, data: bytes) -> None:
        try:
            if self._file < 0:
                self._file = os.open(
                    self._drive / FILE,
                    os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0),
                )
            for at in range(0, len(data), PAYLOAD):
                part = data[at : at + PAYLOAD]
                self._put(block(address + at, part, self._sent, self._total, self._family))
                self._sent += 1
            self._sync()
        except OSError as error:
            raise self._failed(error) from error
        if self._sent == self._total:
            self._restarted()

    def _put(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]

    def _sync(self) -> None:
        """Make the drive take it. After the last block the board is gone before it could answer."""
        try:
            os.fsync(self._file)
        except OSError as error:
            if self._sent < self._total and error.errno != errno.EINVAL:  # no file to be synced
                raise

    def _failed(self, error: OSError) -> EdgekitError:
        wanted = self._total * BLOCK
        done = f"after {self._sent} of {self._total} blocks ({wanted} B)"
        if not self._present():
            return EdgekitError(
                "E604",
                f"the drive '{self._drive}' of board '{self.board.name}' vanished {done}: {error}",
                help="start the bootloader again and run the same command",
            )
        return EdgekitError(
            "E638",
            f"the drive '{self._drive}' of board '{self.board.name}' cannot be written {done}: "
            f"{error.strerror}",
            help="is it mounted for this user, and the bootloader's own drive?",
        )

    def _present(self) -> bool:
        unplugged = self._device is not None and not self._device.exists()
        return not unplugged and identity(self._drive) is not None

    def _restarted(self) -> None:
        """Wait until the board has taken the file, which is when its drive goes.

        Most bootloaders with CURRENT.UF2 restart all the same: it must not be read before they do.
        """
        self._close_file()
        end = time.monotonic() + RESTART
        while self._present():
            if time.monotonic() > end:
                if (self._drive / CURRENT).exists():
                    return  # one that stays, and tells what it has
                raise EdgekitError(
                    "E638",
                    f"the drive '{self._drive}' got {self._total} blocks, but board "
                    f"'{self.board.name}' did not restart within {RESTART:g} s: it still waits for "
                    "some, or they are for another chip",
                    details=[f"family {self._family:#010x}"],
                    help="the flash is incomplete; reset the board into its bootloader, try again",
                )
            time.sleep(0.02)

    def read(self, address: int, size: int) -> bytes:
        """From CURRENT.UF2, where the bootloader has one; raises EdgekitError E638 elsewhere."""
        try:
            blocks = dict(parse((self._drive / CURRENT).read_bytes()))
        except OSError as error:
            raise EdgekitError(
                "E638", f"the drive '{self._drive}' cannot be read back: {error.strerror}"
            ) from error
        found = bytearray(b"\xff" * size)
        for start, data in blocks.items():
            for at, byte in enumerate(data, start - address):
                if 0 <= at < size:
                    found[at] = byte
        return bytes(found)

    def verify(self, image: FlashImage, tell: Callable[[int], None]) -> FlashImage:
        """Read back where that is possible, else compare checksums that the program computes.

        Raises:
            EdgekitError: E605 where they differ; E638 where the program does not answer.
        """
        if (self._drive / CURRENT).exists():
            return super().verify(image, tell)
        try:
            with Conversation(self.board, self._program()) as session:
                for address, data in image.segments:
                    self._check(session, address, data)
                    tell(len(data))
        except EdgekitError as error:
            if error.code == "E605":
                raise
            raise EdgekitError(
                "E638",
                f"the drive of board '{self.board.name}' went after all {self._total} blocks, but "
                "its program does not confirm what is in the flash: it may be incomplete",
                details=[f"{error.code} {error.message}", *error.details],
                help=error.help,
            ) from error
        return image

    def _check(self, session: Conversation, address: int, data: bytes) -> None:
        found, wanted = session.checksum(address, len(data)), zlib.crc32(data)
        if found != wanted:
            raise EdgekitError(
                "E605",
                f"flash verification failed: the CRC-32 of {len(data)} B at {address:#010x} is "
                f"{found:#010x} on board '{self.board.name}', {wanted:#010x} was sent",
                help="start the bootloader and flash again; if it stays, the flash is worn",
            )

    def _program(self) -> SerialLink:
        """The program's port, which may take a while to be there."""
        end = time.monotonic() + RESTART
        while True:
            try:
                return self.stream()
            except EdgekitError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def reset(self) -> None:
        """The board has restarted by itself."""

    def stream(self, elf: Path | None = None) -> SerialLink:
        return open_serial(self.board, self.access.serial)

    def _close_file(self) -> None:
        file, self._file = getattr(self, "_file", -1), -1
        if file >= 0:
            try:
                os.close(file)
            except OSError as error:  # the last block's answer, as in `_sync`
                if self._sent < self._total:
                    raise self._failed(error) from error

    def close(self) -> None:
        file, self._file = getattr(self, "_file", -1), -1
        if file >= 0:
            os.close(file)


ROUTE = Uf2Route
