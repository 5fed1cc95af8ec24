"""What routes to another machine with Linux share: the program is a file and a process there."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from edgekit.devices.clients.shell import RemoteShell
from edgekit.devices.emulators import stored
from edgekit.devices.firmware.image import FlashImage, load_elf
from edgekit.devices.links.process_link import ProcessLink
from edgekit.devices.routes.base import Access, Route
from edgekit.devices.settings import Settings
from edgekit.errors import EdgekitError
from targets import Board, linux

_NOT_THERE, _DIFFERS = 3, 4
# $1 is the folder or the new file, $2 the program. One line each: csh, as a login shell, ends a
# quoted text where its line ends.
CONNECT = 'mkdir -p -- "$1" && uname -s && uname -m'
FLUSH = '{ sync "$1" 2>/dev/null || sync; }'  # BusyBox's may take no file
DOWNLOAD = 'cat -- "$1"'
KEEP = (
    'sum=$({ sha256sum || shasum -a 256; } 2>/dev/null < "$1"); '
    'case $sum in "" | "$3 "*) ;; *) echo "$sum"; exit 4 ;; esac; '
    'chmod 755 "$1" && "$1" < /dev/null && mv -f -- "$1" "$2" && { sync "$2" 2>/dev/null || sync; }'
)
# An argument makes the program die with the session, also while it computes.
STREAM = '[ -e "$1" ] || exit 3; p=$1; shift; exec env "$@" "$p" hangup'


class RemoteRoute(Route):
    """Flash is a file there: written beside the old one, read back, tried out, renamed."""

    broken = "the new program is incomplete, the old one stays"
    #: Where programs are kept there; `[settings.ROUTE] folder` names another.
    folder: ClassVar[str]

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        with Settings(board, self.name) as settings:
            folder = settings.text("folder", self.folder)
            self._environment = [f"{k}={v}" for k, v in settings.words("environment").items()]
        self._folder = folder if folder.startswith("/") else f"./{folder}"
        self._program = f"{self._folder}/{board.name}"
        self._part = self._program + ".part"
        self._content: bytes | None = None

    @abstractmethod
    def _reach(self) -> RemoteShell:
        """The machine; raises EdgekitError where none, or not just one, is meant."""

    @abstractmethod
    def _sent(self) -> None:
        """Wait until all that was written is in the new file."""

    def connect(self) -> None:
        self._host = self._reach()
        said = self._host.run(CONNECT, [self._folder]).decode(errors="replace")
        system, _, machine = said.strip().partition("\n")
        if not linux.runs_on(self.board.target.architecture, system, machine):
            raise EdgekitError(
                self._host.cannot_run,
                f"board '{self.board.name}' runs programs of {self.board.target.name}, "
                f"{self._host.name} is {system} on {machine}",
                help="choose another board: edgekit boards",
            )

    def read(self, address: int, size: int) -> bytes:
        if self._content is None:
            self._sent()
            self._content = self._host.run(DOWNLOAD, [self._part])
        return self._content[address : address + size]

    def keep(self, stored_image: FlashImage) -> None:
        """Compare the checksum that is computed there, try the program out, and rename it."""
        data = b"".join(data for _, data in stored_image.segments)
        differs = EdgekitError(
            "E605",
            f"flash verification failed: {self._host.name} computes another SHA-256 of "
            f"the {len(data)} B than this machine",
            help="flash again; if it stays, its disk or memory is worn",
        )
        arguments = [self._part, self._program, hashlib.sha256(data).hexdigest()]
        self._host.run(KEEP, arguments, meanings={_DIFFERS: differs})

    def reset(self) -> None:
        """`stream` starts the program."""

    def stream(self, elf: Path | None = None) -> ProcessLink:
        image = load_elf(elf) if elf is not None else None
        absent = {_NOT_THERE: stored.not_flashed(self.board)}
        return self._reach().start(
            STREAM, [self._program, *self._environment], image=image, meanings=absent
        )
