"""A board that is simulated cycle by cycle: its flash is a file, its UART a process's pipes."""

from __future__ import annotations

import os
import tempfile
from io import RawIOBase
from pathlib import Path
from typing import cast

from edgekit.devices.emulators import stored
from edgekit.devices.emulators.soc import flash_content, simulator
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.devices.links.process_link import ProcessLink, signal_name
from edgekit.devices.routes.base import Access, Route
from edgekit.errors import EdgekitError
from targets import Board

#: What main.cpp ends with where the CPU reads or writes where nothing is.
_BAD = 3


class SimulatedLink(ProcessLink):
    """Powers the board up with an image in its flash."""

    def __init__(self, board: Board, image: FlashImage) -> None:
        image.check_fits(board)
        program = simulator(board)
        handle, name = tempfile.mkstemp(prefix="edgekit-flash-")
        self._flash = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(flash_content(board, image))
            super().__init__(board, [str(program), name], image, self._stopped)
        except OSError as error:
            self._flash.unlink(missing_ok=True)
            raise EdgekitError(
                "E603",
                f"the simulator of board '{board.name}' cannot be started: {error.strerror}",
                details=[str(program)],
                help="its folder or the one for temporary files may be full or mounted noexec; "
                "EDGEKIT_CACHE_DIR names another cache",
            ) from error

    def _stopped(self, status: int, said: str) -> EdgekitError:
        words = said.split()
        if status == _BAD and words[:1] == ["bad"] and len(words) == 4:
            return self._fault(int(words[1], 16), int(words[2], 16), words[3])
        how = f"was ended by {signal_name(-status)}" if status < 0 else f"exited with {status}"
        return EdgekitError(
            "E604",
            f"the simulator of board '{self.board.name}' {how}",
            details=said.splitlines()[:5],
        )

    def _fault(self, address: int, pc: int, what: str) -> EdgekitError:
        """The CPU does not notice itself: its bus has no errors."""
        flash = self.board.flash.holds(address)
        return EdgekitError(
            "E609",
            f"board '{self.board.name}' faulted at {self.where(pc)}: {what} at {address:#010x}, "
            + (f"in {self.board.flash.name}" if flash else "where nothing is"),
            help="the stack is the lowest thing in RAM, below it is flash: is it too small?"
            if flash
            else "",
        )

    def close(self) -> None:
        super().close()
        self._flash.unlink(missing_ok=True)


class VerilatorRoute(Route):
    """Flash is the file that the simulator loads, kept from one command to the next."""

    name = "verilator"
    proven = "it is the simulator itself, which runs in every test"
    patience = 10  # a million cycles a second, where the hardware makes 80

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        self._file: RawIOBase | None = None

    def connect(self) -> None:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` closes it
        self._file = cast(RawIOBase, file)

    def erase(self, address: int, size: int) -> None:
        self.write(address, b"\xff" * size)

    def write(self, address: int, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.seek(address - self.board.flash.start)
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            raise self._broken(error) from error

    def read(self, address: int, size: int) -> bytes:
        assert self._file is not None
        try:
            self._file.seek(address - self.board.flash.start)
            return self._file.read(size) or b""
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> EdgekitError:
        return EdgekitError(
            "E613",
            f"the flash content of board '{self.board.name}' cannot be written: {error.strerror}",
            details=[f"in {tempfile.gettempdir()}"],
        )

    def reset(self) -> None:
        """Power comes with `stream`."""

    def stream(self, elf: Path | None = None) -> SimulatedLink:
        image = load_elf(elf) if elf is not None else stored.flashed_image(self.board)
        return SimulatedLink(self.board, image)

    def keep(self, stored_image: FlashImage) -> None:
        stored.keep(self.board, stored_image)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


ROUTE = VerilatorRoute
