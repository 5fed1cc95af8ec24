"""A stream on its way: an event model of the front end, the two engines and the memory.

Not a simulation: no data, no contents of memories. Each command has a duration that follows from
its counts, and starts when it has been fetched, its engine is free, and `after` is satisfied. The
memory serves the fetching of commands, LOAD and STORE, and other masters, burst by burst.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from targets.npu.config import Accelerator
from targets.npu.costs import BUS, COSTS, Bus, Costs, Span, Timing, engine_cycles, fixed_cycles
from targets.npu.durations import (
    WORD,
    array_cycles,
    bus_words,
    runs_of,
    size_cycles,
    steps_of,
    words_written,
)
from targets.npu.isa import Add, Command, Load, Space, Store, Window

#: A process gives the cycle at which it goes on, or None: when anything has changed.
_Process = Generator[int | None, None, None]
_TRANSFER, _COMPUTE = True, False
#: Masters of the memory.
_ACCELERATOR, _OTHER = 0, 1
#: Later than anything.
NEVER = 1 << 62


@dataclass
class _Burst:
    """A burst asked for; `first` is when its words begin to move and `free` when they have, -1 as
    long as the memory has not taken it. `ready` is when words to write are there."""

    words: int
    ready: int = 0
    taken: int = -1
    first: int = -1
    free: int = -1


class Progress:
    """One stream, from its start at cycle 0 on.

    Args:
        commands: of the whole stream, HEAD and END included.
        stream, bases: addresses of the stream and of the regions.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        config: Accelerator,
        *,
        stream: int = 0,
        bases: Sequence[int] = (),
        bus: Bus = BUS,
        costs: Costs = COSTS,
    ) -> None:
        self.commands, self.config, self.stream = commands, config, stream
        self.bases, self.bus, self.costs = bases, bus, costs
        self.transfers = tuple(i for i, c in enumerate(commands) if isinstance(c, Load | Store))
        self.computes = tuple(i for i, c in enumerate(commands) if isinstance(c, Window | Add))
        #: When the last burst's words began to move, and when the memory is free.
        self.first = self.free = 0
        self.spans = [Span(NEVER, NEVER)] * len(commands)
        #: When each engine's commands have finished.
        self.done: dict[bool, list[int]] = {_COMPUTE: [], _TRANSFER: []}
        self._now = 0
        self._bursts: list[_Burst | None] = [None, None]
        self._last = _OTHER
        self._arrivals = [(0, 0)]  # (words so far, the cycle of the last one), burst by burst
        self._taken = 0
        self._queued: dict[bool, list[int]] = {_COMPUTE: [], _TRANSFER: []}
        self._released = {_COMPUTE: 0, _TRANSFER: 0}
        self._issued: list[int] = []
        self._written = 0
        self._writing: tuple[int, int, int] | None = None  # start, end, words
        self._changed = False
        self._ended = 0
        self._processes = [
            self._memory(), self._fetch(), self._front(), self._issue(), self._compute(),
            self._transfer(),
        ]  # fmt: skip
        self._waiting = set(range(len(self._processes)))
        self._sleeping: list[tuple[int, int]] = []
        self._go_on()

    # ---- from outside

    def finish(self) -> Timing:
        """The whole stream; raises ValueError where commands wait for each other."""
        self.advance(NEVER)
        if not self.over:
            raise ValueError("commands wait for each other")
        return self.timing

    @property
    def timing(self) -> Timing:
        """What is known until now: commands that have not started will `NEVER`, and of those that
        run the end is a guess."""
        commands = self.commands
        return Timing(
            tuple(self.spans),
            self.cycles if self.over else NEVER,
            tuple(steps_of(c) for c in commands),
            tuple(bus_words(c, self.config, self._base(c)) for c in commands),
            self.transfers,
            self.computes,
        )

    @property
    def over(self) -> bool:
        """Whether every command has finished."""
        return self._ended == len(self._processes) - 1

    @property
    def stuck(self) -> int:
        """The first command that waits for one behind it, which no queue has room for; 0: none."""
        if self.over or self._sleeping:
            return 0
        heads = [
            indices[len(self.done[which])]
            for which, indices in ((_COMPUTE, self.computes), (_TRANSFER, self.transfers))
            if len(self.done[which]) < len(self._queued[which])
        ]
        return min(heads, default=0)

    @property
    def cycles(self) -> int:
        """Cycles until the stream is done, where it is over."""
        return max(span.finish for span in self.spans) + self.costs.end

    @property
    def computed(self) -> list[int]:
        """When the compute engine's commands have finished."""
        return self.done[_COMPUTE]

    @property
    def transferred(self) -> list[int]:
        """When the transfer engine's commands have finished."""
        return self.done[_TRANSFER]

    def advance(self, cycle: int) -> None:
        """All that happens until `cycle`."""
        while self._step(cycle):
            pass
        if cycle < NEVER:
            self._now = max(self._now, cycle)

    def burst(self, cycle: int, words: int) -> tuple[int, int]:
        """Another master asks for a burst: when its words begin to move, and when they have."""
        self.advance(cycle)
        asked = self._bursts[_OTHER] = _Burst(words)
        self._go_on()
        while asked.taken < 0:
            if not self._step():
                raise RuntimeError("the memory does not take a burst")
        return asked.first, asked.free

    # ---- processes

    def _go_on(self) -> None:
        """Everything that happens in this cycle."""
        self._changed = True
        while self._changed:
            self._changed = False
            for index in sorted(self._waiting):
                until = next(self._processes[index], -1)
                if until is not None:
                    self._waiting.remove(index)
                    if until < 0:
                        self._ended += 1
                    else:
                        heapq.heappush(self._sleeping, (max(until, self._now), index))

    def _step(self, until: int = NEVER) -> bool:
        """To the next cycle in which something happens; False where none is before `until`."""
        if not self._sleeping or self._sleeping[0][0] > until:
            return False
        self._now = self._sleeping[0][0]
        while self._sleeping and self._sleeping[0][0] == self._now:
            self._waiting.add(heapq.heappop(self._sleeping)[1])
        self._go_on()
        return True

    def _base(self, command: Command) -> int:
        region = command.region if isinstance(command, Load | Store) else 0
        return self.bases[region] if region < len(self.bases) else 0

    def _memory(self) -> _Process:
        """Take bursts, one while the words of the one before it move; masters take turns."""
        while True:
            while not any(self._bursts):
                yield None
            if self._now < self.first:
                yield self.first
            turns = (1 - self._last, self._last)
            master = next(i for i in turns if self._bursts[i] is not None)
            taken = self._bursts[master]
            assert taken is not None
            taken.taken = self._now
            self.first = taken.first = max(self._now + self.bus.latency, self.free)
            self.free = taken.free = max(self.first, taken.ready) + taken.words
            self._bursts[master], self._last = None, master
            self._changed = True
            yield self._now + 1

    def _ask(self, burst: _Burst) -> _Process:
        """Hand a burst of ours to the memory, and wait until it has taken it."""
        while self._bursts[_ACCELERATOR] is not None:
            yield None
        self._bursts[_ACCELERATOR] = burst
        self._changed = True
        while burst.taken < 0:
            yield None

    def _fetch(self) -> _Process:
        """Read the stream, as far ahead as there is room."""
        costs = self.costs
        left, at, asked = sum(c.words for c in self.commands), self.stream // WORD, 0
        yield costs.begin + 1
        while left:
            while asked + costs.fetch - self._taken > costs.room:
                yield None
            words = min(left, costs.fetch - at % costs.fetch)
            left, at, asked = left - words, at + words, asked + words
            burst = _Burst(words)
            yield from self._ask(burst)
            self._arrivals.append((asked, burst.free + costs.arrive))
            self._changed = True
            yield burst.taken + 2

    def _arrival(self, words: int) -> int | None:
        """When that many words of the stream have come; None where they were not asked for."""
        place = bisect_right(self._arrivals, words, key=lambda a: a[0])
        if self._arrivals[place - 1][0] == words:
            return self._arrivals[place - 1][1]
        if place == len(self._arrivals):
            return None
        total, end = self._arrivals[place]
        return end - (total - words)

    def _front(self) -> _Process:
        """Check commands, word by word, and put them into their engines' queues."""
        costs, at = self.costs, 0
        for index, command in enumerate(self.commands):
            which = isinstance(command, Load | Store)
            start = self._now
            for word in range(1, command.words + 1):
                while (come := self._arrival(at + word)) is None:
                    yield None
                # Between two words of a burst nothing else can happen.
                start = max(start + 1, come)
                if word == 1:
                    start += costs.head
                    yield start
                    self._take(at + 1)
                    while len(self._queued[which]) - self._released[which] >= costs.slots:
                        yield None
                    start = max(start, self._now)
            yield start
            self._take(at + command.words)
            at += command.words
            yield start + costs.decode
            if isinstance(command, Load | Store | Window | Add):
                self._queued[which].append(index)
                self._changed = True
            else:
                self.spans[index] = Span(self._now, self._now)

    def _take(self, words: int) -> None:
        self._taken, self._changed = words, True

    def _issue(self) -> _Process:
        """Hold the next command for the compute engine."""
        for number in range(len(self.computes)):
            while len(self._queued[_COMPUTE]) <= number:
                yield None
            yield self._now + self.costs.issue - 2
            self._release(_COMPUTE)
            yield self._now + 2
            index = self._queued[_COMPUTE][number]
            yield from self._wait(_TRANSFER, self.commands[index].after, self.costs.compute_order)
            while len(self._issued) > len(self.done[_COMPUTE]):
                yield None
            self._issued.append(index)
            self._changed = True

    def _compute(self) -> _Process:
        for number in range(len(self.computes)):
            while len(self._issued) <= number:
                yield None
            index = self._issued[number]
            command = self.commands[index]
            assert isinstance(command, Window | Add)
            start = self._now
            end = (
                start
                + fixed_cycles(command, self.config, self.costs)
                + array_cycles(command, self.config)
            )
            words = words_written(command, self.config)
            self._writing = (start, end, words)
            self.spans[index] = Span(start, end)
            yield end
            self._writing = None
            self._written += words
            self._finish(index, start, _COMPUTE)

    def _words_written(self) -> int:
        """Words of A that the compute engine has written until now."""
        if self._writing is None:
            return self._written
        start, end, words = self._writing
        return self._written + words * (self._now - start) // (end - start)

    def _transfer(self) -> _Process:
        costs = self.costs
        for number in range(len(self.transfers)):
            while len(self._queued[_TRANSFER]) <= number:
                yield None
            index = self._queued[_TRANSFER][number]
            command = self.commands[index]
            assert isinstance(command, Load | Store)
            yield self._now + costs.take - 2
            self._release(_TRANSFER)
            yield self._now + 2 + size_cycles(command, self.config)
            yield from self._wait(_COMPUTE, command.after, costs.transfer_order)
            start = self._now
            self.spans[index] = Span(start, start + engine_cycles(command, self.config))
            yield from self._move(command)
            self._finish(index, start, _TRANSFER)

    def _move(self, command: Load | Store) -> _Process:
        """Bursts, each asked for as soon as the memory has taken the one before it."""
        costs, base = self.costs, self._base(command)
        words = bus_words(command, self.config, base)
        runs = runs_of(command, self.config, base)
        store = isinstance(command, Store)
        start, moved, end, begun = self._now, 0, self._now, -1
        at = (command.offset + base) // WORD
        written = self._words_written()
        yield start + costs.begin_transfer + 1
        while moved < words:
            count = min(words - moved, costs.burst - at % costs.burst)
            moved, at = moved + count, at + count
            burst = _Burst(
                count, start + costs.pack + runs * moved // words - count if store else 0
            )
            yield from self._ask(burst)
            begun, end = (burst.first if begun < 0 else begun), burst.free
            if moved < words:
                # What has come and was not used yet fills the buffer.
                room = begun + (moved + costs.burst - costs.buffer) * runs // words
                yield max(burst.taken + 2, self._now, 0 if store else room)
        if begun >= 0 and not store:
            end = max(end, begun + runs)
            yield end
            if command.space == Space.A:
                # The compute engine's writes go first.
                while self._now < begun + runs + self._words_written() - written:
                    yield begun + runs + self._words_written() - written
                end = self._now + costs.unpack
            end += costs.arrive
        yield max(end, self._now)
        yield self._now + (costs.store if store else costs.load)

    def _release(self, which: bool) -> None:
        self._released[which] += 1
        self._changed = True

    def _wait(self, which: bool, after: int, order: int) -> _Process:
        """Until `order` cycles after the other engine, `which`, has finished so many commands."""
        while len(self.done[which]) < after:
            yield None
        if after and self.done[which][after - 1] + order > self._now:
            yield self.done[which][after - 1] + order

    def _finish(self, index: int, start: int, which: bool) -> None:
        self.spans[index] = Span(start, self._now)
        self.done[which].append(self._now)
        self._changed = True
