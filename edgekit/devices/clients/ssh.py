"""Another machine through OpenSSH's client, with the user's keys, configuration and known hosts."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.devices.clients.shell import RemoteShell
from edgekit.errors import EdgekitError
from targets import Board

#: Never ask anything; give up on an address after 10 s and on a silent connection after 15 s.
_OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
)
#: Exit status of ssh itself, where it is not the remote command's.
SSH_FAILED = 255
_HOST = r"[^\s@:/\[\]-][^\s@:/\[\]]*"
_DESTINATION = re.compile(
    rf"(?:(?P<user>[^\s@:/-][^\s@:/]*)@)?(?:(?P<host>{_HOST})|\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\])"
    r"(?::(?P<port>\d{1,5}))?"
)


@dataclass(frozen=True)
class Destination:
    """A machine, or the name of one in the user's configuration; `port` None is ssh's choice."""

    host: str
    user: str | None = None
    port: int | None = None

    @staticmethod
    def parse(text: str) -> Destination:
        """From ``[USER@]HOST[:PORT]``, an IPv6 address in brackets; raises EdgekitError E651."""
        found = _DESTINATION.fullmatch(text)
        port = int(found["port"]) if found and found["port"] else None
        if found is None or (port is not None and not 1 <= port <= 65535):
            raise EdgekitError(
                "E651",
                f"'{text}' is no address of a machine",
                help="--port USER@HOST or USER@HOST:PORT, for instance pi@raspberrypi.local",
            )
        return Destination(found["host"] or found["v6"], found["user"], port)

    def __str__(self) -> str:
        """As ``ssh`` takes it, without the port."""
        return f"{self.user}@{self.host}" if self.user else self.host


def client_command() -> list[str]:
    """The client: ``$EDGEKIT_SSH_COMMAND`` in words, or ``ssh``."""
    return shlex.split(os.environ.get("EDGEKIT_SSH_COMMAND", "")) or ["ssh"]


class SshHost(RemoteShell):
    """See `RemoteShell`.

    Raises:
        EdgekitError: E652 host key, E653 login, E654 not reachable, E636 no ssh, E604 broken, E655
            cannot be written, E656 cannot be executed.
    """

    silent, no_room, cannot_run = "E654", "E655", "E656"
    other_folder = "[settings.ssh] folder of the board file names another folder"

    def __init__(self, board: Board, destination: Destination) -> None:
        super().__init__(board, str(destination))
        self.destination = destination

    def _command(self, remote: str) -> list[str]:
        port = ["-p", str(self.destination.port)] if self.destination.port else []
        return [*client_command(), *_OPTIONS, *port, "--", self.name, remote]

    def _absent(self, error: OSError) -> EdgekitError:
        return EdgekitError(
            "E636",
            f"the route 'ssh' needs the command '{client_command()[0]}': {error.strerror}",
            help="Debian/Ubuntu: apt install openssh-client",
        )

    def _ended(self, status: int, said: str, meanings: Mapping[int, EdgekitError]) -> EdgekitError:
        if status in meanings:
            return meanings[status]
        if status != SSH_FAILED:
            return self.failed(status, said)
        if "IDENTIFICATION HAS CHANGED" in said:
            return self.error(
                "E652", "has another host key than the one you know", said,
                f"if you know why: ssh-keygen -R '{self.destination.host}', then log in once",
            )  # fmt: skip
        if "Host key verification failed" in said or "host key is known" in said:
            return self.error(
                "E652", "has a host key that you have not accepted yet", said,
                f"log in once and check its key: ssh {self.destination}",
            )  # fmt: skip
        if "Permission denied (" in said or "Too many authentication failures" in said:
            return self.error(
                "E653", "does not let you in", said,
                f"passwords are not asked for; set up a key: ssh-copy-id {self.destination}",
            )  # fmt: skip
        if re.search(r"connect to (host|address) .* port|Could not resolve|[Bb]ad config", said):
            return self.error(
                "E654", "cannot be reached", said,
                f"is it on, and on this network? Try: ssh {self.destination}",
            )  # fmt: skip
        if not said:
            return self.error(
                "E609", "ended the program by a signal, or closed the connection", said,
                "out of memory? Its kernel's log says more",
            )  # fmt: skip
        return self.error(
            "E604", "is not connected any more", said, "run the same command again: it starts over"
        )
