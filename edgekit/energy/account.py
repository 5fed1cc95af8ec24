"""Energy and average current of each layer, over the runs in a trace."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from edgekit.energy.edges import PLACED, SEEN, UNKNOWN, Edges, Timing, find_runs
from edgekit.energy.trace_file import PowerTrace
from edgekit.errors import EdgekitError

#: Samples in a layer by how its ends are known: seen, to one sample together, that is 10 %; placed,
#: to two samples each.
FEWEST = {SEEN: 10, PLACED: 30}


@dataclass(frozen=True)
class LayerEnergy:
    """Means over the runs, and the runs' extremes; None where `why` says that there is none.

    Energies in microjoules, current in milliamperes, `seconds` and `samples` of one run.
    """

    name: str
    seconds: float
    samples: float
    energy_uj: float | None = None
    min_uj: float | None = None
    median_uj: float | None = None
    max_uj: float | None = None
    current_ma: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Energy:
    """What a trace says of a model: `whole` is from a run's first edge to its last.

    Attributes:
        interval: seconds between two samples.
        edges: changes of the trigger pin in the trace.
        refused: pulses that are no whole run of this model, in words.
        hash: of the bundle that ran, where the profile says it.
    """

    board: str
    runs: int
    interval: float
    edges: int
    whole: LayerEnergy
    layers: tuple[LayerEnergy, ...]
    refused: tuple[str, ...]
    hash: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def load_profile(path: Path) -> tuple[str, Timing]:
    """Board and timing of what ``edgekit profile --trigger --json`` wrote.

    Raises:
        EdgekitError: E668.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        hz, layers = found["hz"], found["layers"]
        if hz is None:
            raise EdgekitError(
                "E668",
                f"profile '{path}' has {found['unit']} and no time",
                help="energy is measured on boards that have a clock",
            )
        if not found.get("trigger"):
            raise EdgekitError(
                "E668",
                f"profile '{path}' was made by firmware that moves no pin",
                help="edgekit profile OUT --board B --trigger --json FILE",
            )
        names = tuple(str(x["name"]) for x in layers)
        seconds = tuple(float(x.get("median", x["value"])) / float(hz) for x in layers)
        if not names or min(seconds) < 0:
            raise ValueError("no layers")
        return str(found["board"]), Timing(names, seconds, str(found.get("hash", "")))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError,
            ZeroDivisionError) as error:  # fmt: skip
        said = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise EdgekitError(
            "E668",
            f"cannot read profile '{path}': {said}",
            help="edgekit profile OUT --board B --trigger --json FILE writes one",
        ) from None


def energy(board: str, timing: Timing, trace: PowerTrace, voltage: float | None = None) -> Energy:
    """Find the runs and integrate current times voltage over each layer.

    Args:
        voltage: volts, in place of what the trace recorded.

    Raises:
        EdgekitError: E666 without any voltage; E667 where no whole run is in the trace.
    """
    volts = trace.volts if voltage is None else np.full(len(trace.seconds), voltage)
    if volts is None:
        raise EdgekitError(
            "E666", "the trace has no column for the voltage", help="give it: --voltage 3.0"
        )
    edges = Edges.of(trace)
    runs, refused = find_runs(edges, timing, trace.interval)
    if not runs:
        raise EdgekitError(
            "E667",
            f"the trace has {len(edges.seconds)} edges and no whole run of "
            f"{len(timing.seconds)} layers ({len(timing.seconds) + 1} edges in "
            f"{1e3 * sum(timing.seconds):.3f} ms)",
            details=refused[:3],
            help="record with the pin wired, for some runs; use the profile of the same firmware",
        )
    cells = _cells(trace.seconds)
    joules = _integral(cells, trace.amperes * volts)
    coulombs = _integral(cells, trace.amperes)
    times = np.array([run.seconds for run in runs])  # [runs, layers + 1]

    def layer(name: str, first: int, last: int) -> LayerEnergy:
        known = min(min(run.known[first], run.known[last]) for run in runs)
        return _layer(name, times[:, first], times[:, last], trace, joules, coulombs, known)

    layers = [layer(name, i, i + 1) for i, name in enumerate(timing.names)]
    whole = layer("whole", 0, len(timing.names))
    return Energy(
        board, len(runs), trace.interval, len(edges.seconds), whole, tuple(layers), tuple(refused),
        timing.hash,
    )  # fmt: skip


def _cells(seconds: np.ndarray) -> np.ndarray:
    """Where each sample [n] begins and ends to count, [n + 1]: halfway to its neighbours, where the
    edges of the trigger lie too. Nothing of one layer's current gets into the next."""
    middle = (seconds[1:] + seconds[:-1]) / 2
    return np.concatenate([seconds[:1], middle, seconds[-1:]])


def _integral(cells: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells' borders [n + 1] and the integral of samples [n] up to each."""
    return cells, np.concatenate([[0.0], np.cumsum(np.diff(cells) * values)])


def _layer(
    name: str,
    start: np.ndarray,
    end: np.ndarray,
    trace: PowerTrace,
    joules: tuple[np.ndarray, np.ndarray],
    coulombs: tuple[np.ndarray, np.ndarray],
    known: int,
) -> LayerEnergy:
    """One layer from its starts and ends [runs], which are `known` at least so well."""
    lasted = end - start
    inside = np.searchsorted(trace.seconds, end) - np.searchsorted(trace.seconds, start)
    seconds, samples = fmean(lasted), fmean(inside)
    if known == UNKNOWN:
        why = "its start or end was missed: a layer beside it is too short for this analyser"
        return LayerEnergy(name, seconds, samples, why=why)
    if inside.min() < FEWEST[known]:
        why = (
            f"too short for this analyser: {samples:.1f} samples of "
            f"{1e6 * trace.interval:.4g} us, {FEWEST[known]} are needed"
        )
        return LayerEnergy(name, seconds, samples, why=why)
    used = 1e6 * _between(joules, start, end)
    charge = _between(coulombs, start, end)
    values: Sequence[float] = used.tolist()
    return LayerEnergy(
        name, seconds, samples, fmean(values), min(values), median(values), max(values),
        1e3 * float((charge / lasted).mean()),
    )  # fmt: skip


def _between(
    integral: tuple[np.ndarray, np.ndarray], start: np.ndarray, end: np.ndarray
) -> np.ndarray:
    at_end: np.ndarray = np.interp(end, *integral)
    return at_end - np.interp(start, *integral)
