"""A phone with Android through `adb`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edgekit.devices.clients.adb import Phone, find_phone
from edgekit.devices.routes.base import Access
from edgekit.devices.routes.remote import FLUSH, RemoteRoute
from targets import Board


class AdbRoute(RemoteRoute):
    """See `RemoteRoute`; what is written is collected here, for `adb push`."""

    name = "adb"
    proven = "Debian's adb 29.0.6 and a phone's end of its protocol in Python; no phone was at hand"
    _host: Phone
    folder = "/data/local/tmp/edgekit"  # where adb's shell may write and execute, without root

    def __init__(self, board: Board, access: Access) -> None:
        super().__init__(board, access)
        self._copy: Path | None = None

    def _reach(self) -> Phone:
        wanted = self.access.port or self.access.serial or os.environ.get("ANDROID_SERIAL")
        return find_phone(self.board, wanted)

    def erase(self, address: int, size: int) -> None:
        handle, name = tempfile.mkstemp(prefix="edgekit")
        os.close(handle)
        self._copy, self._end = Path(name), address + size

    def write(self, address: int, data: bytes) -> None:
        if self._copy is None or address != self._copy.stat().st_size:
            raise RuntimeError("a file is written from its beginning to its end")
        with self._copy.open("ab") as file:
            file.write(data)
        if address + len(data) == self._end:
            self._host.push(self._copy, self._part)

    def _sent(self) -> None:
        self._host.run(FLUSH, [self._part])

    def close(self) -> None:
        if self._copy is not None:
            self._copy.unlink(missing_ok=True)


ROUTE = AdbRoute
