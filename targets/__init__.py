"""CPU targets and boards: one TOML file each, found by being in the folder.

`targets()` and `boards()` list them, `target(name)` and `board(name)` look one up. A file that is
wrong raises `TargetFileError` with the file, the key and what was expected.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from targets.load import load_board, load_target
from targets.model import (
    EMULATORS,
    TRANSPORTS,
    USUAL_TRANSPORTS,
    Board,
    Peripheral,
    Qemu,
    Region,
    Step,
    Target,
    TargetFileError,
    Trigger,
    UnknownName,
)

__all__ = [
    "EMULATORS",
    "TRANSPORTS",
    "USUAL_TRANSPORTS",
    "Board",
    "Peripheral",
    "Qemu",
    "Region",
    "Step",
    "Target",
    "TargetFileError",
    "Trigger",
    "UnknownName",
    "board",
    "boards",
    "load_board",
    "load_target",
    "target",
    "targets",
]

_FOLDER = Path(__file__).parent


@cache
def targets() -> dict[str, Target]:
    """All targets by name, in the order of their names."""
    found = [load_target(p) for p in sorted(_FOLDER.glob("*.toml"))]
    return {t.name: t for t in found}


@cache
def boards() -> dict[str, Board]:
    """All boards by name, in the order of their names."""
    found = [load_board(p, targets()) for p in sorted((_FOLDER / "boards").glob("*.toml"))]
    return {b.name: b for b in found}


def target(name: str) -> Target:
    """The target called `name`; raises `UnknownName` with the known names."""
    if name not in targets():
        raise UnknownName("target", name, tuple(targets()))
    return targets()[name]


def board(name: str) -> Board:
    """The board called `name`; raises `UnknownName` with the known names."""
    if name not in boards():
        raise UnknownName("board", name, tuple(boards()))
    return boards()[name]
