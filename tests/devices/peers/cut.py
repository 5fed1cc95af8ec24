"""A TCP proxy that cuts connections after a number of bytes, as a cable does."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence


class Cutter:
    """`cuts` has, for each connection in order, the bytes towards the server after which both
    ends are closed; connections beyond them are whole. `broken` counts those that were cut."""

    def __init__(self, server: tuple[str, int], cuts: Sequence[int]) -> None:
        self.cuts = list(cuts)
        self.broken = 0
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                left = self.cuts.pop(0) if self.cuts else None
                threading.Thread(target=self._serve, args=(client, left), daemon=True).start()

    def _serve(self, client: socket.socket, left: int | None) -> None:
        with client, socket.create_connection(self._server) as server:
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while left is None or left > 0:
                    data = client.recv(65536 if left is None else min(65536, left))
                    if not data:
                        break
                    server.sendall(data)
                    left = None if left is None else left - len(data)
                self.broken += left == 0
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join(5)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def cut_after(server: tuple[str, int], cuts: Sequence[int]) -> Iterator[Cutter]:
    """A proxy in front of `server`."""
    cutter = Cutter(server, cuts)
    try:
        yield cutter
    finally:
        cutter.close()
