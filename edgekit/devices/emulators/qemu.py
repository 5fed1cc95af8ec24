"""A board in QEMU: started stopped, with a GDB stub and its UART on local sockets.

With ``-icount`` every counter advances by a fixed time per executed instruction, so that the
figures are exact and repeatable, but they are instructions: QEMU knows nothing of time.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from types import TracebackType

import targets
from edgekit.devices.clients.gdb import GdbClient
from edgekit.errors import EdgekitError
from targets import Board

_START_SECONDS = 10.0


class QemuMachine:
    """A running QEMU whose CPU is stopped until `start`.

    Use it as a context manager: leaving kills the process, whatever happened inside.

    Attributes:
        uart: the socket of its UART, or, with `semihosting`, of the console of that.

    Raises:
        EdgekitError: E602 where QEMU is not installed, E603 where it does not start.
    """

    def __init__(self, board: Board, semihosting: bool = False) -> None:
        if board.qemu is None:
            raise ValueError(f"board '{board.name}' is not one of QEMU's")
        command = shutil.which(board.qemu.command)
        if command is None:
            other = targets.board(board.target.default_board)
            instead = f"; or use the board '{other.name}', which needs nothing"
            raise EdgekitError(
                "E602",
                f"board '{board.name}' needs '{board.qemu.command}', which is not installed",
                help=f"Debian/Ubuntu: apt install {board.qemu.package}; macOS: brew install qemu"
                + (instead if other.qemu is None else ""),
            )
        self.board, self._semihosting = board, semihosting
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()
        try:
            self._start(command)
        except BaseException:
            self.close()
            raise

    def _start(self, command: str) -> None:
        assert self.board.qemu is not None
        # QEMU connects to the UART's listener, so that no byte can be lost; the GDB stub can
        # only listen itself, on a port that was free a moment ago.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(_START_SECONDS)
            uart_port = listener.getsockname()[1]
            gdb_port = _free_port()
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
            self._stack.push(self._errors)
            # The semihosting console ":tt" is QEMU's standard input and output.
            near, far = socket.socketpair()
            self._stack.enter_context(near)
            self._stack.enter_context(far)
            console = far.fileno() if self._semihosting else subprocess.DEVNULL
            self._process = subprocess.Popen(
                [
                    command,
                    *("-M", self.board.qemu.machine),
                    *self.board.qemu.arguments,
                    *("-icount", f"shift={self.board.qemu.icount_shift},sleep=off"),
                    *("-display", "none", "-monitor", "none", "-nodefaults"),
                    *("-serial", f"tcp:127.0.0.1:{uart_port},nodelay=on"),
                    # Always: a program that makes such calls otherwise ends QEMU. "native": by
                    # default a GDB client would be asked to perform them.
                    *("-semihosting-config", "enable=on,target=native"),
                    *("-S", "-gdb", f"tcp:127.0.0.1:{gdb_port}"),
                ],
                stdin=console,
                stdout=console,
                stderr=self._errors,
            )
            self.uart = self._accept(listener)
            if self._semihosting:
                self.uart = near
        self.gdb = self._stack.enter_context(GdbClient(("127.0.0.1", gdb_port)))

    def _accept(self, listener: socket.socket) -> socket.socket:
        assert self._process is not None and self.board.qemu is not None
        end = time.monotonic() + _START_SECONDS
        listener.settimeout(0.05)
        while True:
            try:
                uart, _ = listener.accept()
                break
            except TimeoutError:
                if self._process.poll() is None and time.monotonic() < end:
                    continue
                self._errors.seek(0)
                said = self._errors.read().decode(errors="replace").splitlines()
                raise EdgekitError(
                    "E603",
                    f"QEMU did not start board '{self.board.name}'",
                    details=said[:5],
                    help=f"version 7.2 or newer is needed: {self.board.qemu.command} --version",
                ) from None
        uart.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._stack.enter_context(uart)

    def reset(self) -> None:
        """Stack pointer and program counter come from the vector table; the CPU stands."""
        self.gdb.monitor("system_reset")

    def start(self) -> None:
        """Reset and run."""
        self.reset()
        self.gdb.resume()

    def close(self) -> None:
        """Kill the process and close its sockets."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        self._stack.close()

    def __enter__(self) -> QemuMachine:
        return self

    def __exit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
