"""What every way to a board's flash offers, and how the user says which board is meant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.links.link import Link
from edgekit.devices.verify import compare
from targets import Board

Progress = Callable[[int, int], None]
STEP = 65536


@dataclass(frozen=True)
class Access:
    """How to reach a board, where that is not left to the board's file and to detection.

    Attributes:
        route: one of the board's routes; None is the first of its file.
        port: what the route connects to: a serial device or a URL of pyserial, HOST:PORT, the
            serial number of a probe, a drive's folder, USER@HOST. Each route says which.
        serial: the serial port of the device program, where it is not the route's own.
        transport: one of `targets.TRANSPORTS`; None is the board's first that the route carries.
        program: the ELF file that is expected to run there, where that is known: for the place of
            RTT's control block and the names of functions.
    """

    route: str | None = None
    port: str | None = None
    serial: str | None = None
    transport: str | None = None
    program: str | None = None


class Route(ABC):
    """A way to a board's flash and to the program that runs there; use it in a ``with`` statement.

    `connect` is called on entering and must leave the CPU where flash can be programmed. Every
    method raises EdgekitError E604 where the connection breaks, after which the route is closed
    and only a new one can go on; no other method may be called before `connect` or after `close`.
    """

    #: What `--route` and the board files call it: the module's name with dashes.
    name: ClassVar[str]
    #: Against what its tests run, in a sentence that users see.
    proven: ClassVar[str]
    #: How `verify` knows that flash is right, after a number of bytes.
    verified: ClassVar[str] = "read back and equal"
    #: What a connection that breaks leaves behind.
    broken: ClassVar[str] = "the flash is incomplete"
    #: What it can carry between host and program.
    transports: ClassVar[tuple[str, ...]] = ("uart",)
    #: By how much longer than others its boards may take to answer.
    patience: ClassVar[int] = 1
    #: Bytes of one `write` or `read` of flash; progress is shown after each.
    step: ClassVar[int] = STEP
    #: What flash programs at once: `write` gets whole multiples of it, at multiples of it. A power
    #: of two; a route that learns it from the board sets it in `connect`.
    unit: int = 1

    def __init__(self, board: Board, access: Access) -> None:
        self.board, self.access = board, access
        carried = (t for t in board.transports if t in self.transports)
        self.transport = access.transport or next(carried, board.transports[0])
        #: Told how many bytes of the `write` or `read` that runs are done, by routes that know.
        self.during: Callable[[int], None] = lambda _bytes: None

    @abstractmethod
    def connect(self) -> None:
        """Reach the board and stop whatever keeps flash from being written."""

    def arrange(self, image: FlashImage) -> FlashImage:
        """What is erased and written for an image: whole `unit`s; nothing of it may be lost."""
        return image.aligned(self.unit)

    @abstractmethod
    def erase(self, address: int, size: int) -> None:
        """Erase at least [address, address + size), in the flash's own units."""

    @abstractmethod
    def write(self, address: int, data: bytes) -> None:
        """Program erased flash."""

    @abstractmethod
    def read(self, address: int, size: int) -> bytes:
        """Read back what is in flash now: never what was sent."""

    @abstractmethod
    def reset(self) -> None:
        """Start the program that is in flash."""

    @abstractmethod
    def stream(self, elf: Path | None = None) -> Link:
        """Bytes to and from the running device program; may be called without `connect`.

        Args:
            elf: on emulated boards, a program to run instead of what was flashed, which stays.
        """

    def verify(self, image: FlashImage, tell: Callable[[int], None]) -> FlashImage:
        """Read everything back and compare; returns what was read.

        A route whose protocol cannot read compares checksums that the device has computed.

        Args:
            tell: called with the number of bytes that were just read.

        Raises:
            EdgekitError: E605 with the first address that differs and both bytes.
        """
        segments = []
        for address, data in image.segments:
            found = b""
            while len(found) < len(data):
                part = self.read(address + len(found), min(self.step, len(data) - len(found)))
                if not part:
                    break  # `compare` says where it ends
                found += part
                tell(len(part))
            compare(address, data, found)
            segments.append((address, found))
        return replace(image, segments=tuple(segments))

    def keep(self, stored: FlashImage) -> None:  # noqa: B027 - nothing to do for most
        """Called with what was read back equal; emulated boards keep it for the next command."""

    def close(self) -> None:  # noqa: B027 - nothing to do for some
        """Give the connection up. May be called at any time and more than once."""

    def __enter__(self) -> Route:
        try:
            self.connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, _t: type[BaseException] | None, _e: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.close()
