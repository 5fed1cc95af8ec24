"""Boards and targets by name, for users: an unknown name is an error with a suggestion."""

from __future__ import annotations

import targets
from edgekit.errors import EdgekitError, did_you_mean
from targets import Board, Target, UnknownName


def find_board(name: str) -> Board:
    """The board called `name`; raises EdgekitError E601."""
    try:
        return targets.board(name)
    except UnknownName as error:
        raise _unknown("E601", error) from None


def find_target(name: str) -> Target:
    """The target called `name`; raises EdgekitError E301."""
    try:
        return targets.target(name)
    except UnknownName as error:
        raise _unknown("E301", error) from None


def _unknown(code: str, error: UnknownName) -> EdgekitError:
    hint = did_you_mean(error.name, list(error.known))
    return EdgekitError(code, f"unknown {error.kind} '{error.name}'", help=hint)
