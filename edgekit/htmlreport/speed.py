"""Where the time of each layer comes from: estimates of `compile`, and profiles of boards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgekit.htmlreport.facts import Facts
from edgekit.htmlreport.measured import Profile, Ticks
from edgekit.pages import grouped


@dataclass(frozen=True)
class Source:
    """Figures of every layer in one unit, 0 where nobody knows; `whole` is the inference.

    `hz` is units per second, None where the unit is no time. `note` says how it was found,
    `warnings` what is doubtful about it; `board` is "" where it is the build's reference board.
    """

    label: str
    unit: str
    ticks: tuple[Ticks, ...]
    whole: int
    hz: float | None
    note: str
    spread: bool = False
    board: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def varies(self) -> bool:
        """Whether some layer took longer in one run than in another."""
        return any(t.max is not None and t.max > t.value for t in self.ticks)

    @property
    def longest_step(self) -> int | None:
        """The layer that takes longest: what one call of ek_step takes at most. None where there
        is none."""
        return max(range(len(self.ticks)), key=lambda i: self.ticks[i].value, default=None)

    def share(self, i: int) -> float:
        """Layer `i`'s part of the layers' sum, 0 to 1."""
        return self.ticks[i].value / (sum(t.value for t in self.ticks) or 1)

    @property
    def longest(self) -> int:
        """The longest bar, at least 1."""
        return max((max(t.value, t.max or 0) for t in self.ticks), default=1) or 1

    def time(self, value: float) -> str:
        """``1.88 ms``, or "" where there is no time."""
        if not self.hz:
            return ""
        seconds = value / self.hz
        for factor, unit in ((1.0, "s"), (1e3, "ms")):
            if seconds * factor >= 1:
                return f"{seconds * factor:.2f} {unit}"
        return f"{seconds * 1e6:.1f} µs" if seconds < 1e-4 else f"{seconds * 1e3:.3f} ms"


def sources(facts: Facts) -> list[Source]:
    """Profiles first, then what `compile` counted; empty where nothing is known."""
    alike = Counter(_name(p) for p in facts.profiles)
    found = [_profile(p, alone=alike[_name(p)] == 1) for p in facts.profiles]
    board = facts.board or "the reference board"
    if facts.cycles is not None:
        found.append(
            Source(
                "estimated by compile",
                "cycles (estimated)",
                tuple(Ticks(x.name, x.cycles or 0) for x in facts.layers),
                facts.cycles,
                facts.clock_hz,
                f"On {board} when this was compiled: {facts.estimate.replace('+-', '±')}.",
            )
        )
    if facts.instructions is not None:
        found.append(
            Source(
                "counted by compile",
                "instructions",
                tuple(Ticks(x.name, x.instructions or 0) for x in facts.layers),
                facts.instructions,
                None,
                f"Exact, counted on {board} when this was compiled.",
            )
        )
    return found


def _name(p: Profile) -> str:
    names = [p.board or "a board", p.mode if p.mode != "interpreter" else ""]
    names += ["cold"] if p.cold else []
    names += ["interrupts off"] if p.interrupts_off else []
    return " · ".join(filter(None, names))


def _profile(p: Profile, alone: bool) -> Source:
    told = [f"counter {p.counter}"] if p.counter else []
    told += [f"{p.repeat} runs"] if p.repeat else []
    told += [f"{p.warm_ups} to warm up"] if p.warm_ups else []
    told += [f"caches cold ({p.cold_how})" if p.cold_how else "caches cold"] if p.cold else []
    told += ["interrupts off"] if p.interrupts_off else []
    told += [p.mode] if p.mode else []
    told += [f"stack {grouped(p.stack_bytes)} B"] if p.stack_bytes is not None else []
    label = _name(p) if alone else f"{_name(p)} · {p.file}"
    return Source(
        label,
        p.unit,
        p.layers,
        p.whole,
        p.hz,
        f"Profile {p.file}: {', '.join(told) or 'measured'}. "
        "Bars and shares are of the fastest run.",
        p.spread,
        p.board,
        p.warnings,
    )
