"""The memory plan: where every buffer lies in the arena, and how large the arena is.

Buffers that are alive at one step must not overlap, except a step's output and the input that dies
there, as far as the kernel's order of access allows (`Sharing`). So every two such buffers forbid
one range of distances. Buffers are placed one after the other on a line without ends, each where it
makes the whole least longer, in several orders; then a bounded, seeded search over orders follows.
It stops at the lower bound, which no plan can beat. Whether two buffers share memory, and how, is
thus decided by what it does to the arena and never in advance.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from codegen.overlap import ALIGN, aligned

#: Placements that the search may try: at most so many, fewer where there are many buffers.
SEARCH_ROUNDS, SEARCH_BUFFERS = 500, 20_000


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
class Sharing:
    """How buffer `output` may share memory with buffer `source` while both are alive: `in_place`
    and `overlap` as in `codegen.kernel.Candidate`, for all steps together."""

    output: str
    source: str
    in_place: bool = False
    overlap: int | None = None


@dataclass(frozen=True)
class Plan:
    """Arena offsets by buffer name, the arena's size, and the lower bound for it, in bytes."""

    offsets: dict[str, int]
    arena_bytes: int
    lower_bound: int


#: One of two buffers that are alive together, as the other one sees it: its index, and that the
#: other may start that many bytes or more below it, above it, or just where it starts.
_Neighbour = tuple[int, int, int, bool]


def plan(
    buffers: Sequence[Buffer], sharings: Sequence[Sharing] = (), *, search: bool = True
) -> Plan:
    """Place `buffers`; the result is deterministic. Without `search`: quicker, perhaps larger."""
    bound = lower_bound(buffers, sharings)
    best = _Search(buffers, sharings)
    for key in (
        lambda b: (-b.nbytes, b.first, b.name),
        lambda b: (-b.nbytes * (b.last - b.first + 1), b.first, b.name),
        lambda b: (b.first, -b.nbytes, b.name),
        lambda b: (-b.first, -b.nbytes, b.name),
    ):
        best.attempt(sorted(range(len(buffers)), key=lambda i: key(buffers[i])))
    chance = random.Random(0)
    rounds = min(SEARCH_ROUNDS, SEARCH_BUFFERS // max(len(buffers), 1))
    for _ in range(rounds if search and len(buffers) > 1 else 0):
        if best.extent <= bound:
            break
        order = list(best.order)
        moved = chance.choice(best.outermost() if chance.random() < 0.5 else order)
        order.remove(moved)
        order.insert(chance.randrange(len(order) + 1), moved)
        best.attempt(order)
    places = {b.name: p for b, p in zip(buffers, best.places, strict=True)}
    return Plan(places, best.extent, bound)


def lower_bound(buffers: Sequence[Buffer], sharings: Sequence[Sharing] = ()) -> int:
    """The most (aligned) bytes that have to lie apart at one step."""
    by_name = {b.name: b for b in buffers}
    saved: dict[int, int] = {}  # by step; a byte of one buffer is counted as shared once
    for s in sharings:
        output, source = by_name[s.output], by_name[s.source]
        sizes = aligned(output.nbytes), aligned(source.nbytes)
        if s.overlap is None:
            together = max(sizes) if s.in_place else sum(sizes)
        else:
            # Never better than one within the other, and the two may also lie apart.
            apart = 0 if s.in_place else max(aligned(s.overlap), 0)
            together = min(max(sizes[0], apart + sizes[1]), sum(sizes))
        for step in range(output.first, min(output.last, source.last) + 1):
            saved[step] = saved.get(step, 0) + sum(sizes) - together
    steps = {b.first for b in buffers}
    return max(
        (
            sum(aligned(b.nbytes) for b in buffers if b.first <= s <= b.last) - saved.get(s, 0)
            for s in steps
        ),
        default=0,
    )


class _Search:
    """The best placement so far: `places` by buffer, all from 0 to `extent`."""

    def __init__(self, buffers: Sequence[Buffer], sharings: Sequence[Sharing]) -> None:
        self.sizes = [aligned(b.nbytes) for b in buffers]
        index = {b.name: i for i, b in enumerate(buffers)}
        shared = {(index[s.output], index[s.source]): s for s in sharings}
        self.neighbours = [
            [self._neighbour(i, j, shared) for j, b in enumerate(buffers) if j != i and b.meets(a)]
            for i, a in enumerate(buffers)
        ]
        self.order: list[int] = []
        self.places: list[int] = []
        self.extent = 0

    def _neighbour(self, i: int, j: int, shared: dict[tuple[int, int], Sharing]) -> _Neighbour:
        below, above = self.sizes[i], self.sizes[j]
        onto, under = shared.get((i, j)), shared.get((j, i))
        if onto is not None and onto.overlap is not None:
            below = min(below, aligned(onto.overlap))
        if under is not None and under.overlap is not None:
            above = min(above, aligned(under.overlap))
        return j, below, above, any(s is not None and s.in_place for s in (onto, under))

    def attempt(self, order: list[int]) -> None:
        """Place in this order; keep the result where it is as good as the best."""
        places: dict[int, int] = {}
        low, high = 0, 0
        for i in order:
            at = self._best(i, places, low, high)
            places[i] = at
            low, high = min(low, at), max(high, at + self.sizes[i])
            if self.order and high - low > self.extent:
                return
        self.order, self.extent = order, high - low
        self.places = [places[i] - low for i in range(len(order))]

    def _best(self, i: int, places: dict[int, int], low: int, high: int) -> int:
        """Where buffer `i` makes the stretch from `low` to `high` least longer: the lowest such
        place, of those next to its neighbours and the lower end."""
        size = self.sizes[i]
        taken = [
            (p := places[j], p - below, p + above, same)
            for j, below, above, same in self.neighbours[i]
            if j in places
        ]
        candidates = {low}
        for p, below, above, same in taken:
            candidates |= {below, above, p} if same else {below, above}

        def cost(c: int) -> tuple[int, int]:
            return max(high, c + size) - min(low, c), abs(c - low)

        for c in sorted(candidates, key=cost):
            for p, below, above, same in taken:
                if below < c < above and not (same and c == p):
                    break
            else:
                return c
        raise AssertionError("next to the outermost neighbour there is always room")

    def outermost(self) -> list[int]:
        """Buffers at either end, without which the arena would be smaller."""
        ends = [p + size for p, size in zip(self.places, self.sizes, strict=True)]
        return [i for i, p in enumerate(self.places) if p == 0 or ends[i] == self.extent]


__all__ = ["ALIGN", "Buffer", "Plan", "Sharing", "aligned", "lower_bound", "plan"]
