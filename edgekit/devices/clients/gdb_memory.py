"""Memory of a program that runs behind a GDB server, which answers while the CPU stands."""

from __future__ import annotations

import contextlib

from edgekit.devices.clients.gdb import GdbClient
from edgekit.errors import EdgekitError
from targets import Board


class GdbMemory:
    """See `edgekit.devices.links.rtt.DeviceMemory`; the CPU stands except within `run`.

    The cycle counters of Cortex-M stand with it. Args: `gdb` has stopped the target, and is closed
    by `close`.
    """

    def __init__(self, board: Board, gdb: GdbClient) -> None:
        self.board, self.gdb = board, gdb

    def read(self, address: int, size: int) -> bytes:
        return self.gdb.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        self.gdb.write(address, data)

    def run(self, seconds: float) -> None:
        self.gdb.resume()
        if self.gdb.wait(seconds):
            raise EdgekitError(
                "E609",
                f"the program on board '{self.board.name}' stopped: a breakpoint, or a fault that "
                "the debugger catches",
                help="flash it again, or look where it stands with GDB",
            )
        self.gdb.halt()

    def close(self) -> None:
        """The program runs on."""
        with contextlib.suppress(EdgekitError):
            self.gdb.resume()
        self.gdb.close()
