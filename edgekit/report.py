"""What `compile` found out about a model, as plain values that print and go into JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class LayerReport:
    """One kernel call. Bytes in bytes; `cycles` is estimated, None where it was not."""

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


@dataclass(frozen=True)
class Report:
    """Totals of a compiled model for its target's reference board.

    `flash` and `ram` are bytes by part; `latency_ms` is `cycles` (estimated, zero wait states)
    at `clock_hz`; `sqnr_db` compares integer with float on the calibration data, by tensor.
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
    sqnr_db: dict[str, float] = field(default_factory=dict)
    logits_sqnr_db: float | None = None
    calibration_samples: int = 0

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
