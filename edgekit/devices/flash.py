"""Writing a program into a board's flash, read back and compared byte by byte."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.firmware.image import FlashImage, load_program
from edgekit.devices.routes import Access, Route, find_route, open_route
from edgekit.devices.routes.base import Progress
from edgekit.errors import EdgekitError
from targets import Board

#: How often a connection that breaks is made anew before the user is told.
ATTEMPTS = 3
#: Seconds between two of them: a cable that is put back is found again after about that long.
PAUSE = 0.5


@dataclass(frozen=True)
class FlashReport:
    """What was flashed: bytes written, bytes read back equal, and seconds on the host.

    `proven` says against what the route has been tested, `checked` how the bytes were verified.
    """

    board: str
    bytes: int
    verified: int
    seconds: float
    route: str
    proven: str
    checked: str = Route.verified


def flash(
    board: Board, elf: Path, progress: Progress | None = None, access: Access | None = None
) -> FlashReport:
    """Program `elf` into the board's flash, verify every byte and start it.

    A connection that breaks on the way is made anew and everything is written again, `ATTEMPTS`
    times in all.

    Args:
        progress: called with (bytes done, bytes in all) while writing and reading back.

    Raises:
        KeyboardInterrupt: on Ctrl-C, with a sentence that says how far it was.
        EdgekitError: E506 not an ELF file, E610 built for another board, E604 the link broke (the
            flash is then incomplete, and the same command mends it), E605 verification failed, and
            what the route raises. Emulated boards keep their old content then.
    """
    access = access or Access()
    image = load_program(elf, board)
    start = time.monotonic()
    tell = progress or (lambda _done, _all: None)
    done, broken = _Done(image, tell), None
    name = access.route or board.route
    used = find_route(name)
    try:
        for attempt in range(ATTEMPTS):
            done = _Done(image, tell)
            try:
                with open_route(board, access) as route:
                    stored = program(route, image, done)
                    route.keep(stored)
                    route.reset()
                break
            except EdgekitError as error:
                broken = done if done.begun else broken
                # After a break the board may be slow to come back, in ways that each route words.
                lost = error.code == "E604" or not done.begun
                if not lost or broken is None:
                    raise
                if attempt == ATTEMPTS - 1:
                    raise _incomplete(board, error, broken, used) from error
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        stopped = done if done.begun or broken is None else broken
        if not stopped.incomplete or board.emulated:
            raise
        raise KeyboardInterrupt(
            f"board '{board.name}': {_state(stopped, used)}; flash it again"
        ) from None
    seconds = time.monotonic() - start
    return FlashReport(
        board.name, image.bytes, stored.bytes, seconds, name, used.proven, used.verified
    )


class _Done:
    """Bytes written and read back so far, told to whoever shows progress."""

    def __init__(self, image: FlashImage, tell: Progress) -> None:
        self._tell = tell
        self.to_write = self.to_read = image.bytes
        self.written = self.read = 0
        self.begun = False

    @property
    def incomplete(self) -> bool:
        """Whether erasing was begun and not everything has been read back."""
        return self.begun and self.read < self.to_read

    def writes(self, count: int) -> None:
        """How many bytes are written where it is more than the image: whole units of flash."""
        self.to_write = count

    def add(self, written: int = 0, read: int = 0) -> None:
        self.written += written
        self.read += read
        self.during(0)

    def during(self, count: int) -> None:
        """`count` bytes of what is being written or read are done."""
        self._tell(self.written + self.read + count, self.to_write + self.to_read)


def program(route: Route, image: FlashImage, done: _Done) -> FlashImage:
    """Erase and write all segments, then read all back and compare; returns the image as read."""
    route.during = done.during
    whole = route.arrange(image)
    done.begun = True  # an erase that breaks off has destroyed what was there
    for address, data in whole.segments:
        route.erase(address, len(data))
    done.writes(whole.bytes)
    for address, data in whole.segments:
        for at in range(0, len(data), route.step):
            part = data[at : at + route.step]
            route.write(address + at, part)
            done.add(written=len(part))
    return route.verify(image, lambda count: done.add(read=count))


def _state(done: _Done, route: type[Route]) -> str:
    return (
        f"{done.written} of {done.to_write} B were written, {done.read} of "
        f"{done.to_read} B read back equal: {route.broken}"
    )


def _incomplete(board: Board, error: EdgekitError, done: _Done, route: type[Route]) -> EdgekitError:
    return EdgekitError(
        "E604",
        f"board '{board.name}': the connection broke {ATTEMPTS} times; {_state(done, route)}",
        details=[error.message, *error.details],
        help="check the cable and run the same command again: it starts over",
    )
