"""Drives that bootloaders offer: folders with an INFO_UF2.TXT in them."""

from __future__ import annotations

import os
import re
import string
import sys
from pathlib import Path

from edgekit.errors import EdgekitError
from targets import Board

INFO = "INFO_UF2.TXT"


def find_drive(board: Board, port: str | None, board_id: str) -> Path:
    """The drive of a board's bootloader.

    Args:
        port: the folder that the user named; None to look through what is mounted.
        board_id: the "Board-ID" that its INFO_UF2.TXT must have; empty for any.

    Raises:
        EdgekitError: E637 where not exactly one drive fits, or the folder is none; E634 where the
            named drive is another board's.
    """
    if port is not None:
        drive = Path(port)
        found = identity(drive)
        if found is None:
            raise EdgekitError(
                "E637",
                f"'{port}' is no drive of a UF2 bootloader: it has no {INFO}",
                help="start the bootloader (BOOTSEL, or reset pressed twice) and mount its drive",
            )
        if board_id and found != board_id:
            raise EdgekitError(
                "E634",
                f"the drive '{port}' is of '{found}', board '{board.name}' has '{board_id}': "
                "nothing was written",
            )
        return drive
    present = [(drive, identity(drive)) for drive in mounted()]
    drives = [(drive, found) for drive, found in present if found is not None]
    fitting = [drive for drive, found in drives if not board_id or found == board_id]
    if len(fitting) == 1:
        return fitting[0]
    raise EdgekitError(
        "E637",
        f"{len(fitting) or 'no'} drives of board '{board.name}' ({board_id or 'any UF2 drive'}) "
        "are mounted",
        details=[f"{drive}: {found}" for drive, found in drives],
        help="name the drive's folder with --port"
        if fitting
        else "start the bootloader (BOOTSEL held while plugging in, or reset pressed twice), "
        "mount its drive, or name its folder with --port",
    )


def identity(drive: Path) -> str | None:
    """The "Board-ID" of a drive; empty where it says none, None where it is no UF2 drive."""
    try:
        text = (drive / INFO).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^Board-ID:\s*(.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


def block_device(drive: Path, devices: Path = Path("/sys/dev/block")) -> Path | None:
    """What Linux shows of a drive's device for as long as it is plugged in; None elsewhere.

    A drive that was pulled may stay mounted, with its files in memory.
    """
    try:
        number = drive.stat().st_dev
    except OSError:
        return None
    shown = devices / f"{os.major(number)}:{os.minor(number)}" if hasattr(os, "major") else None
    return shown if shown is not None and shown.exists() else None


def mounted(table: Path = Path("/proc/mounts")) -> list[Path]:
    """Folders at which drives may be mounted, by platform."""
    if sys.platform == "win32":
        return [Path(f"{letter}:/") for letter in string.ascii_uppercase]
    if sys.platform == "darwin":
        return sorted(Path("/Volumes").iterdir())
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return []
    fields = [line.split() for line in lines]
    return [
        Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), part[1]))
        for part in fields
        if len(part) > 2 and part[2] in ("vfat", "msdos", "fuseblk")
    ]
