"""The device program by RTT: rings in the board's RAM that the host reads and writes.

firmware/ports/rtt.c is the other end. The control block is where the program's symbols say; only
where they are unknown is RAM searched for it.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import Protocol

from edgekit.devices.firmware.image import FlashImage
from edgekit.errors import EdgekitError
from targets import Board

_ID = b"SEGGER RTT".ljust(16, b"\0")
_HEAD, _RING = struct.Struct("<16sii"), struct.Struct("<6I")
_WRITTEN, _READ = 12, 16
_LARGEST = 1 << 20
_CHUNK = 4096
#: Seconds that a program has to set its rings up, and to make room in a full one.
_PATIENCE = 2.0
_FIRST_PAUSE, _LAST_PAUSE = 0.0005, 0.02


class DeviceMemory(Protocol):
    """Memory of a board whose program is to run as well."""

    def read(self, address: int, size: int) -> bytes:
        """Raises EdgekitError E604 where the connection is gone, as all methods do."""

    def write(self, address: int, data: bytes) -> None: ...

    def run(self, seconds: float) -> None:
        """Let the program run for about that long; shorter where it is known to wait."""

    def close(self) -> None:
        """Leave the program running and give the connection up."""


@dataclass(frozen=True)
class _Ring:
    """`at` is the address of its descriptor."""

    at: int
    data: int
    size: int


def check_transport(board: Board, image: FlashImage, transport: str) -> None:
    """Raises EdgekitError E647 where the program in flash talks by RTT and is not to, or not."""
    if (image.rtt is not None) != (transport == "rtt"):
        way = "by RTT" if image.rtt is not None else "not by RTT"
        raise EdgekitError(
            "E647",
            f"the program in the flash of '{board.name}' talks {way}, --transport is '{transport}'",
            help=f"flash it again: edgekit flash OUT --board {board.name} --transport {transport}",
        )


class RttLink:
    """See `edgekit.devices.links.link.Link`.

    Args:
        image: the program that is expected to run, for the place of its control block and the
            names of its functions; None where that is unknown.

    Raises:
        EdgekitError: E647 where the board has no control block, or a damaged one; E604.
    """

    def __init__(self, board: Board, memory: DeviceMemory, image: FlashImage | None) -> None:
        self.board, self.memory, self._image = board, memory, image
        try:
            self._up, self._down = self._wait_for_block()
        except BaseException:
            memory.close()
            raise

    # ---- the control block

    def _wait_for_block(self) -> tuple[_Ring, _Ring]:
        known = self._image.rtt if self._image else None
        end = time.monotonic() + _PATIENCE
        while True:
            self.memory.run(_LAST_PAUSE)
            found = known if known is not None else self._search()
            head = self.memory.read(found, _HEAD.size) if found is not None else b""
            if found is not None and head[: len(_ID)] == _ID:
                return self._rings(found, head)
            if time.monotonic() > end:
                place = f"at {known:#010x}" if known is not None else "anywhere in RAM"
                raise self._error(
                    f"has no RTT control block {place}",
                    "is the program built with --transport rtt? edgekit flash with that option",
                )

    def _search(self) -> int | None:
        for region in (r for r in self.board.regions if r.kind == "ram"):
            kept = b""
            for at in range(region.start, region.end, _CHUNK):
                size = min(_CHUNK, region.end - at)
                window = kept + self.memory.read(at, size)
                if (found := window.find(_ID)) >= 0:
                    return at - len(kept) + found
                kept = window[-len(_ID) + 1 :]
        return None

    def _rings(self, block: int, head: bytes) -> tuple[_Ring, _Ring]:
        _, up, down = _HEAD.unpack(head)
        if up < 1 or down < 1 or up + down > 64:
            raise self._damaged(block, f"{up} rings to the host and {down} from it")
        first = block + _HEAD.size
        return self._ring(first), self._ring(first + up * _RING.size)

    def _ring(self, at: int) -> _Ring:
        _, data, size, _, _, _ = _RING.unpack(self.memory.read(at, _RING.size))
        inside = any(r.kind == "ram" and r.holds(data, max(size, 1)) for r in self.board.regions)
        if not inside or not 2 <= size <= _LARGEST:
            raise self._damaged(at, f"a ring of {size} B at {data:#010x}")
        return _Ring(at, data, size)

    def _indices(self, ring: _Ring) -> tuple[int, int]:
        written, read = struct.unpack("<II", self.memory.read(ring.at + _WRITTEN, 8))
        if written >= ring.size or read >= ring.size:
            raise self._damaged(ring.at, f"offsets {written} and {read} in a ring of {ring.size} B")
        return written, read

    def _damaged(self, at: int, what: str) -> EdgekitError:
        return self._error(
            f"has a damaged RTT control block at {at:#010x}: {what}",
            "another program runs there, or this one was not built for this board: flash it again",
        )

    def _error(self, what: str, help: str) -> EdgekitError:
        return EdgekitError("E647", f"board '{self.board.name}' {what}", help=help)

    # ---- bytes

    def write(self, data: bytes) -> None:
        end = time.monotonic() + _PATIENCE
        while data:
            written, read = self._indices(self._down)
            room = (read - written - 1) % self._down.size
            part = data[: min(room, self._down.size - written)]
            if part:
                self.memory.write(self._down.data + written, part)
                after = (written + len(part)) % self._down.size
                self.memory.write(self._down.at + _WRITTEN, after.to_bytes(4, "little"))
                data, end = data[len(part) :], time.monotonic() + _PATIENCE
            elif time.monotonic() > end:
                raise self._error(
                    f"does not read its RTT ring, {len(data)} B are left",
                    "does the program run? reset the board",
                )
            if data:
                self.memory.run(_FIRST_PAUSE)

    def read(self, seconds: float) -> bytes:
        end, pause = time.monotonic() + seconds, _FIRST_PAUSE
        while True:
            data = self._take()
            left = end - time.monotonic()
            if data or left <= 0:
                return data
            self.memory.run(min(pause, left))
            pause = min(2 * pause, _LAST_PAUSE)

    def _take(self) -> bytes:
        written, read = self._indices(self._up)
        if written == read:
            return b""
        stop = written if written > read else self._up.size
        data = self.memory.read(self._up.data + read, stop - read)
        self.memory.write(self._up.at + _READ, (stop % self._up.size).to_bytes(4, "little"))
        return data

    def where(self, address: int) -> str:
        return self._image.where(address) if self._image else f"{address:#010x}"

    def close(self) -> None:
        self.memory.close()
