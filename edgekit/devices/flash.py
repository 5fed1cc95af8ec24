"""Writing a program into a board's flash, read back and compared byte by byte.

An emulated board has no flash of its own between two commands: its content is kept as a file, and
what is kept is what was *read back* from the machine, not what was sent.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.gdb import compare
from edgekit.devices.image import FlashImage, load_elf, load_image, save_image
from edgekit.devices.machine import Machine
from edgekit.devices.qemu import QemuMachine
from edgekit.errors import EdgekitError
from targets import Board

Progress = Callable[[int, int], None]
_STEP = 65536


@dataclass(frozen=True)
class FlashReport:
    """What was flashed: bytes written, bytes read back equal, and seconds on the host."""

    board: str
    bytes: int
    verified: int
    seconds: float
    route: str


def state_dir() -> Path:
    """``$EDGEKIT_STATE_DIR``, or the platform's folder for state with "edgekit/boards" in it."""
    chosen = os.environ.get("EDGEKIT_STATE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "edgekit" / "boards"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "edgekit" / "boards"
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "edgekit" / "boards"


def image_path(board: Board) -> Path:
    """Where an emulated board's flash content is kept."""
    return state_dir() / board.name / "flash.img"


def flash(board: Board, elf: Path, progress: Progress | None = None) -> FlashReport:
    """Program `elf` into the board's flash and verify every byte.

    Args:
        progress: called with (bytes done, bytes in all) while writing and reading back.

    Raises:
        EdgekitError: E506 not an ELF file, E610 built for another board, E602 and E603 no QEMU,
            E604 the link broke, E605 verification failed. The board's old content is kept then.
    """
    image = load_elf(elf)
    image.check_fits(board)
    start = time.monotonic()
    program = _program_qemu if board.route == "qemu-gdb" else _program_virtual
    stored = program(board, image, progress or (lambda _done, _all: None))
    try:
        save_image(stored, image_path(board))
    except OSError as error:
        raise EdgekitError(
            "E613",
            f"cannot keep the flash content in {image_path(board)}: {error.strerror}",
            help="set EDGEKIT_STATE_DIR to a folder that can be written",
        ) from error
    seconds = time.monotonic() - start
    return FlashReport(board.name, image.bytes, stored.bytes, seconds, board.route)


def flashed_image(board: Board) -> FlashImage:
    """An emulated board's flash content; raises EdgekitError E606 where it was never flashed."""
    path = image_path(board)
    if not path.exists():
        raise EdgekitError(
            "E606",
            f"nothing has been flashed to '{board.name}' yet",
            help=f"edgekit flash OUT --board {board.name}",
        )
    return load_image(path)


def _program_qemu(board: Board, image: FlashImage, progress: Progress) -> FlashImage:
    with QemuMachine(board) as machine:
        return program(image, machine.gdb.write, machine.gdb.read, progress)


def _program_virtual(board: Board, image: FlashImage, progress: Progress) -> FlashImage:
    machine = Machine(board.target, board.regions)
    return program(image, machine.write, machine.read, progress)


def program(
    image: FlashImage,
    write: Callable[[int, bytes], None],
    read: Callable[[int, int], bytes],
    progress: Progress,
) -> FlashImage:
    """Write all segments, then read all back and compare; returns the image as read."""
    done, total = 0, 2 * image.bytes
    for address, data in image.segments:
        for at in range(0, len(data), _STEP):
            write(address + at, data[at : at + _STEP])
            done += len(data[at : at + _STEP])
            progress(done, total)
    segments = []
    for address, data in image.segments:
        found = b""
        while len(found) < len(data):
            part = read(address + len(found), min(_STEP, len(data) - len(found)))
            found += part
            done += len(part)
            progress(done, total)
        compare(address, data, found)
        segments.append((address, found))
    return FlashImage(tuple(segments), image.functions)
