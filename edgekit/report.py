"""What `compile` found out about a model, as plain values that print and go into JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

#: The kernel family of layers that the accelerator runs.
ACCELERATOR = "npu"


@dataclass(frozen=True)
class Quality:
    """How close an integer graph is to the float graph it was made of, and data to show it on.

    `sqnr_db` is by tensor; `sample` is the first of the calibration `samples` as raw integers.
    """

    sqnr_db: Mapping[str, float]
    logits_sqnr_db: float
    samples: int
    sample: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class AcceleratorReport:
    """Cycles of the accelerator while the CPU was in a layer, estimated: registers STEPS, WAITED,
    MOVED and STALLED (ACCELERATOR.md). Its commands run ahead of the layers that they are of."""

    steps: int
    waited: int
    moved: int
    stalled: int


@dataclass(frozen=True)
class LayerReport:
    """One kernel call. Bytes in bytes; `cycles` is estimated, `instructions` are exact, and both
    are None where nobody counted.

    `macs` are those that run: channels that are constant for every input are gone. `variant` is the
    kernel's algorithm, `runner_up` the fastest other one with its cost. `accelerator` is None on
    boards without one. `cost` are the instructions that the kernel's template counts when it is
    written, None for kernels that nobody counted.
    """

    name: str
    op: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    kernel: str
    family: str
    constant_bytes: int
    scratch_bytes: int
    cycles: int | None
    note: str
    variant: str = ""
    runner_up: str = ""
    instructions: int | None = None
    accelerator: AcceleratorReport | None = None
    cost: int | None = None


@dataclass(frozen=True)
class RegionReport:
    """What a plan over several memories puts into one RAM of the board, in bytes; `traffic` is read
    and written per inference, `stall_cycles` what wait states cost at most. All estimated."""

    name: str
    wait_states: int
    size: int
    arena: int
    traffic: int
    stall_cycles: int


@dataclass(frozen=True)
class StateReport:
    """A tensor that the program keeps from one inference to the next, in bytes of the arena."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


@dataclass(frozen=True)
class GpuReport:
    """What the bundle has for a GPU beside the CPU's program: `layers` that have `variants`, of
    `functions`, and bytes on the device. `on_cpu` has the other layers and why; `why_not` is the
    reason where there is no GPU section at all."""

    layers: int = 0
    variants: int = 0
    functions: int = 0
    arena_bytes: int = 0
    constant_bytes: int = 0
    #: Shaders for Vulkan; 0 where clspv is not installed.
    spirv_bytes: int = 0
    on_cpu: dict[str, str] = field(default_factory=dict)
    why_not: str = ""


@dataclass(frozen=True)
class StepReport:
    """What one call of ek_step runs: a layer, its estimated cycles and the milliseconds that they
    take at the board's clock, and its exact instructions; None where nobody counted."""

    layer: str
    cycles: int | None
    ms: float | None
    instructions: int | None


@dataclass(frozen=True)
class BufferReport:
    """`nbytes` at `offset` of the arena from call `first` to call `last`, both included; -1 is
    before the first call and the number of calls after the last. `kind` is "input", "output",
    "state", "tensor" or "scratch"."""

    name: str
    kind: str
    offset: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Report:
    """Totals of a compiled model for its target's reference board.

    `flash` and `ram` are bytes by part; `latency_ms` is `cycles` (estimated; None where the target
    has no cycle model) at `clock_hz`, `instructions` are exact; `sqnr_db` compares integer with
    float on the calibration data, by tensor.
    `macs` are those that run; `model_macs` those of the model, of which channels that are constant
    for every input may be left out.
    Where the reference board could not run, `not_measured` says why, cycles and instructions are
    None, and the stack in `ram` is what is reserved, not what was used. On boards with a GPU `ram`
    has no stack: the process runs on one of Linux's, with its drivers.
    `agreement` (0 to 1) is the share of `agreement_samples` with the float network's class,
    `judged_sqnr_db` the SQNR of the logits on them, where a budget asked for one of the two.
    `ram_regions` is empty where the board has one RAM. `optimize` is what kernels were chosen for.
    `wide` names the layers with int16 results where others have int8 ones. `buffers` is the memory
    plan of the arena. `estimate` says what the cycles assume, and how far off they may be.
    `lanes` are multiply-accumulates per cycle of the board's accelerator, 0 where it has none.
    `gpu` is None where the target has none.
    """

    name: str
    target: str
    board: str
    clock_hz: int
    layers: tuple[LayerReport, ...]
    flash: dict[str, int]
    ram: dict[str, int]
    arena_lower_bound: int
    cycles: int | None
    instructions: int | None = None
    sqnr_db: dict[str, float] = field(default_factory=dict)
    logits_sqnr_db: float | None = None
    calibration_samples: int = 0
    model_macs: int | None = None
    agreement: float | None = None
    agreement_samples: int = 0
    judged_sqnr_db: float | None = None
    ram_regions: tuple[RegionReport, ...] = ()
    not_measured: str = ""
    optimize: str = "balanced"
    states: tuple[StateReport, ...] = ()
    wide: tuple[str, ...] = ()
    buffers: tuple[BufferReport, ...] = ()
    estimate: str = "zero wait states, +-20 %"
    lanes: int = 0
    gpu: GpuReport | None = None

    @property
    def cost(self) -> tuple[int, int]:
        """The sum of the layers' `cost`, and how many of them have one."""
        counted = [layer.cost for layer in self.layers if layer.cost is not None]
        return sum(counted), len(counted)

    @property
    def longest_step(self) -> StepReport | None:
        """The layer with the most cycles, or instructions where there is no cycle model: what one
        call of ek_step takes at most. None where nobody counted."""
        key = "cycles" if self.cycles is not None else "instructions"
        counted = [layer for layer in self.layers if getattr(layer, key) is not None]
        if not counted:
            return None
        longest = max(counted, key=lambda layer: getattr(layer, key))
        ms = None if longest.cycles is None else 1e3 * longest.cycles / self.clock_hz
        return StepReport(longest.name, longest.cycles, ms, longest.instructions)

    def utilisation(self, layer: LayerReport) -> float | None:
        """The share of the accelerator's multiply-accumulates that a layer uses while it runs; None
        for layers that it does not run. Where it has run ahead, its own steps count."""
        if not self.lanes or layer.family != ACCELERATOR or not layer.cycles:
            return None
        ahead = layer.accelerator.steps if layer.accelerator else 0
        # The edge between two layers is where the CPU sees it, some cycles late or early.
        return min(1.0, layer.macs / (self.lanes * max(layer.cycles, ahead)))

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def latency_ms(self) -> float | None:
        return None if self.cycles is None else 1e3 * self.cycles / self.clock_hz

    @property
    def flash_bytes(self) -> int:
        return sum(self.flash.values())

    @property
    def ram_bytes(self) -> int:
        return sum(self.ram.values())

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps; an infinite SQNR (nothing differs) is null."""
        return {
            **asdict(self),
            "longest_step": asdict(step) if (step := self.longest_step) else None,
            "sqnr_db": {name: _finite(db) for name, db in self.sqnr_db.items()},
            "logits_sqnr_db": _finite(self.logits_sqnr_db),
            "judged_sqnr_db": _finite(self.judged_sqnr_db),
            "macs": self.macs,
            "latency_ms": self.latency_ms,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "cycles_are": f"estimated, {self.estimate}",
        }


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None
