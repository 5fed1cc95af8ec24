"""The table that a choice is made from: every row was quantized, compiled and run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.search.allocate import Choice
from edgekit.search.budget import Budget


@dataclass(frozen=True)
class Row:
    """A mixture of widths and its measures.

    Bytes are exact, `latency_ms` is estimated on the target's reference board. `sqnr_db` (of the
    logits) and `agreement` (0 to 1, None where the output is no class) are measured against the
    float network; `predicted_db` is what the sensitivities had promised. `excess` says which limits
    are exceeded; `thrifty` that costs without a limit are about those of plain int8 or less.
    """

    name: str
    choice: Choice
    flash_bytes: int
    ram_bytes: int
    latency_ms: float | None
    predicted_db: float
    sqnr_db: float
    agreement: float | None
    excess: tuple[str, ...]
    thrifty: bool
    #: Milliseconds of the longest kernel, estimated.
    step_ms: float | None = None

    @property
    def fits(self) -> bool:
        return not self.excess

    @property
    def costs(self) -> tuple[float, float, float]:
        return (self.flash_bytes, self.ram_bytes, self.latency_ms or 0.0)


@dataclass(frozen=True)
class Search:
    """What was compared, and which row was taken. `samples` judged the quality."""

    rows: tuple[Row, ...]
    chosen: int
    budget: Budget
    samples: int
    judged_on: str

    @property
    def row(self) -> Row:
        return self.rows[self.chosen]

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps."""
        rows = []
        for row in self.rows:
            plain = asdict(row) | {
                "four_bit_weights": sorted(row.choice.narrow),
                "sixteen_bit_tensors": sorted(row.choice.wide),
                "on_the_front": on_front(row, self.rows),
                "fits": row.fits,
            }
            del plain["choice"]
            rows.append(plain)
        return {
            "budget": asdict(self.budget),
            "rows": rows,
            "chosen": self.row.name,
            "samples": self.samples,
            "judged_on": self.judged_on,
        }


def on_front(row: Row, rows: Sequence[Row]) -> bool:
    """Whether no other row is at least as good everywhere and better somewhere (Pareto)."""

    def measures(r: Row) -> tuple[float, ...]:
        return (*r.costs, -r.sqnr_db)

    return not any(
        all(a <= b for a, b in zip(measures(other), measures(row), strict=True))
        and measures(other) != measures(row)
        for other in rows
    )


def best(rows: Sequence[Row], budget: Budget) -> int | None:
    """The row to take, by index; None where no row fits.

    The one with the best SQNR among those that take no more than the first row (all int8) of what
    has no limit, or, where there is none, among all that fit. Where an agreement or an SQNR is
    asked for, the cheapest that reaches it: the least sum of flash, RAM and latency relative to the
    first row.
    """
    fitting = [i for i, row in enumerate(rows) if row.fits]
    if not fitting:
        return None
    if not budget.judged:
        thrifty = [i for i in fitting if rows[i].thrifty]
        return max(thrifty or fitting, key=lambda i: rows[i].sqnr_db)

    def price(i: int) -> float:
        return sum(
            c / base for c, base in zip(rows[i].costs, rows[0].costs, strict=True) if base > 0
        )

    return min(fitting, key=price)
