"""Files of what was measured, put to the build that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from edgekit.errors import EdgekitError
from edgekit.htmlreport.decode import decode, read_json
from edgekit.htmlreport.facts import Facts
from edgekit.htmlreport.measured import Energy, Profile

M = TypeVar("M", Profile, Energy)


def with_profiles(facts: Facts, paths: Sequence[Path]) -> Facts:
    """The same with what `edgekit profile --json` wrote.

    Raises:
        EdgekitError: E742 where a file is no profile, E743 where it is another model's.
    """
    found = [_read(facts, Profile, path, "profile OUT --board B") for path in paths]
    return replace(facts, profiles=(*facts.profiles, *found))


def with_energies(facts: Facts, paths: Sequence[Path]) -> Facts:
    """The same with what `edgekit energy --json` wrote.

    Raises:
        EdgekitError: E742 where a file is something else, E743 where it is another model's.
    """
    found = [_read(facts, Energy, path, "energy PROFILE TRACE") for path in paths]
    return replace(facts, energies=(*facts.energies, *found))


def _read(facts: Facts, kind: type[M], path: Path, command: str) -> M:
    try:
        value = read_json(path)
        if isinstance(value, dict):
            value = {**value, "file": path.name}
        measured = decode(kind, value)
    except OSError as error:
        raise EdgekitError(
            "E742", f"cannot read {path}: {error.strerror or error}", help="check the path"
        ) from None
    except ValueError as error:
        what = command.split()[0]
        raise EdgekitError(
            "E742",
            f"{path} is not a file of edgekit {what} --json: {error}",
            help=f"edgekit {command} --json FILE writes one",
        ) from None
    here = [layer.name for layer in facts.layers]
    there = [layer.name for layer in measured.layers]
    if here != there:
        pairs = enumerate(zip(here, there, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), min(len(here), len(there)))
        raise EdgekitError(
            "E743",
            f"{path} has {len(there)} layers, '{facts.name}' has {len(here)}, and they are not the "
            "same ones",
            details=[f"layer {at}: {_at(here, at)} in the build, {_at(there, at)} in the file"],
            help=f"measure this build: edgekit {command} --json {path}",
        )
    if measured.hash and facts.hash and measured.hash != facts.hash:
        raise EdgekitError(
            "E743",
            f"{path} was measured with model {measured.hash}, '{facts.name}' is {facts.hash}: "
            "compiled otherwise, or for another target",
            help=f"measure this build: edgekit {command} --json {path}",
        )
    return measured


def _at(names: list[str], i: int) -> str:
    return f"'{names[i][:80]}'" if i < len(names) else "nothing"
