"""Boards and targets by name, for users: an unknown name is an error with a suggestion.

A user's own boards are files in the folder that EDGEKIT_BOARDS names, or a path in place of a name.
The folder EDGEKIT_TARGETS has targets of one's own, and boards of theirs in its folder ``boards``.
"""

from __future__ import annotations

import os
from pathlib import Path

import targets
from edgekit.errors import EdgekitError, did_you_mean
from targets import Board, Target, TargetFileError, UnknownName


def all_boards() -> dict[str, Board]:
    """The boards of edgekit and those in the folders EDGEKIT_BOARDS and EDGEKIT_TARGETS/boards.

    Raises:
        EdgekitError: E510 where a file breaks the rules, E513 where the folder is missing or has a
            board of a name that is taken, and as in `all_targets`.
    """
    found = dict(targets.boards())
    beside = _folder("EDGEKIT_TARGETS", "E409")
    places = {
        "EDGEKIT_BOARDS": _folder("EDGEKIT_BOARDS", "E513"),
        "EDGEKIT_TARGETS": beside / "boards" if beside else None,
    }
    for variable, folder in places.items():
        for path in sorted(folder.glob("*.toml")) if folder else ():
            board = board_of_file(path)
            if board.name in found:
                whose = "a board of edgekit" if board.name in targets.boards() else "another board"
                raise EdgekitError(
                    "E513",
                    f"{variable}: {path} has the name of {whose}, '{board.name}'",
                    help="give it another name, or pass its path with --board",
                )
            found[board.name] = board
    return found


def _folder(variable: str, code: str) -> Path | None:
    """The folder that an environment variable names, None where it is not set."""
    place = os.environ.get(variable)
    if not place:
        return None
    if not Path(place).is_dir():
        raise EdgekitError(
            code, f"{variable}: no such folder: {place}", help="make it, or unset the variable"
        )
    return Path(place)


def all_targets() -> dict[str, Target]:
    """The targets of edgekit and those in the folder EDGEKIT_TARGETS, by name.

    Raises:
        EdgekitError: E408 where a file breaks the rules, E409 where the folder is missing or has a
            target of edgekit's name.
    """
    found = dict(targets.targets())
    folder = _folder("EDGEKIT_TARGETS", "E409")
    for path in sorted(folder.glob("*.toml")) if folder else ():
        if path.stem in found:
            raise EdgekitError(
                "E409",
                f"EDGEKIT_TARGETS: {path} has the name of a target of edgekit, '{path.stem}'",
                help="give it another name",
            )
        found[path.stem] = target_of_file(path)
    return found


def target_of_file(path: Path) -> Target:
    """The target in a TOML file; raises EdgekitError E408 with the key that is wrong."""
    try:
        found = targets.load_target(path)
        _check_names(path, found)
    except OSError as error:
        why = f"cannot read target file '{path}': {error.strerror or error}"
    except UnicodeDecodeError as error:
        why = f"target file {path}: byte {error.start} is not UTF-8"
    except TargetFileError as error:  # begins with the file's name
        why = f"target file {path.parent}{os.sep}{error}"
    else:
        return found
    raise EdgekitError("E408", why, help="docs/ADDING_A_TARGET.md has every key")


def _check_names(path: Path, found: Target) -> None:
    """What edgekit's own targets have right: names of things that are looked up later."""
    from edgekit.devices.emulators.cores import CORES
    from edgekit.devices.emulators.cycles import CYCLE_MODELS

    ours = targets.targets().values()
    known = {
        "cycle_model": (found.cycle_model, CYCLE_MODELS),
        "unicorn_cpu": (found.unicorn_cpu, ("", *CORES)),
        **{f"families[{i}]": (f, {f for t in ours for f in t.families})
           for i, f in enumerate(found.families)},
    }  # fmt: skip
    for key, (value, allowed) in known.items():
        if value not in allowed:
            raise TargetFileError(
                f"{path.name}: '{key}' is '{value}', must be one of: "
                f"{', '.join(sorted(filter(None, allowed)))}"
            )


def board_of_file(path: Path) -> Board:
    """The board in a TOML file; raises EdgekitError E510 with the key that is wrong."""
    try:
        return targets.load_board(path, all_targets())
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
    """The target called `name`; raises EdgekitError E301, and as in `all_targets`."""
    known = all_targets()
    if name not in known:
        raise _unknown("E301", UnknownName("target", name, tuple(known)))
    return known[name]


def _unknown(code: str, error: UnknownName) -> EdgekitError:
    hint = did_you_mean(error.name, list(error.known))
    return EdgekitError(code, f"unknown {error.kind} '{error.name}'", help=hint)
