"""What a profile is: runs of a model, layer by layer, and what can be said of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

#: Counters that tell time and not the cycles of the core.
CLOCKS = ("clock", "cntvct")
#: What the sum of a run's layers may lack to the run's whole, as a share.
UNACCOUNTED = 0.005
#: And in the profile's unit: to enter and leave a model with cold caches takes some hundred cycles.
UNACCOUNTED_LEAST = 1000
#: Share of its multipliers from which on the accelerator must have begun a layer in the one before.
AHEAD = 1.1
#: From which difference between runs on a profile says so, as a share of the fastest.
UNSTEADY = 0.05


@dataclass(frozen=True)
class Work:
    """What the accelerator's counters say of a layer, while the CPU was in it (ACCELERATOR.md)."""

    steps: int
    waited: int
    moved: int
    stalled: int


@dataclass(frozen=True)
class Run:
    """One run in the profile's unit: the whole as it was measured, and each layer.

    `work` has the accelerator's counters of each layer; empty on boards without one.
    """

    total: int
    layers: tuple[int, ...]
    work: tuple[Work, ...] = ()

    @property
    def unaccounted(self) -> float:
        """The share of the whole that lies in no layer; below zero where the layers exceed it."""
        return 1 - sum(self.layers) / self.total if self.total else 0.0


@dataclass(frozen=True)
class Spread:
    """Smallest, middle and largest of some runs; the middle of an even number is rounded."""

    min: int
    median: int
    max: int

    @staticmethod
    def of(values: Sequence[int]) -> Spread:
        return Spread(min(values), round(median(values)), max(values))

    @property
    def flat(self) -> bool:
        """Whether all runs are equal, but for the granularity of their counter."""
        return self.max - self.min <= 1


@dataclass(frozen=True)
class Profile:
    """The fastest of `repeat` runs, and the runs themselves.

    `layers` and `total` are in `unit`: "cycles (estimated)" on the virtual board, "instructions"
    in QEMU, "ticks" elsewhere. `hz` is units per second, 0 where there is no such thing as time.
    Each layer's value is its own minimum, `total` is that of one measured run.

    Attributes:
        runs: in the order in which they were made; empty where only the minima are known.
        warm_ups: runs before them that were not counted.
        cold: what was emptied before each run, in words; "" where nothing was asked for.
        interrupts_off: whether interrupts were masked during each run.
        warnings: what a reader of the figures has to know, in sentences.
        lanes: multiply-accumulates per cycle of the board's accelerator, 0 where it has none.
        device: the GPU and its driver, "" on boards without one.
        computed_by: what computed each layer there, and why nothing before it did; empty elsewhere.
    """

    layers: tuple[int, ...]
    total: int
    unit: str
    counter: str
    hz: int
    repeat: int
    board: str
    runs: tuple[Run, ...] = ()
    warm_ups: int = 0
    cold: str = ""
    interrupts_off: bool = False
    warnings: tuple[str, ...] = ()
    lanes: int = 0
    device: str = ""
    computed_by: tuple[str, ...] = ()

    @property
    def work(self) -> tuple[Work, ...]:
        """The accelerator's counters of each layer in the fastest run; empty without one."""
        return min(self.runs, key=lambda run: run.total).work if self.runs else ()

    def utilisation(self, macs: int, value: int) -> float | None:
        """The share of the accelerator's multipliers that `macs` in `value` cycles keep busy; None
        without an accelerator, where the unit is not cycles, and of a layer that was done before
        the CPU came to it. The edge between two layers is where the CPU sees it, cycles late."""
        if not (self.lanes and value and self.unit.startswith("cycles")):
            return None
        share = macs / (value * self.lanes)
        return min(share, 1.0) if share <= AHEAD else None

    @property
    def whole(self) -> Spread:
        """Of the runs' totals."""
        return Spread.of([run.total for run in self.runs] or [self.total])

    def layer(self, index: int) -> Spread:
        """Of one layer's values."""
        return Spread.of([run.layers[index] for run in self.runs] or [self.layers[index]])

    @property
    def steady(self) -> bool:
        """Whether all runs are equal in every layer, but for a counter's granularity."""
        return self.whole.flat and all(self.layer(i).flat for i in range(len(self.layers)))


def warnings_of(
    runs: Sequence[Run], unit: str, advice: str = "", apart: float = UNACCOUNTED
) -> list[str]:
    """What does not add up within runs, or differs much between them, and what can be done.

    Args:
        apart: the share of a run that may lie in no layer.
    """
    found = []
    worst = max(runs, key=lambda run: abs(run.unaccounted))
    lacks = abs(worst.total - sum(worst.layers))
    if abs(worst.unaccounted) > apart and lacks > UNACCOUNTED_LEAST:
        found.append(
            f"a run's layers sum to {sum(worst.layers)} {unit}, the whole run took {worst.total}: "
            f"{100 * abs(worst.unaccounted):.1f} % apart"
        )
    whole = Spread.of([run.total for run in runs])
    if whole.max > whole.min * (1 + UNSTEADY):
        found.append(
            f"the slowest run took {whole.max} {unit}, the fastest {whole.min}: interrupts, caches "
            f"or another clock came between{advice}"
        )
    return found
