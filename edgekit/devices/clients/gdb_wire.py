"""What packets of the GDB protocol travel on: a socket, or a serial port (Black Magic Probe)."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import Protocol

from edgekit.devices.links.ports import open_port
from edgekit.errors import EdgekitError
from targets import Board

_SOCKET = re.compile(r"(?:(?P<host>[\w.-]*|\[[0-9a-fA-F:.]+\]):)?(?P<port>\d{1,5})")
_HELP = "is the debug probe or emulator still running, and is it the only client?"


class Wire(Protocol):
    """A byte stream to a GDB server.

    Attributes:
        name: for messages.
        reliable: whether bytes are neither lost nor changed, as in TCP.
    """

    name: str
    reliable: bool

    def send(self, data: bytes) -> None:
        """Send all of it; raises OSError."""

    def receive(self, seconds: float) -> bytes:
        """The next bytes, at least one; empty where the other end has closed.

        Raises TimeoutError where none comes in time, OSError where the wire is gone.
        """

    def close(self) -> None: ...


class SocketWire:
    """A TCP connection; waits up to `seconds` for the server to come up."""

    reliable = True

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self.name = f"{host}:{port}"
        end = time.monotonic() + seconds
        while True:
            try:
                self._socket = socket.create_connection((host, port), max(seconds, 0.01))
                break
            except OSError as error:
                if time.monotonic() < end and not isinstance(error, socket.gaierror):
                    time.sleep(0.02)
                    continue
                raise unreachable(self.name, f"does not accept a connection: {error}") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self, seconds: float) -> bytes:
        self._socket.settimeout(max(seconds, 0.001))
        return self._socket.recv(65536)

    def close(self) -> None:
        self._socket.close()


class SerialWire:
    """A serial port that a probe offers its GDB server on, or a URL of pyserial."""

    reliable = False

    def __init__(self, board: Board, port: str) -> None:
        self.name = port
        self._serial = open_port(board, port, baud=115_200)

    def send(self, data: bytes) -> None:
        self._serial.write(data)

    def receive(self, seconds: float) -> bytes:
        self._serial.timeout = max(seconds, 0.001)
        first = bytes(self._serial.read(1))
        if not first:
            raise TimeoutError
        self._serial.timeout = 0
        return first + bytes(self._serial.read(65536))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._serial.close()


def unreachable(name: str, what: str) -> EdgekitError:
    """E604: the connection to the server called `name` broke or never came about."""
    return EdgekitError("E604", f"the GDB server at {name} {what}", help=_HELP)


def open_wire(board: Board, port: str, seconds: float) -> Wire:
    """``HOST:PORT``, ``:PORT`` or ``PORT`` as a socket, everything else as a serial port.

    Raises:
        EdgekitError: E604 where it cannot be reached within `seconds`; E631, E632 a serial port
            without permission, or in use.
    """
    found = _SOCKET.fullmatch(port)
    if found is None:
        return SerialWire(board, port)
    if int(found["port"]) > 65535:  # getaddrinfo would take it modulo 65536
        raise unreachable(port, "cannot be there: ports end at 65535")
    host = (found["host"] or "localhost").strip("[]")
    return SocketWire(host, int(found["port"]), seconds)
