"""Two builds side by side: every layer and every total, and which of them got worse."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.htmlreport.facts import Facts, Layer
from edgekit.htmlreport.measured import Energy, Profile

#: Relative change from which on a figure counts as worse or better; decibels for SQNR.
NOTICEABLE, NOTICEABLE_DB = 0.005, 0.1


@dataclass(frozen=True)
class Change:
    """One figure of the other build (`before`) and of this one (`after`), None where it is not
    known. `unit` is "B", "dB", "µJ", "ms" or a unit of speed; of decibels more is better, of all
    else less. `gates` says that --fail-on-regression judges it."""

    what: str
    unit: str
    before: float | None
    after: float | None
    gates: bool = False

    @property
    def percent(self) -> float | None:
        """Growth in percent; None for decibels, and where there was nothing before."""
        if self.before is None or self.after is None or self.unit == "dB" or self.before <= 0:
            return None
        return 100 * (self.after - self.before) / self.before

    @property
    def delta(self) -> float | None:
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def verdict(self) -> str:
        """ "worse", "better", "same", or "" where one of the two is not known."""
        if self.delta is None:
            return ""
        if self.unit == "dB":
            worse, noticed = -self.delta, NOTICEABLE_DB
        else:
            worse, noticed = self.delta, NOTICEABLE * abs(self.before or 0)
        if abs(worse) <= noticed:
            return "same"
        return "worse" if worse > 0 else "better"

    def exceeds(self, percent: float) -> bool:
        """Whether it grew by more than that."""
        if self.delta is None or self.unit == "dB":
            return False
        grown = self.percent
        return self.delta > 0 if grown is None else grown > percent


@dataclass(frozen=True)
class LayerChange:
    """One layer in both builds; an index is None where only the other build has it."""

    name: str
    op: str
    before: int | None
    after: int | None
    changes: tuple[Change, ...] = ()

    @property
    def presence(self) -> str:
        """ "both", "new" or "gone"."""
        return "new" if self.before is None else "gone" if self.after is None else "both"


@dataclass(frozen=True)
class Comparison:
    """`other` names the other build; `unit` is what layers' speed is in, "" where the two builds
    have none in common; `remarks` say what cannot be compared and why."""

    other: str
    totals: tuple[Change, ...]
    layers: tuple[LayerChange, ...]
    unit: str = ""
    remarks: tuple[str, ...] = ()

    def count(self, verdict: str) -> int:
        """How many figures got better, or worse: totals, and those of layers."""
        figures = [*self.totals, *(c for row in self.layers for c in row.changes)]
        return sum(c.verdict == verdict for c in figures)

    @property
    def judges_speed(self) -> bool:
        """Whether some speed that --fail-on-regression judges is known of both builds."""
        return any(
            c.gates and c.unit not in ("B", "µJ") and c.delta is not None for c in self.totals
        )

    def regressions(self, percent: float) -> list[Change]:
        """The totals that --fail-on-regression judges and that grew by more than `percent`."""
        return [c for c in self.totals if c.gates and c.exceeds(percent)]

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps."""
        return {
            "other": self.other,
            "totals": [_plain(c) for c in self.totals],
            "layers": [
                {
                    "name": row.name,
                    "op": row.op,
                    "presence": row.presence,
                    "before": row.before,
                    "after": row.after,
                    "changes": [_plain(c) for c in row.changes],
                }
                for row in self.layers
            ],
            "unit": self.unit,
            "remarks": list(self.remarks),
        }


def _plain(change: Change) -> dict[str, Any]:
    return {**asdict(change), "percent": change.percent, "verdict": change.verdict}


def compare(after: Facts, before: Facts, other: str) -> Comparison:
    """What changed from `before` to `after`; `other` names `before` for people."""
    remarks = []
    for what, was, now in (
        ("target", before.target, after.target),
        ("reference board", before.board, after.board),
        ("model", before.name, after.name),
    ):
        if was != now:
            remarks.append(
                f"The builds differ in their {what}: {was or '?'} before, {now or '?'} now."
            )
    pair = _same_profile(after, before)
    if pair is None and after.profiles and before.profiles:
        remarks.append(
            "No two profiles are of one board, in one unit and mode: estimates are compared."
        )
    elif pair is None and (after.profiles or before.profiles):
        which = "this build" if after.profiles else "the other one"
        remarks.append(f"Only {which} has a profile: estimates are compared.")
    speed = _speed(after, before, pair)
    if speed is None:
        remarks.append("The two have no unit of speed in common.")
    return Comparison(
        other,
        tuple(_totals(after, before, pair)),
        tuple(_layers(after, before, speed)),
        speed[0] if speed else "",
        tuple(remarks),
    )


def _same_energy(after: Facts, before: Facts) -> tuple[Energy, Energy] | None:
    """The first two energies on one board, the newer one first."""
    pairs = ((now, was) for now in after.energies for was in before.energies)
    return next((pair for pair in pairs if pair[0].board == pair[1].board), None)


def _same_profile(after: Facts, before: Facts) -> tuple[Profile, Profile] | None:
    """The first two profiles that may be compared, the newer one first."""
    for now in after.profiles:
        for was in before.profiles:
            if now.conditions == was.conditions:
                return now, was
    return None


_Speed = tuple[str, Callable[[int], float | None], Callable[[int], float | None]]


def _speed(
    after: Facts, before: Facts, pair: tuple[Profile, Profile] | None
) -> _Speed | None:  # fmt: skip
    """The unit that layers are compared in, and each build's figure by layer index."""
    if pair is not None:
        now, was = pair
        return now.unit, lambda i: now.layers[i].value, lambda i: was.layers[i].value
    for unit, figure in (
        ("cycles (estimated)", lambda layer: layer.cycles),
        ("instructions", lambda layer: layer.instructions),
    ):
        if all(any(figure(x) is not None for x in f.layers) for f in (after, before)):
            return (
                unit,
                lambda i, figure=figure: figure(after.layers[i]),
                lambda i, figure=figure: figure(before.layers[i]),
            )
    return None


def _totals(
    after: Facts, before: Facts, pair: tuple[Profile, Profile] | None
) -> list[Change]:  # fmt: skip
    found = []
    if pair is not None:
        now, was = pair
        found.append(Change(f"{now.board or 'board'}", now.unit, was.whole, now.whole, gates=True))
    found += [
        Change("latency", "ms (estimated)", before.latency_ms, after.latency_ms, gates=True),
        Change("cycles", "cycles (estimated)", before.cycles, after.cycles),
        Change("instructions", "instructions", before.instructions, after.instructions, gates=True),
        *_energy(_same_energy(after, before)),
        Change("MACs", "MACs", before.macs, after.macs),
        Change("flash", "B", before.flash_bytes, after.flash_bytes, gates=True),
        *_parts("flash", before.flash, after.flash),
        Change("RAM", "B", before.ram_bytes, after.ram_bytes, gates=True),
        *_parts("RAM", before.ram, after.ram),
        Change("SQNR of the logits", "dB", before.logits_sqnr_db, after.logits_sqnr_db),
    ]
    return [c for c in found if c.before is not None or c.after is not None]


def _energy(pair: tuple[Energy, Energy] | None) -> list[Change]:
    if pair is None:
        return []
    now, was = pair
    return [Change("energy", "µJ", was.whole.energy_uj, now.whole.energy_uj, gates=True)]


def _parts(what: str, before: dict[str, int], after: dict[str, int]) -> list[Change]:
    names = dict.fromkeys((*after, *before))
    return [Change(f"{what}: {n}", "B", before.get(n, 0), after.get(n, 0)) for n in names]


def _layers(after: Facts, before: Facts, speed: _Speed | None) -> list[LayerChange]:
    """Layers of this build in order, matched by name; then those that are gone."""
    energy = _same_energy(after, before)
    waiting: dict[str, deque[int]] = defaultdict(deque)
    for i, layer in enumerate(before.layers):
        waiting[layer.name].append(i)
    rows = []
    for i, layer in enumerate(after.layers):
        if not waiting[layer.name]:
            rows.append(LayerChange(layer.name, layer.op, None, i))
            continue
        j = waiting[layer.name].popleft()
        changes = _layer(layer, before.layers[j])
        if speed is not None:
            unit, now, was = speed
            changes.insert(0, Change("speed", unit, was(j), now(i)))
        if energy is not None:
            uj = [e.layers[k].energy_uj for e, k in zip(energy, (i, j), strict=True)]
            changes.append(Change("energy", "µJ", uj[1], uj[0]))
        rows.append(LayerChange(layer.name, layer.op, j, i, tuple(changes)))
    gone = sorted(j for left in waiting.values() for j in left)
    return rows + [LayerChange(before.layers[j].name, before.layers[j].op, j, None) for j in gone]


def _layer(after: Layer, before: Layer) -> list[Change]:
    return [
        Change("constants", "B", before.constant_bytes, after.constant_bytes),
        Change("scratch", "B", before.scratch_bytes, after.scratch_bytes),
        Change("SQNR", "dB", before.sqnr_db, after.sqnr_db),
    ]
