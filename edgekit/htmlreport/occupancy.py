"""How many bytes of the arena hold something while each call runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Placed(Protocol):
    """`nbytes` at `offset`, alive from call `first` to call `last`, both included."""

    @property
    def offset(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclass(frozen=True)
class Occupancy:
    """Bytes by call, each counted once where buffers share them. `peak` is the first call with the
    most, None without calls; `highest` the end of the last byte that is ever used."""

    occupied: tuple[int, ...]
    peak: int | None
    highest: int


def occupancy(buffers: Sequence[Placed], calls: int) -> Occupancy:
    """Account for a memory plan of `calls` calls."""
    occupied = []
    for call in range(calls):
        alive = sorted(
            (b.offset, b.offset + b.nbytes) for b in buffers if b.first <= call <= b.last
        )
        total, end = 0, 0
        for start, stop in alive:
            total += max(stop - max(start, end), 0)
            end = max(end, stop)
        occupied.append(total)
    peak = max(range(calls), key=lambda i: occupied[i], default=None)
    return Occupancy(tuple(occupied), peak, max((b.offset + b.nbytes for b in buffers), default=0))
