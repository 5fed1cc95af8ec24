"""Boards and targets by name, for users: an unknown name is an error with a suggestion.

A user's own boards are files in the folder that EDGEKIT_BOARDS names, or a path in place of a name.
"""

from __future__ import annotations

import os
from pathlib import Path

import targets
from edgekit.errors import EdgekitError, did_you_mean
from targets import Board, Target, TargetFileError, UnknownName


def all_boards() -> dict[str, Board]:
    """The boards of edgekit and those in the folder EDGEKIT_BOARDS, by name.

    Raises:
        EdgekitError: E510 where a file breaks the rules, E513 where the folder is missing or has a
            board of a name that is taken.
    """
    found = dict(targets.boards())
    place = os.environ.get("EDGEKIT_BOARDS")
    if not place:
        return found
    folder = Path(place)
    if not folder.is_dir():
        raise EdgekitError("E513", f"EDGEKIT_BOARDS: no such folder: {folder}")
    for path in sorted(folder.glob("*.toml")):
        board = board_of_file(path)
        if board.name in found:
            raise EdgekitError(
                "E513",
                f"EDGEKIT_BOARDS: {path} has the name of a board of edgekit, '{board.name}'",
                help="give it another name, or pass its path with --board",
            )
        found[board.name] = board
    return found


def board_of_file(path: Path) -> Board:
    """The board in a TOML file; raises EdgekitError E510 with the key that is wrong."""
    try:
        return targets.load_board(path, targets.targets())
    except OSError as error:
        raise EdgekitError(
            "E510", f"cannot read board file '{path}': {error.strerror or error}"
        ) from None
    except UnicodeDecodeError as error:
        raise EdgekitError(
            "E510",
            f"board file {path}: byte {error.start} is not UTF-8",
            help="docs/ADDING_A_BOARD.md has every key",
        ) from None
    except TargetFileError as error:  # begins with the file's name
        raise EdgekitError(
            "E510",
            f"board file {path.parent}{os.sep}{error}",
            help="docs/ADDING_A_BOARD.md has every key",
        ) from None


def find_board(name: str) -> Board:
    """The board called `name`, or in the file `name` where that is a path ending in ``.toml``.

    Raises:
        EdgekitError: E601 where there is none of that name, E510 and E513 as in `all_boards`.
    """
    if name.endswith(".toml"):
        return board_of_file(Path(name))
    known = all_boards()
    if name not in known:
        raise _unknown("E601", UnknownName("board", name, tuple(known)))
    return known[name]


def check_board(board: Board) -> None:
    """What only shows when a board is used: names of routes, their settings, the UART's driver.

    Raises:
        EdgekitError: E601 an unknown route, E507 no driver for the UART, E639 and others for a
            setting that is wrong.
    """
    from edgekit.devices.firmware.build import driver, firmware_folder
    from edgekit.devices.routes import Access, open_route

    if board.packages_only:
        return
    for route in board.routes:
        open_route(board, Access(route=route))
    if not board.linux:
        for transport in board.transports:
            driver(firmware_folder() / "ports", board, transport)


def find_target(name: str) -> Target:
    """The target called `name`; raises EdgekitError E301."""
    try:
        return targets.target(name)
    except UnknownName as error:
        raise _unknown("E301", error) from None


def _unknown(code: str, error: UnknownName) -> EdgekitError:
    hint = did_you_mean(error.name, list(error.known))
    return EdgekitError(code, f"unknown {error.kind} '{error.name}'", help=hint)
