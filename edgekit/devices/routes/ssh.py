"""A machine with Linux over SSH."""

from __future__ import annotations

from edgekit.devices.clients.ssh import Destination, SshHost
from edgekit.devices.links.process_link import ProcessLink
from edgekit.devices.routes.base import Access
from edgekit.devices.routes.remote import FLUSH, RemoteRoute
from edgekit.errors import EdgekitError
from targets import Board

UPLOAD = 'cat > "$1" && ' + FLUSH


class SshRoute(RemoteRoute):
    """See `RemoteRoute`; what is written goes to a process there at once."""

    name = "ssh"
    proven = "OpenSSH 9.2's server on this machine; no board was at hand"
    folder = ".edgekit"  # relative to the user's home

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        self._upload: ProcessLink | None = None

    def _reach(self) -> SshHost:
        port = self.access.port or self.access.serial
        if port is None:
            raise EdgekitError(
                "E651",
                f"board '{self.board.name}' is reached over SSH: which machine is it?",
                help="--port USER@HOST, for instance --port pi@raspberrypi.local",
            )
        return SshHost(self.board, Destination.parse(port))

    def erase(self, address: int, size: int) -> None:
        self._upload, self._at = self._host.start(UPLOAD, [self._part]), address

    def write(self, address: int, data: bytes) -> None:
        if self._upload is None or address != self._at:
            raise RuntimeError("a file is written from its beginning to its end")
        self._upload.write(data)
        self._at += len(data)

    def _sent(self) -> None:
        if self._upload is not None:
            self._upload.finish()

    def close(self) -> None:
        if self._upload is not None:
            self._upload.close()


ROUTE = SshRoute
