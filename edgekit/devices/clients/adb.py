"""A phone with Android through the Android Debug Bridge's own command, `adb`.

Bytes go both ways unchanged by ``adb shell -T`` to phones with its second shell protocol (feature
shell_v2, Android 7.0 and later), which has no terminal between, and tells the exit status.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekit.devices.clients.shell import RemoteShell
from edgekit.errors import EdgekitError
from targets import Board

#: Seconds for what adb answers by itself; it may have to start its server for it.
_SECONDS = 30.0
#: adb ends with 0 also where the phone goes away, so that the end of an output has a mark of its
#: own.
_DONE = b"edgekit-done\n"
#: `adb connect` takes these.
_ADDRESS = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+(%\w+)?\]):\d{1,5}")
_READY = "device"
_ASKS = ("unauthorized", "authorizing")
_HELP = "enable USB debugging in its developer options; over Wi-Fi: adb connect HOST:PORT"


def client_command() -> list[str]:
    """The client: ``$EDGEKIT_ADB_COMMAND`` in words, or ``adb``."""
    return shlex.split(os.environ.get("EDGEKIT_ADB_COMMAND", "")) or ["adb"]


def _absent(error: OSError) -> EdgekitError:
    return EdgekitError(
        "E680",
        f"the route 'adb' needs the command '{client_command()[0]}': {error.strerror}",
        help="Debian/Ubuntu: apt install adb; others: Android's SDK Platform-Tools",
    )


def _adb(*arguments: str, limited: bool = True) -> tuple[int, str]:
    """Exit status and all that adb says; some errors go to its standard output.

    Raises:
        EdgekitError: E680 there is no adb, E688 it does not answer.
    """
    try:
        done = subprocess.run(
            [*client_command(), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS if limited else None,
            check=False,
            start_new_session=True,  # Ctrl-C is ours, and not for its server
        )
    except OSError as error:
        raise _absent(error) from error
    except subprocess.TimeoutExpired as error:
        raise EdgekitError(
            "E688",
            f"'adb {' '.join(arguments)}' does not end within {_SECONDS:g} s",
            help="adb kill-server, then try again",
        ) from error
    return done.returncode, done.stdout.decode(errors="replace")


def phones() -> dict[str, str]:
    """The state of each phone by its serial number, as adb's server sees them.

    Raises:
        EdgekitError: E680 there is no adb, E688 its server does not run.
    """
    status, said = _adb("devices")
    if status != 0:
        raise EdgekitError(
            "E688",
            f"'adb devices' ended with status {status}",
            details=[line for line in said.splitlines() if line.strip()][-5:],
            help="adb kill-server, then try again: is another program's adb of another version?",
        )
    lines = (line.split("\t", 1) for line in said.splitlines() if "\t" in line)
    return {serial.strip(): state.strip() for serial, state in lines}


def find_phone(board: Board, wanted: str | None) -> Phone:
    """The phone `wanted` by serial number or HOST:PORT, or else the only one.

    Raises:
        EdgekitError: E681 it is not there, E682 several are, E683 it does not trust this computer,
            E684 it is offline; and those of `phones`.
    """
    found, said = phones(), ""
    if wanted and _ADDRESS.fullmatch(wanted) and found.get(wanted) in (None, "offline"):
        if wanted in found:  # adb tries again by itself, but only after 10 s
            _adb("disconnect", wanted)
        said = _adb("connect", wanted)[1]
        found = phones()
    listed = [f"{serial} ({state})" for serial, state in found.items()]
    if not found or (wanted and wanted not in found):
        which = f"no phone '{wanted}'" if wanted else "no phone"
        raise EdgekitError(
            "E681",
            f"adb finds {which} for board '{board.name}'",
            details=[*said.splitlines(), *listed],
            help=f"--port {next(iter(found))}" if found else _HELP,
        )
    if not wanted and len(found) > 1:
        raise EdgekitError(
            "E682",
            f"{len(found)} phones are connected: which is board '{board.name}'?",
            details=listed,
            help=f"--port {next(iter(found))}",
        )
    serial = wanted or next(iter(found))
    phone = Phone(board, serial)
    phone.check(found[serial])
    return phone


class Phone(RemoteShell):
    """See `RemoteShell`.

    Raises:
        EdgekitError: E604 the connection broke, E680 there is no adb, E683 not trusted, E685 cannot
            be written, E686 cannot be executed, E687 too old, E688 says nothing.
    """

    silent, no_room, cannot_run = "E688", "E685", "E686"
    other_folder = "[settings.adb] folder of the board file names another folder"

    def __init__(self, board: Board, serial: str) -> None:
        super().__init__(board, f"phone {serial}")
        self._serial = serial

    def check(self, state: str) -> None:
        """Refuse every state but the one in which Android runs and obeys."""
        if state in _ASKS:
            raise self._distrusts(state)
        if state.startswith("no permissions"):
            raise self.error(
                "E683", "may not be opened by this user", state,
                "Debian/Ubuntu: apt install android-sdk-platform-tools-common, plug it in again",
            )  # fmt: skip
        if state != _READY:
            raise self.error(
                "E684", f"is in state '{state}'", "",
                "unlock it, plug it in again, or: adb reconnect offline",
            )  # fmt: skip

    def _distrusts(self, said: str) -> EdgekitError:
        return self.error(
            "E683", "does not trust this computer yet", said,
            "unlock it and accept this computer's key in the dialog that it shows",
        )  # fmt: skip

    def _command(self, remote: str) -> list[str]:
        # No terminal, no escape character; what follows the command's first word is the phone's.
        return [*client_command(), "-s", self._serial, "shell", "-T", "-e", "none", remote]

    def _absent(self, error: OSError) -> EdgekitError:
        return _absent(error)

    def run(
        self,
        script: str,
        arguments: Sequence[str] = (),
        *,
        meanings: Mapping[int, EdgekitError] | None = None,
    ) -> bytes:
        done = f"({script}) && echo {_DONE.decode().strip()}"
        said = super().run(done, arguments, meanings=meanings)
        if not said.endswith(_DONE):
            raise self._lost("")
        return said.removesuffix(_DONE)

    def push(self, file: Path, path: str) -> None:
        """Copy a file to the phone.

        Raises:
            EdgekitError: E604 the connection broke, E685 cannot be written.
        """
        status, said = _adb("-s", self._serial, "push", str(file), path, limited=False)
        if status != 0:
            raise self._refused(said) or self._failed_to_push(status, said)

    def _failed_to_push(self, status: int, said: str) -> EdgekitError:
        error = self.failed(status, said)
        return error if error.code == self.no_room else self._lost(said)

    def _ended(self, status: int, said: str, meanings: Mapping[int, EdgekitError]) -> EdgekitError:
        if status in meanings:
            return meanings[status]
        if status == 0:
            return self._lost(said)
        refused = self._refused(said) if status == 1 else None
        return refused or self.failed(status, said)

    def _refused(self, said: str) -> EdgekitError | None:
        """What adb itself says where it does not reach the phone; None where it does."""
        if "unauthorized" in said:
            return self._distrusts(said)
        if "only supports allocating a pty" in said or "support PTY args" in said:
            return self.error(
                "E687", "has no shell that carries bytes unchanged", said,
                "Android 7.0 or later has one (adb features: shell_v2)",
            )  # fmt: skip
        if re.search("(?m)^(adb: )?error: (device .*(not found|offline)|closed)|no devices", said):
            return self._lost(said)
        return None

    def _lost(self, said: str) -> EdgekitError:
        return self.error(
            "E604", "is not connected any more", said, "run the same command again: it starts over"
        )
