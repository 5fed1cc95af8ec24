"""Which output folders go into one library, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgekit.devices.find import find_target
from edgekit.errors import EdgekitError
from edgekit.output import Output, open_output
from edgekit.version import __version__
from targets import Target


def opened(folders: Sequence[Path]) -> list[Output]:
    """The folders, all of one model, each for another CPU of one architecture under Linux; the one
    that asks for the most comes first.

    Raises:
        EdgekitError: E371 to E374 where they do not go together; E70x from reading.
    """
    found = [open_output(Path(path)) for path in folders]
    for folder in found:
        target = find_target(folder.target)
        if target.port != "linux":
            raise EdgekitError(
                "E373",
                f"'{folder.path}' is compiled for {target.name}, which has no Linux",
                help="edgekit export makes packages for boards; edgekit targets lists CPUs",
            )
    first = found[0]
    for folder in found[1:]:
        _check_pair(first, folder)
    targets: dict[str, Output] = {}
    for folder in found:
        other = targets.setdefault(folder.target, folder)
        if other is not folder:
            raise EdgekitError(
                "E372",
                f"'{other.path}' and '{folder.path}' are both for {folder.target}",
                help="one folder for each CPU",
            )
    return sorted(found, key=lambda f: _rank(find_target(f.target), list(targets)))


def _check_pair(first: Output, folder: Output) -> None:
    a, b = find_target(first.target), find_target(folder.target)
    if a.architecture != b.architecture:
        raise EdgekitError(
            "E373",
            f"'{first.path}' is for {a.architecture} ({a.name}), '{folder.path}' for "
            f"{b.architecture} ({b.name})",
            help="make one library for each architecture",
        )
    versions = [str(f.description.get("edgekit", "unknown")) for f in (first, folder)]
    if versions[0] != versions[1]:
        raise EdgekitError(
            "E374",
            f"'{first.path}' was compiled by edgekit {versions[0]}, '{folder.path}' by "
            f"{versions[1]}",
            help=f"compile both with one version; this is {__version__}",
        )
    if first.name != folder.name:
        raise EdgekitError(
            "E371",
            f"'{first.path}' is model '{first.name}', '{folder.path}' is model '{folder.name}'",
            help="a library holds one model; edgekit join is for several",
        )
    if _text(first) != _text(folder):
        raise EdgekitError(
            "E371",
            f"'{first.path}' and '{folder.path}' have model '{first.name}' with different numbers",
            help="compile both from one file with the same calibration data and options",
        )


def _text(folder: Output) -> str:
    """The model's integers, without what depends on the target."""
    from edgekit.text import dumps

    return dumps(folder.graph)


def _rank(target: Target, others: Sequence[str]) -> tuple[int, int, int, bool, str]:
    """Best first: a CPU that runs the others' programs too is before them. What a GPU's target has
    for the CPU comes after what is as good and made for it."""
    below = sum(name in target.runs_too for name in others)
    return -below, -len(target.hwcaps), -len(target.families), target.gpu, target.name
