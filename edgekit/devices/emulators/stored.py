"""What an emulated board has in its flash between two commands: a file.

It holds what was *read back* from the machine, not what was sent. A command has the board for
itself, as it would have a board on a cable, from looking at what it runs to the last answer.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from edgekit.devices.firmware.image import FlashImage, load_image, save_image
from edgekit.errors import EdgekitError
from targets import EMULATORS, Board

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

#: Seconds between two looks whether another process is done with the board.
_LOOK = 0.05


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


def keep(board: Board, image: FlashImage) -> None:
    """Keep what was read back; raises EdgekitError E613 where it cannot be written."""
    try:
        save_image(image, image_path(board))
    except OSError as error:
        raise EdgekitError(
            "E613",
            f"cannot keep the flash content in {image_path(board)}: {error.strerror}",
            help="set EDGEKIT_STATE_DIR to a folder that can be written",
        ) from error


def flashed_image(board: Board) -> FlashImage:
    """An emulated board's flash content; raises EdgekitError E606 where it was never flashed."""
    path = image_path(board)
    if not path.exists():
        raise not_flashed(board)
    return load_image(path)


def not_flashed(board: Board) -> EdgekitError:
    """E606."""
    return EdgekitError(
        "E606",
        f"nothing has been flashed to '{board.name}' yet",
        help=f"edgekit flash OUT --board {board.name}",
    )


class _Claim:
    """A board's lock within this process: one thread's, which may take it again."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.depth = 0


_claims: dict[Path, _Claim] = {}


@contextmanager
def exclusive(
    board: Board, route: str, waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Keep other commands on this machine away from a board whose flash is under `state_dir`.

    Without it, of two commands that flash different models at once one finds the other's (E621).
    Does nothing on routes to other boards, and where that folder cannot be written: nothing can be
    flashed there. The operating system frees the lock of a process however it ends.

    Args:
        waiting: called once where another process has the board.
    """
    if route not in (*EMULATORS, "local"):
        yield
        return
    path = state_dir().absolute() / board.name / "lock"
    claim = _claims.setdefault(path, _Claim())
    with claim.mutex:
        claim.depth += 1
        try:
            with _locked(path, waiting) if claim.depth == 1 else nullcontext():
                yield
        finally:
            claim.depth -= 1


@contextmanager
def _locked(path: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError:
        yield
        return
    with file:
        while not _try_lock(file):
            if waiting is not None:
                waiting()
                waiting = None
            time.sleep(_LOOK)
        yield


def _try_lock(file: BinaryIO) -> bool:
    """Closing the file, or the end of the process, gives it back."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
