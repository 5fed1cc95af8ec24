"""Another machine's POSIX shell, through a command of this one that carries bytes both ways."""

from __future__ import annotations

import re
import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from edgekit.devices.features import lacks_feature
from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.links.process_link import ProcessLink
from edgekit.errors import EdgekitError
from targets import Board, linux

#: Comes before all output of ours: what the login shell prints by itself is not ours.
_MARK = b"edgekit-ready\n"
_READY_SECONDS = 30.0
_NOT_WRITTEN = (
    "[Rr]ead-only file system|Permission denied|Not a directory|[Cc](annot|an't|ouldn't) create"
)


class RemoteShell(ABC):
    """Runs shell scripts on a machine; every one is a connection of its own.

    Args:
        name: of the machine, for messages.
    """

    #: Codes of errors: says nothing, cannot be written, cannot be executed.
    silent: ClassVar[str]
    no_room: ClassVar[str]
    cannot_run: ClassVar[str]
    #: What a user can do where a folder there cannot be written, or holds no programs.
    other_folder: ClassVar[str]

    def __init__(self, board: Board, name: str) -> None:
        self.board, self.name = board, name

    @abstractmethod
    def _command(self, remote: str) -> list[str]:
        """The command of this machine that runs `remote` there."""

    @abstractmethod
    def _absent(self, error: OSError) -> EdgekitError:
        """What it means that `_command` cannot be started."""

    @abstractmethod
    def _ended(self, status: int, said: str, meanings: Mapping[int, EdgekitError]) -> EdgekitError:
        """What the end of `_command`, or of the script, means."""

    def start(
        self,
        script: str,
        arguments: Sequence[str] = (),
        *,
        image: FlashImage | None = None,
        meanings: Mapping[int, EdgekitError] | None = None,
    ) -> ProcessLink:
        """Start a script of the POSIX shell with $1, $2 ... and wait until it runs there.

        Args:
            image: what the script runs, for the names of functions.
            meanings: the errors that exit statuses of the script stand for.

        Raises:
            EdgekitError: of `_absent` and `_ended`; `silent` where nothing comes.
        """
        remote = shlex.join(["sh", "-c", f"echo {_MARK.decode().strip()}; {script}", "sh"])
        remote = "exec " + " ".join([remote, *map(shlex.quote, arguments)])
        try:
            link = ProcessLink(
                self.board,
                self._command(remote),
                image,
                lambda status, said: self._ended(status, said, meanings or {}),
            )
        except OSError as error:
            raise self._absent(error) from error
        try:
            self._wait(link)
        except BaseException:
            link.close()
            raise
        return link

    def _wait(self, link: ProcessLink) -> None:
        end, said = time.monotonic() + _READY_SECONDS, b""
        while not said.endswith(_MARK):
            left = end - time.monotonic()
            # Byte by byte at the end: what follows the mark belongs to others.
            part = link.read(left, 1)
            if not part and left <= 0:
                raise self.error(self.silent, f"says nothing for {_READY_SECONDS:g} s", "")
            said = (said + part)[-len(_MARK) :]

    def run(
        self,
        script: str,
        arguments: Sequence[str] = (),
        *,
        meanings: Mapping[int, EdgekitError] | None = None,
    ) -> bytes:
        """Run a script to its end and return its output.

        Raises:
            EdgekitError: as `start`, and where it fails, of `meanings` or `no_room`, `cannot_run`,
                E609.
        """
        link = self.start(script, arguments, meanings=meanings)
        try:
            return link.finish()
        finally:
            link.close()

    def error(self, code: str, what: str, said: str, help: str = "") -> EdgekitError:
        """What is wrong with this machine, with the last lines that it said."""
        return EdgekitError(
            code,
            f"{self.name} (board '{self.board.name}') {what}",
            details=[line for line in said.splitlines() if line.strip()][-5:],
            help=help,
        )

    def failed(self, status: int, said: str) -> EdgekitError:
        """What the exit status of a script means."""
        if status == linux.LACKS_FEATURE:
            return lacks_feature(self.board, self.name, said)
        if re.search("No space left|quota exceeded|File too large", said):
            return self.error(
                self.no_room, "has no room for the program", said, "free some space there"
            )
        if status in (126, 127) or "xec format error" in said:
            return self.error(
                self.cannot_run, "cannot run the program", said,
                f"is the folder mounted noexec? {self.other_folder}; is the system of the "
                "board's kind?",
            )  # fmt: skip
        if re.search(_NOT_WRITTEN, said):
            return self.error(
                self.no_room, "does not let you write the program", said, self.other_folder
            )
        if status > 128:
            return self.error("E609", f"ended the program by signal {status - 128}", said)
        return self.error("E609", f"ended with status {status}", said)
