"""What `edgekit diff` finds out, as plain values that print, plot and go into JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

Range = tuple[float, float]


@dataclass(frozen=True)
class Lift:
    """What keeping one tensor in 16 bits would change.

    `gain_db` is the rise of the logits' SQNR where this tensor alone is left unquantized (its
    float32 values flow on). `tensor_bytes` is what the tensor grows by, `ram_bytes` by how much
    the most activation bytes that are alive at once grow (estimated: without kernels' scratch),
    `flash_bytes` what constants grow by (weights and biases stay as they are; kernels' code is not
    counted).
    """

    gain_db: float
    tensor_bytes: int
    ram_bytes: int
    flash_bytes: int = 0


@dataclass(frozen=True)
class TensorDiff:
    """One tensor that both networks have.

    `sqnr_db` compares the two networks at this tensor (inf where nothing differs), `local_sqnr_db`
    this one integer layer alone, fed with the first network's values. `max_error` is in real
    units. `saturated` is the share of the first network's values that lie outside what the
    integers cover by more than half a step; `used` the share of the integer range that occurs.
    The histograms count values below the covered range, in `BINS` equal parts of it, and above.
    """

    name: str
    layer: str
    op: str
    shape: tuple[int, ...]
    sqnr_db: float
    local_sqnr_db: float | None
    max_error: float
    cosine: float
    saturated: float
    used: float
    seen: Range
    covered: Range
    scale: float
    zero_point: int
    histogram_left: tuple[int, ...]
    histogram_right: tuple[int, ...]
    lift: Lift | None = None


@dataclass(frozen=True)
class Diff:
    """The whole comparison; `tensors` are in execution order.

    `logits` is the first output, before its softmax where it has one. `agreement` is the share of
    samples on which both networks name the same class, None where the output has no classes;
    accuracies are None without labels. `unmatched` are tensors of the second network that the
    first one does not have. `weights_only_db` is the logits' SQNR with no activation quantized,
    on the `lift_samples` that lifting was measured on, `lift_base_db` that with all of them.
    """

    left: str
    right: str
    samples: int
    logits: str
    logits_sqnr_db: float
    agreement: float | None
    accuracy_left: float | None
    accuracy_right: float | None
    tensors: tuple[TensorDiff, ...]
    unmatched: tuple[str, ...] = ()
    lift_samples: int = 0
    lift_base_db: float | None = None
    weights_only_db: float | None = None

    def worst_locally(self, count: int = 3) -> list[TensorDiff]:
        """The layers that lose most by themselves, the worst first; layers that lose nothing
        are left out, so are those whose scale is not theirs to choose."""
        fixed = ("softmax", "reshape", "transpose")
        losing = [t for t in self.tensors if t.op not in fixed and _finite(t.local_sqnr_db)]
        return sorted(losing, key=lambda t: t.local_sqnr_db or 0.0)[:count]

    def worth_lifting(self, count: int = 3, least_db: float = 0.1) -> list[TensorDiff]:
        """The tensors whose lifting gains most, the best first."""
        gaining = [t for t in self.tensors if t.lift is not None and t.lift.gain_db >= least_db]
        return sorted(gaining, key=lambda t: -(t.lift.gain_db if t.lift else 0.0))[:count]

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps; infinite SQNR (nothing differs) is null."""
        facts: dict[str, Any] = _plain(asdict(self))
        facts["worst_locally"] = [t.name for t in self.worst_locally()]
        facts["worth_lifting"] = [t.name for t in self.worth_lifting()]
        return facts


def _finite(x: float | None) -> bool:
    return x is not None and math.isfinite(x)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
