"""The device program as a child process, its UART the standard input and output."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence

from edgekit.devices.firmware.image import FlashImage
from edgekit.errors import EdgekitError
from targets import Board

_ENDS_WITHIN = 5.0


class ProcessLink:
    """See `edgekit.devices.links.link.Link`. Closing it ends the process.

    Args:
        command: the program and its arguments.
        image: what runs, for the names of functions in a report of a fault.
        ended: makes an error of the exit status (negative: a signal's number) and of what the
            process wrote to its standard error, where it ends unasked.
        environment: variables besides those of this process.

    Raises:
        OSError: where the command cannot be started.
        EdgekitError: in `write` and `read`, what `ended` returns.
    """

    def __init__(
        self,
        board: Board,
        command: Sequence[str],
        image: FlashImage | None,
        ended: Callable[[int, str], EdgekitError],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.board, self._image, self._ended = board, image, ended
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                env={**os.environ, **environment} if environment else None,
                start_new_session=True,  # Ctrl-C is ours: we end the process
            )
        except BaseException:
            self._errors.close()
            raise

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            while data:
                data = data[self._process.stdin.write(data) or 0 :]
        except OSError:
            raise self._gone() from None

    def read(self, seconds: float, most: int = 65536) -> bytes:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(seconds, 0.0))
        if not ready:
            return b""
        data = os.read(self._process.stdout.fileno(), most)
        if not data:
            raise self._gone()
        return data

    def finish(self) -> bytes:
        """End its input and return the rest of its output; raises unless it exits with 0."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        rest = self._process.stdout.read()
        if self._process.wait() != 0:
            raise self._gone()
        return rest

    def _gone(self) -> EdgekitError:
        try:
            status = self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._errors.seek(0)
        return self._ended(status, self._errors.read().decode(errors="replace").strip())

    def where(self, address: int) -> str:
        return self._image.where(address) if self._image else f"{address:#010x}"

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._errors.close()


def signal_name(number: int) -> str:
    """``SIGSEGV`` for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
