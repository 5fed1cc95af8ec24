"""The memory plan: where every buffer lies in the arena, and how large the arena is.

Buffers whose lifetimes touch must not overlap; the rest may share bytes. First-fit placement in
several orders, then a bounded, seeded search over orders; it stops early at the lower bound (the
most bytes alive at one step), which no plan can beat.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

ALIGN = 8
SEARCH_ROUNDS = 200


@dataclass(frozen=True)
class Buffer:
    """`nbytes` that are alive from step `first` to step `last`, both included."""

    name: str
    nbytes: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Arena offsets by buffer name, the arena's size, and the lower bound for it, in bytes."""

    offsets: dict[str, int]
    arena_bytes: int
    lower_bound: int


def plan(buffers: Sequence[Buffer]) -> Plan:
    """Place `buffers`; the result is deterministic."""
    bound = lower_bound(buffers)
    orders = [
        sorted(buffers, key=lambda b: (-b.nbytes, b.first, b.name)),
        sorted(buffers, key=lambda b: (-b.nbytes * (b.last - b.first + 1), b.first, b.name)),
        sorted(buffers, key=lambda b: (b.first, -b.nbytes, b.name)),
    ]
    best_offsets, best = _place(orders[0]), 0
    best_order = orders[0]
    best = _extent(buffers, best_offsets)
    for order in orders[1:]:
        offsets = _place(order)
        if (extent := _extent(buffers, offsets)) < best:
            best_offsets, best, best_order = offsets, extent, order
    chance = random.Random(0)
    for _ in range(SEARCH_ROUNDS if len(buffers) > 2 else 0):
        if best <= bound:
            break
        order = list(best_order)
        i, j = chance.sample(range(len(order)), 2)
        order[i], order[j] = order[j], order[i]
        offsets = _place(order)
        if (extent := _extent(buffers, offsets)) <= best:
            best_offsets, best, best_order = offsets, extent, order
    return Plan(best_offsets, best, bound)


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """The most (aligned) bytes that are alive at one step."""
    steps = {b.first for b in buffers}
    return max(
        (sum(_up(b.nbytes) for b in buffers if b.first <= s <= b.last) for s in steps), default=0
    )


def _up(nbytes: int) -> int:
    return -(-nbytes // ALIGN) * ALIGN


def _place(order: Sequence[Buffer]) -> dict[str, int]:
    """First fit: each buffer at the lowest gap that its living neighbours leave."""
    offsets: dict[str, int] = {}
    placed: list[Buffer] = []
    for buffer in order:
        taken = sorted(
            (offsets[b.name], offsets[b.name] + _up(b.nbytes)) for b in placed if b.meets(buffer)
        )
        at = 0
        for start, end in taken:
            if at + _up(buffer.nbytes) <= start:
                break
            at = max(at, end)
        offsets[buffer.name] = at
        placed.append(buffer)
    return offsets


def _extent(buffers: Sequence[Buffer], offsets: dict[str, int]) -> int:
    return max((offsets[b.name] + _up(b.nbytes) for b in buffers), default=0)
