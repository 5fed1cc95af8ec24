"""A serial port of another computer (RFC 2217), by pyserial's server side: what its lines did."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from serial.rfc2217 import PortManager


class Wires:
    """The port at the far end: settings and modem lines as they are set, in order."""

    def __init__(self, moved: Callable[[bool, bool], None]) -> None:
        self.set: list[tuple[str, Any]] = []
        self.moved: Callable[[bool, bool], None] = lambda _rts, _dtr: None
        self.baudrate, self.bytesize, self.parity, self.stopbits = 9600, 8, "N", 1
        self.xonxoff = self.rtscts = self.break_condition = self.rts = self.dtr = False
        self.cts = self.dsr = self.ri = self.cd = False
        self.set.clear()
        self.moved = moved

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in ("set", "moved"):
            self.set.append((name, value))
        if name in ("rts", "dtr") and hasattr(self, "dtr"):
            self.moved(self.rts, self.dtr)

    def reset_input_buffer(self) -> None:
        """Nothing is buffered."""

    def reset_output_buffer(self) -> None:
        """Nothing is buffered."""


class Server:
    """Such a port before a chip on TCP port `chip`; `moved` gets RTS and DTR when one changes."""

    def __init__(self, chip: int, moved: Callable[[bool, bool], None]) -> None:
        self.chip, self.wires = chip, Wires(moved)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def lines(self) -> list[tuple[str, bool]]:
        """Changes of RTS and DTR, in order."""
        return [change for change in list(self.wires.set) if change[0] in ("rts", "dtr")]

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self.chip))
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                manager = PortManager(self.wires, SimpleNamespace(write=near.sendall))
                for pump in (self._up, self._down):
                    threading.Thread(target=pump, args=(near, far, manager), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket, manager: PortManager) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(4096):
                plain = b"".join(manager.filter(data))
                if plain:
                    far.sendall(plain)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)  # `_down` waits in it

    @staticmethod
    def _down(near: socket.socket, far: socket.socket, manager: PortManager) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(4096):
                near.sendall(b"".join(manager.escape(data)))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
