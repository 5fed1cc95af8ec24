"""Which buffers lie in which memory, where a board has several: the hot ones in the fast one.

Heat is bytes accessed per byte of size. Buffers go to the fastest memory in the order of heat as
long as the plan of that memory fits; what does not fit goes on to the next one. Buffers share bytes
only within one memory.

The traffic is an estimate from the layers' shapes: a kernel with scratch copies its input there
once and reads two bytes of scratch per multiply-accumulate; any other reads its input for each one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codegen.memory import Buffer, Plan, Sharing, plan
from edgekit.errors import EdgekitError


@dataclass(frozen=True)
class Memory:
    """`nbytes` of RAM that are free for buffers; an access takes `wait_states` cycles more."""

    name: str
    nbytes: int
    wait_states: int = 0


@dataclass(frozen=True)
class RegionPlan:
    """One memory: where its buffers lie in it, and the bytes that they read and write."""

    memory: Memory
    plan: Plan
    traffic: int

    @property
    def stall_cycles(self) -> int:
        """Cycles that wait states cost at most, estimated: one access for every byte."""
        return self.traffic * self.memory.wait_states


def plan_regions(
    buffers: Sequence[Buffer],
    sharings: Sequence[Sharing],
    traffic: Mapping[str, int],
    memories: Sequence[Memory],
) -> list[RegionPlan]:
    """Place `buffers` in `memories`; the result is in the order of speed, empty memories included.

    Args:
        traffic: bytes read and written per inference, by buffer; 0 where it is not named.

    Raises:
        EdgekitError: E335 where a buffer does not fit anywhere.
    """
    waiting = sorted(buffers, key=lambda b: (-traffic.get(b.name, 0) / max(b.nbytes, 1), b.name))
    found = []
    for memory in sorted(memories, key=lambda m: (m.wait_states, -m.nbytes, m.name)):
        here = _fill(waiting, sharings, memory)
        names = {b.name for b in here}
        waiting = [b for b in waiting if b.name not in names]
        moved = sum(traffic.get(name, 0) for name in names)
        found.append(RegionPlan(memory, plan(here, _within(sharings, names)), moved))
    if waiting:
        raise EdgekitError(
            "E335",
            f"{len(waiting)} buffers fit in no RAM of the board; the largest has "
            f"{max(b.nbytes for b in waiting)} B",
            details=[
                f"{f.memory.name}: {f.plan.arena_bytes} of {f.memory.nbytes} B" for f in found
            ],
            help="choose a board with more RAM, or a smaller model",
        )
    return found


def _fill(waiting: Sequence[Buffer], sharings: Sequence[Sharing], memory: Memory) -> list[Buffer]:
    """As many of `waiting`, from the first on, as `memory` can hold."""
    if plan(waiting, _within(sharings, {b.name for b in waiting})).arena_bytes <= memory.nbytes:
        return list(waiting)
    here: list[Buffer] = []
    for buffer in waiting:
        more = [*here, buffer]
        names = {b.name for b in more}
        if plan(more, _within(sharings, names), search=False).arena_bytes <= memory.nbytes:
            here = more
    return here


def _within(sharings: Sequence[Sharing], names: set[str]) -> list[Sharing]:
    return [s for s in sharings if s.output in names and s.source in names]
