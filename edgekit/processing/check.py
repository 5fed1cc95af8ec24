"""Messages on settings that make no sense, alike for all steps."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any

from edgekit.errors import EdgekitError


def shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    return reprlib.repr(value)


def refuse(step: str, mistakes: Iterable[str], code: str = "E181") -> None:
    """Raise for the first of the mistakes, with the others as details; nothing for none."""
    found = list(mistakes)
    if found:
        raise EdgekitError(
            code,
            f"{step}: {found[0]}",
            details=found[1:],
            help="docs/PROCESSING.md has every setting with its unit",
        )


def number(step: str, name: str, value: Any, least: float, most: float, *, whole: bool) -> None:
    """Refuse what is no number between two limits (both allowed)."""
    kinds = int if whole else (int, float)
    ok = isinstance(value, kinds) and not isinstance(value, bool) and least <= value <= most
    if not ok:
        kind = "a whole number" if whole else "a number"
        refuse(step, [f"{name} is {shown(value)}, {kind} from {least:g} to {most:g} is needed"])


def flag(step: str, name: str, value: Any) -> None:
    if not isinstance(value, bool):
        refuse(step, [f"{name} is {shown(value)}, true or false is needed"])


def word(step: str, name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        refuse(step, [f"{name} is {shown(value)}, a name is needed"])


def choice(step: str, name: str, value: Any, known: tuple[str, ...]) -> None:
    from edgekit.errors import did_you_mean

    if value not in known:
        raise EdgekitError(
            "E181", f"{step}: {name} is {shown(value)}", help=did_you_mean(str(value), list(known))
        )
