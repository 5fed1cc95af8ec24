"""The two engines beside each other: in which order transfers are asked for, and who waits.

What a command needs of commands before it is found word by word: it comes after the last ones that
wrote what it touches, and a writer also after the last readers. Within that, transfers are put in
the order in which a simple simulation of the two engines can start them: loads in the order of
need, stores as soon as there is something to store. So loads run as far ahead as memory allows, and
since the order is one that has run, no two commands wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from targets.npu.config import TABLE_WORDS, Accelerator
from targets.npu.costs import engine_cycles
from targets.npu.footprint import external, footprint
from targets.npu.isa import Command, Load, Space, Store

COMPUTE, LOAD, STORE = range(3)


@dataclass(frozen=True)
class Scheduled:
    """`commands` in the order of the stream, `after` set; `index` says where each of the commands
    that were given is now."""

    commands: tuple[Command, ...]
    index: tuple[int, ...]


def schedule(commands: Sequence[Command], region_bytes: Sequence[int], a: Accelerator) -> Scheduled:
    """Commands that could run one after the other, for engines that run beside each other."""
    needs = _needs(commands, region_bytes, a)
    queues = [[i for i, c in enumerate(commands) if _kind(c) == k] for k in range(3)]
    done: list[list[int]] = [[], [], []]  # finishing times of what has been started
    free = {COMPUTE: 0, LOAD: 0}
    started: list[tuple[int, int]] = []

    def ready(kind: int) -> int | None:
        """When the head of a queue may start; None where that is not known yet."""
        if len(done[kind]) == len(queues[kind]):
            return None
        need = needs[queues[kind][len(done[kind])]]
        times = [0]
        for other in range(3):
            if other != kind and need[other]:
                if need[other] > len(done[other]):
                    return None
                times.append(done[other][need[other] - 1])
        return max(times)

    def start(kind: int, at: int) -> None:
        engine = COMPUTE if kind == COMPUTE else LOAD
        i = queues[kind][len(done[kind])]
        at = max(free[engine], at)
        started.append((at, i))
        free[engine] = at + engine_cycles(commands[i], a)
        done[kind].append(free[engine])

    while len(started) < len(commands):
        at = ready(COMPUTE)
        if at is not None:
            start(COMPUTE, at)
            continue
        load, store = ready(LOAD), ready(STORE)
        if store is None or (load is not None and max(load, free[LOAD]) <= max(store, free[LOAD])):
            assert load is not None, "some engine can always go on"
            if store is None or not _blocks(queues, done, needs):
                start(LOAD, load)
                continue
        assert store is not None
        start(STORE, store)
    # A command that waits in front of its engine keeps all behind it from being read.
    order = [i for _, i in sorted(started, key=lambda s: s[0])]
    return _with_tokens(commands, order, needs, queues)


def _blocks(
    queues: Sequence[Sequence[int]], done: Sequence[Sequence[int]], needs: Sequence[Sequence[int]]
) -> bool:
    """Whether the next compute waits for a store that could start."""
    if len(done[COMPUTE]) == len(queues[COMPUTE]):
        return False
    need = needs[queues[COMPUTE][len(done[COMPUTE])]]
    return need[STORE] > len(done[STORE]) and need[LOAD] <= len(done[LOAD])


def _with_tokens(
    commands: Sequence[Command],
    order: Sequence[int],
    needs: Sequence[Sequence[int]],
    queues: Sequence[Sequence[int]],
) -> Scheduled:
    """`after` of every command, from the place of what it needs in the other engine's queue."""
    place: dict[int, int] = {}
    transfers = computes = 0
    for i in order:
        if _kind(commands[i]) == COMPUTE:
            computes += 1
            place[i] = computes
        else:
            transfers += 1
            place[i] = transfers
    found: list[Command] = []
    index = [0] * len(commands)
    for i in order:
        others = (LOAD, STORE) if _kind(commands[i]) == COMPUTE else (COMPUTE,)
        after = [place[queues[k][needs[i][k] - 1]] for k in others if needs[i][k]]
        index[i] = len(found)
        found.append(replace(commands[i], after=max(after, default=0)))
    return Scheduled(tuple(found), tuple(index))


def _kind(command: Command) -> int:
    return LOAD if isinstance(command, Load) else STORE if isinstance(command, Store) else COMPUTE


class _Memory:
    """For each word, how many commands of each kind there were when it was last read, and when it
    was last written."""

    def __init__(self, words: int) -> None:
        self.read: list[NDArray[np.int32]] = [np.zeros(words, np.int32) for _ in range(3)]
        self.written: list[NDArray[np.int32]] = [np.zeros(words, np.int32) for _ in range(3)]

    def need(self, words: slice, writes: bool, need: list[int]) -> None:
        """Raise `need` to what a command has to wait for that touches `words`."""
        for kind in range(3):
            need[kind] = max(need[kind], int(self.written[kind][words].max(initial=0)))
            if writes:
                need[kind] = max(need[kind], int(self.read[kind][words].max(initial=0)))

    def note(self, words: slice, writes: bool, kind: int, count: int) -> None:
        (self.written if writes else self.read)[kind][words] = count


def _needs(
    commands: Sequence[Command], region_bytes: Sequence[int], a: Accelerator
) -> list[list[int]]:
    """For each command, how many commands of each kind have to be finished before it starts."""
    memories = {
        Space.A: _Memory(a.a_words),
        Space.W: _Memory(a.w_words),
        Space.P: _Memory(a.p_channels),
        Space.T: _Memory(TABLE_WORDS),
    }
    # Region 0 is constant, and a region without stores needs no order either.
    stored = {c.region for c in commands if isinstance(c, Store)}
    regions = {r: _Memory(region_bytes[r]) for r in stored}
    counts = [0, 0, 0]
    found = []
    for command in commands:
        kind = _kind(command)
        touched: list[tuple[_Memory, slice, bool]] = []
        for span in footprint(command, a):
            for block in range(span.blocks):
                at = span.start + block * span.plane
                touched.append((memories[span.space], slice(at, at + span.length), span.writes))
        outside = external(command, a)
        if outside is not None and outside.region in regions:
            at = outside.offset
            words = slice(at, at + outside.nbytes)
            touched.append((regions[outside.region], words, outside.writes))
        need = [0, 0, 0]
        for memory, words, writes in touched:
            memory.need(words, writes, need)
        counts[kind] += 1
        for memory, words, writes in touched:
            memory.note(words, writes, kind, counts[kind])
        found.append(need)
    return found
