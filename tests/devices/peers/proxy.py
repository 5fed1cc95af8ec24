"""A cable between a route and a TCP peer that can be cut, and that can flip a byte."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

UP, DOWN = "up", "down"


class Proxy:
    """Passes bytes between ``port`` (of this machine) and a peer's TCP port.

    Args:
        cut: on each connection, both directions together, close it after so many bytes.
        flip: (`UP` to the peer or `DOWN` from it, index of a byte on each connection): its lowest
            bit is turned over.
    """

    def __init__(
        self, peer: int, *, cut: int | None = None, flip: tuple[str, int] | None = None
    ) -> None:
        self.peer, self.cut, self.flip = peer, cut, flip
        self.passed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def mend(self) -> None:
        """From the next connection on (or the next byte) nothing is cut or flipped."""
        self.cut = self.flip = None

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.peer), timeout=5)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                self.passed = 0
                self._open = [near, far]
                for each in self._open:
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for way, source, sink in ((UP, near, far), (DOWN, far, near)):
                    threading.Thread(
                        target=self._pump, args=(way, source, sink), daemon=True
                    ).start()

    def _pump(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        at = 0
        try:
            while data := bytearray(source.recv(65536)):
                flip = self.flip
                if flip and flip[0] == way and at <= flip[1] < at + len(data):
                    data[flip[1] - at] ^= 1
                at += len(data)
                with self._lock:
                    left = len(data) if self.cut is None else max(0, self.cut - self.passed)
                    self.passed += len(data)
                sink.sendall(data[:left])
                if left < len(data):
                    break
        except OSError:
            pass
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()
