"""Everything that is known of a build: from its output folder, profiles, or an earlier report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.htmlreport.decode import decode, read_json
from edgekit.htmlreport.facts import FORMAT, KIND, Facts
from edgekit.htmlreport.measurements import with_energies, with_profiles
from edgekit.htmlreport.network import network
from edgekit.htmlreport.occupancy import occupancy
from edgekit.output import BUNDLE, GRAPH, MARKER, Output, open_output


@dataclass(frozen=True)
class _Sqnr:
    by: dict[str, float | None]


def gather(folder: Output, profiles: Sequence[Path] = (), energies: Sequence[Path] = ()) -> Facts:
    """What the output folder knows, with files of what was measured of the same build.

    Raises:
        EdgekitError: E741 for a folder whose edgekit.json has no report that can be read, E742 and
            E743 for a file that cannot be read or is another model's; E40x and E702 for a bundle
            that is damaged or missing, E752 for one that edgekit.json does not describe.
    """
    about = folder.description
    report = about.get("report")
    where = folder.path / MARKER
    if not isinstance(report, dict):
        raise _unreadable(where, "it has no report")
    known = {k: about[k] for k in ("model", "hash", "edgekit", "compiler") if k in about}
    gaps = _of_the_bundle(folder)
    if "buffers" not in report:
        gaps.append(
            "No memory plan: an older edgekit compiled this folder. Compile again to see RAM "
            "over time."
        )
    if about.get("joint"):
        gaps.append(
            "This model shares its arena with others (edgekit join): their states lie there too, "
            "and are not drawn."
        )
    if report.get("not_measured"):
        gaps.append(f"Nothing was measured when this was compiled: {report['not_measured']}")
    if not report.get("sqnr_db"):
        gaps.append(
            "No quantization error: the model came quantized, or was left in float; there are "
            "not two networks to compare."
        )
    try:
        facts = decode(Facts, {**report, **known})
        sqnr: dict[str, float | None] = decode(_Sqnr, {"by": report.get("sqnr_db") or {}}).by
        facts = _with_graph(facts, folder, sqnr, gaps)
        facts = replace(facts, gaps=tuple(gaps))
    except ValueError as error:
        raise _unreadable(where, str(error)) from None
    return with_energies(with_profiles(facts, profiles), energies)


def _of_the_bundle(folder: Output) -> list[str]:
    """Hold the bundle against the report: figures of what cannot run are no build's.

    Returns a sentence where it is an older edgekit's, whose report still stands.
    """
    try:
        found = folder.bundle.hash.hex()
    except EdgekitError as error:
        if error.code != "E403":
            raise
        return [f"The bundle was not looked at: {error.message}"]
    said = folder.description.get("hash")
    if found != said:
        raise EdgekitError(
            "E752",
            f"{folder.path / BUNDLE} is {found[:16]}, {folder.path / MARKER} describes "
            f"{str(said)[:16]}: they are of different compilations",
            help="compile again",
        )
    return []


def arena_in_use(folder: Output) -> tuple[int, ...]:
    """Bytes of the arena in use during each call, () where the folder has no memory plan.

    Raises:
        EdgekitError: E741 as `gather`.
    """
    if "buffers" not in (folder.description.get("report") or {}):
        return ()
    facts = gather(folder)
    return occupancy(facts.buffers or (), len(facts.layers)).occupied


def _unreadable(where: Path, why: str) -> EdgekitError:
    return EdgekitError("E741", f"{where} cannot be reported on: {why}", help="compile again")


def _with_graph(
    facts: Facts, folder: Output, sqnr: dict[str, float | None], gaps: list[str]
) -> Facts:
    """The graph's boxes, and of each layer its result and how close that is to float."""
    try:
        graph = folder.graph
    except EdgekitError as error:
        gaps.append(f"No graph: {error.message}")
        return facts
    found = network(graph, [layer.name for layer in facts.layers])
    if found.unmatched:
        names = ", ".join(f"'{facts.layers[i].name}'" for i in found.unmatched[:5])
        gaps.append(
            f"{len(found.unmatched)} kernel calls are no nodes of {GRAPH} and stand apart: {names}"
        )
    layers = []
    for i, layer in enumerate(facts.layers):
        value = found.results.get(i)
        if value is not None:
            layer = replace(layer, tensor=value.name, dtype=value.dtype)
        layers.append(replace(layer, sqnr_db=sqnr.get(layer.tensor)))
    return replace(facts, layers=tuple(layers), nodes=found.nodes, edges=found.edges)


def open_other(path: Path) -> Facts:
    """The other build of a comparison: an output folder, or what `edgekit report --json` wrote.

    Raises:
        EdgekitError: E701 for a folder that is not ours, E744 for a file that is no such JSON;
            for a folder also as `gather`.
    """
    if path.is_dir():
        return gather(open_output(path))
    try:
        return read_facts(read_json(path))
    except OSError as error:
        raise EdgekitError(
            "E744", f"cannot read '{path}': {error.strerror or error}", help="check the path"
        ) from None
    except ValueError as error:
        raise EdgekitError(
            "E744",
            f"{path} is not a report: {error}",
            help="--against takes an output folder, or a file of edgekit report --json",
        ) from None


def read_facts(value: Any) -> Facts:
    """The inverse of `Facts.as_json`.

    Raises:
        ValueError: says what is wrong.
    """
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise ValueError(f'it has no "kind": "{KIND}"')
    if value.get("format") != FORMAT:
        raise ValueError(f"its format is {value.get('format')!r}, this edgekit reads {FORMAT}")
    return decode(Facts, value)
