"""What `compile` found out about a model, as plain values that print and go into JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


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
class LayerReport:
    """One kernel call. Bytes in bytes; `cycles` is estimated, `instructions` are exact, and both
    are None where nobody counted.

    `macs` are those that run: channels that are constant for every input are gone. `variant` is the
    kernel's algorithm, `runner_up` the fastest other one with its cost.
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
class Report:
    """Totals of a compiled model for its target's reference board.

    `flash` and `ram` are bytes by part; `latency_ms` is `cycles` (estimated; None where the target
    has no cycle model) at `clock_hz`, `instructions` are exact; `sqnr_db` compares integer with
    float on the calibration data, by tensor.
    `macs` are those that run; `model_macs` those of the model, of which channels that are constant
    for every input may be left out.
    Where the reference board could not run, `not_measured` says why, cycles and instructions are
    None, and the stack in `ram` is what is reserved, not what was used.
    `agreement` (0 to 1) is the share of `agreement_samples` with the float network's class,
    `judged_sqnr_db` the SQNR of the logits on them, where a budget asked for one of the two.
    `ram_regions` is empty where the board has one RAM. `optimize` is what kernels were chosen for.
    `wide` names the layers with int16 results where others have int8 ones.
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
        """Plain values for json.dumps."""
        return {
            **asdict(self),
            "macs": self.macs,
            "latency_ms": self.latency_ms,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "cycles_are": "estimated, zero wait states",
        }
