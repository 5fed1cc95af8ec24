"""Peers: programs that speak a route's protocol from the board's side, and their proofs.

One file each. A peer's file has ``PROOFS``, a tuple of `Proof`; tests/devices/routes/test_proofs.py
runs them all, so that a new route needs no line anywhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edgekit.devices.routes import Access
from targets import Board, Region, board

#: Every proof is run in these: all well; a byte of flash or of the line is wrong; the line is cut.
VARIANTS = ("whole", "corrupted", "cut")


class Peer(Protocol):
    """A board that a route can flash, seen from behind."""

    board: Board
    access: Access

    def content(self, address: int, size: int) -> bytes:
        """What is in its flash, looked at past the protocol."""

    def mend(self) -> None:
        """No more corruption and no more cuts; flash stays as it is."""


Start = Callable[[Path, str], AbstractContextManager[Peer]]


@dataclass(frozen=True)
class Proof:
    """That a route works against a peer, and notices when the peer does not.

    Attributes:
        name: for the test's id; the route's own where there is one proof.
        start: ``start(folder, variant)`` with a variant of `VARIANTS` makes a peer; the folder is
            its own. "corrupted" must damage what `segments` flashes, "cut" must break off in the
            middle, each time until `mend` is called.
        commands: programs from outside that it needs (``apt``).
        segments: what is flashed, for a board.
        caught: codes of errors that "corrupted" may end with.
        program: ``program(board)`` is an ELF file to flash, where drawn segments will not do.
        variants: those of `VARIANTS` that make sense.
    """

    route: str
    start: Start
    name: str = ""
    commands: tuple[str, ...] = ()
    segments: Callable[[Board], list[tuple[int, bytes]]] = lambda on: image(on.flash.start)
    caught: tuple[str, ...] = ("E605",)
    program: Callable[[Board], Path] | None = None
    variants: tuple[str, ...] = VARIANTS


def proofs() -> list[Proof]:
    """The proofs of all files in this folder, by name."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in _files())
    found = [proof for module in modules for proof in getattr(module, "PROOFS", ())]
    return sorted(found, key=lambda proof: proof.name or proof.route)


def _files() -> list[pkgutil.ModuleInfo]:
    return [m for m in pkgutil.iter_modules(__path__) if not m.ispkg]


def image(start: int, size: int = 2345) -> list[tuple[int, bytes]]:
    """Two segments of drawn bytes with a gap between them, of no round size."""
    draw = random.Random(size)
    return [(start, draw.randbytes(size)), (start + size + 1111, draw.randbytes(257))]


def peer_board(
    route: str,
    start: int,
    size: int,
    *,
    based_on: str = "virtual-cortex-m4",
    settings: dict[str, str | int] | None = None,
    **changes: object,
) -> Board:
    """A board with one route and one flash region, otherwise as the board `based_on`."""
    like = board(based_on)
    return replace(
        like,
        name="peer",
        routes=(route,),
        regions=(Region("FLASH", "flash", start, size), like.ram),
        settings={route: settings} if settings else {},
        **changes,  # type: ignore[arg-type]
    )


def write_elf(path: Path, segments: list[tuple[int, bytes]]) -> Path:
    """An ELF file (32 bits, Arm) that has these segments and nothing else."""
    header, entry = 52, 32
    at = header + entry * len(segments)
    table = body = b""
    for address, data in segments:
        offset = at + len(body)
        table += struct.pack("<8I", 1, offset, address, address, len(data), len(data), 5, 4)
        body += data
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    fields = (2, 40, 1, segments[0][0], header, 0, 0, header, entry, len(segments), 40, 0, 0)
    path.write_bytes(ident + struct.pack("<HHIIIIIHHHHHH", *fields) + table + body)
    return path
