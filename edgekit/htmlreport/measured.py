"""What was measured on boards, as `edgekit profile --json` and `edgekit energy --json` write it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ticks:
    """One layer of a profile, in the profile's unit. `value` is the least of all runs."""

    name: str
    value: int
    min: int | None = None
    median: float | None = None
    max: int | None = None


@dataclass(frozen=True)
class Use:
    """A memory of a board: `kind` "flash" or "ram", its bytes, and those that the program takes."""

    name: str
    kind: str = ""
    size: int = 0
    used: int = 0


@dataclass(frozen=True)
class Profile:
    """What `edgekit profile --json` measured; `hz` is units per second, None where there is no
    time; `cold` and `interrupts_off` say that it was asked for, `cold_how` what was emptied;
    `hash` is that of the bundle on the board, `file` is where it was read from."""

    unit: str
    layers: tuple[Ticks, ...]
    board: str = ""
    total: int | None = None
    total_min: int | None = None
    total_median: float | None = None
    total_max: int | None = None
    counter: str = ""
    hz: float | None = None
    repeat: int | None = None
    mode: str = ""
    stack_bytes: int | None = None
    warm_ups: int | None = None
    cold: bool = False
    cold_how: str = ""
    interrupts_off: bool = False
    warnings: tuple[str, ...] = ()
    regions: tuple[Use, ...] = ()
    file: str = ""
    hash: str = ""

    @property
    def whole(self) -> int:
        """The whole inference, or the layers' sum where only those are known."""
        known = self.total if self.total is not None else self.total_min
        return known if known is not None else sum(t.value for t in self.layers)

    @property
    def conditions(self) -> tuple[str, str, str, bool, bool]:
        """What has to be equal for two profiles to be compared."""
        return self.board, self.unit, self.mode, self.cold, self.interrupts_off

    @property
    def spread(self) -> bool:
        """Whether there is more than the fastest run of each layer."""
        return any(t.median is not None or t.max is not None for t in self.layers)


@dataclass(frozen=True)
class LayerEnergy:
    """As `edgekit energy` has it: microjoules and milliamperes of one run; None where `why` says
    that there is no figure."""

    name: str
    seconds: float = 0.0
    energy_uj: float | None = None
    min_uj: float | None = None
    median_uj: float | None = None
    max_uj: float | None = None
    current_ma: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Energy:
    """What `edgekit energy --json` found in a power analyser's trace; `whole` is one inference."""

    layers: tuple[LayerEnergy, ...]
    whole: LayerEnergy
    board: str = ""
    runs: int = 0
    interval: float | None = None
    file: str = ""
    hash: str = ""

    @property
    def longest(self) -> float:
        """The most that a layer took, for the bars; above 0."""
        return max((max(x.energy_uj or 0, x.max_uj or 0) for x in self.layers), default=1.0) or 1.0

    def share(self, i: int) -> float:
        """Layer `i`'s part of the whole, 0 where one of the two is not known."""
        return (self.layers[i].energy_uj or 0) / (self.whole.energy_uj or float("inf"))
