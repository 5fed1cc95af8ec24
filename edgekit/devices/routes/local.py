"""This machine under Linux: the program is a file and a process, perhaps one of qemu-user's."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgekit.devices.emulators import stored
from edgekit.devices.emulators.counting import count_plugin
from edgekit.devices.features import lacks_feature
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.devices.links.process_link import ProcessLink, signal_name
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board, linux

#: The runner of boards whose CPU is unicorn's: no program to install.
PYTHON = "unicorn"


def program_path(board: Board) -> Path:
    """Where the program of a board on this machine is kept."""
    return stored.state_dir() / board.name / "program"


def runner(board: Board) -> list[str]:
    """The command that runs programs of `board` here: empty, or the emulator of its CPU.

    Raises:
        EdgekitError: E602 where the emulator is not installed, E650 where this machine is another.
    """
    cpu = str(board.settings.get("local", {}).get("cpu", ""))
    if board.runner == PYTHON:
        if sys.platform == "win32":
            raise EdgekitError(
                "E650",
                f"board '{board.name}' is a process that talks through pipes, which Windows cannot "
                "wait for",
                help="use Linux, macOS or WSL",
            )
        from edgekit.devices.emulators.machine import native

        native()  # compiled here on first use: the process has only seconds to answer
        return [sys.executable, "-m", "edgekit.devices.emulators.linux_process", cpu]
    if board.runner:
        found = shutil.which(board.runner)
        if found is None:
            package = board.settings["local"].get("package", board.runner)
            raise EdgekitError(
                "E602",
                f"board '{board.name}' needs '{board.runner}', which is not installed",
                help=f"Debian/Ubuntu: apt install {package}",
            )
        options = ["-cpu", cpu] if cpu else []
        if "emulator" in board.counters:
            options += ["-plugin", str(count_plugin(found))]
        return [found, *options]
    if not linux.runs_here(board.target.architecture):
        others = [r for r in board.routes if r != "local"]
        raise EdgekitError(
            "E650",
            f"board '{board.name}' runs programs of {board.target.name}, this machine is "
            f"{platform.system()} on {platform.machine()}",
            help=f"reach the board with --route {others[0]}" if others else "",
        )
    return []


class LocalRoute(Route):
    """Flash is a file in the folder of states: written beside the old one, compared, renamed."""

    name = "local"
    proven = "this machine's file system and processes, in every test"
    broken = "the new program is incomplete, the old one stays"

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        with Settings(board, self.name) as settings:  # `runner` reads them too
            settings.text("package", "")
            if settings.text("runner", "") == PYTHON:
                from edgekit.devices.emulators.linux_process import CPUS

                settings.one_of("cpu", tuple(CPUS))
            else:
                settings.text("cpu", "")
            self._environment = {
                k: v for k, v in settings.words("environment").items() if k not in os.environ
            }

    def connect(self) -> None:
        for given in (self.access.port, self.access.serial):
            if given:
                raise EdgekitError(
                    "E650",
                    f"board '{self.board.name}' is this machine and has no port '{given}'",
                    help="leave --port and --serial away",
                )
        runner(self.board)
        with self._writing():
            path = program_path(self.board)
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix="program", suffix=".part")
            self._file, self._part = os.fdopen(handle, "r+b", buffering=0), Path(name)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EdgekitError(
                "E655",
                f"the program of board '{self.board.name}' cannot be written to "
                f"{program_path(self.board).parent}: {error.strerror}",
                help="set EDGEKIT_STATE_DIR to a folder with room that can be written",
            ) from error

    def erase(self, address: int, size: int) -> None:
        with self._writing():
            self._file.truncate(address)

    def write(self, address: int, data: bytes) -> None:
        with self._writing():
            self._file.seek(address)
            while data:
                data = data[self._file.write(data) :]

    def read(self, address: int, size: int) -> bytes:
        with self._writing():
            os.fsync(self._file.fileno())
            # What is on the disk, where the kernel lets go of what it remembers.
            with self._part.open("rb", buffering=0) as file:
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                file.seek(address)
                return bytes(file.read(size))

    def keep(self, stored_image: FlashImage) -> None:
        with self._writing():
            self._file.close()
            self._part.chmod(0o755)
            os.replace(self._part, program_path(self.board))

    def reset(self) -> None:
        """`stream` starts the program."""

    def stream(self, elf: Path | None = None) -> ProcessLink:
        prefix, path = runner(self.board), elf or program_path(self.board)
        if not path.exists():
            raise stored.not_flashed(self.board)
        try:
            return ProcessLink(
                self.board, [*prefix, str(path)], load_elf(path), self._ended, self._environment
            )
        except OSError as error:
            raise EdgekitError(
                "E650",
                f"the program of board '{self.board.name}' cannot be started: {error.strerror}",
                details=[str(path)],
                help="is its folder mounted noexec? EDGEKIT_STATE_DIR names another one"
                if isinstance(error, PermissionError)
                else "",
            ) from error

    def _ended(self, status: int, said: str) -> EdgekitError:
        if status == linux.LACKS_FEATURE:
            return lacks_feature(self.board, "this machine", said)
        if self.board.runner.startswith("qemu-") and "plugin" in said:
            return EdgekitError(
                "E603",
                f"'{self.board.runner}' of board '{self.board.name}' loads no plugins: nothing "
                "would be counted",
                details=said.splitlines()[:5],
                help="Debian's qemu-user does; boards 'virtual-...' need no QEMU",
            )
        how = f"was ended by {signal_name(-status)}" if status < 0 else f"exited with {status}"
        return EdgekitError(
            "E609",
            f"the program of board '{self.board.name}' {how}",
            details=said.splitlines()[:5],
            help=f"flash it again: edgekit flash OUT --board {self.board.name}",
        )

    def close(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
            self._part.unlink(missing_ok=True)


ROUTE = LocalRoute
