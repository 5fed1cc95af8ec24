"""What the event model is made of and what it tells, and single commands' cycles."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from targets.npu.config import Accelerator
from targets.npu.durations import array_cycles, bus_words, runs_of, size_cycles
from targets.npu.isa import Add, Command, Load, Store, Window


@dataclass(frozen=True)
class Bus:
    """The memory at the master port: a burst's first word moves `latency` cycles after its command
    was taken, then one each cycle. A command is taken while the words of the one before it move."""

    latency: int = 10


@dataclass(frozen=True)
class Costs:
    """Cycles that do not follow from a command's counts.

    Attributes:
        begin: from the start bit to the front end's first burst.
        fetch: words of a burst of the front end, which ends at a multiple of that.
        room: words that wait in the front end.
        decode: from a command's last word to its place in an engine's queue.
        head: of these, those that a full queue holds up, counted from the first word.
        slots: places in an engine's queue, beside the command that the engine holds.
        issue: from the queue to the compute engine, beside the command that runs.
        window, add: from there to the first step, and from the last result to the next command.
        products: more of a window whose products are from logic.
        take: from the queue to the transfer engine, without the multiplication of counts.
        begin_transfer: from there to the first burst's request.
        arrive: from a word on the bus to its memory.
        burst: words of a burst of the transfer engine, which ends at a multiple of that.
        buffer: words of LOADs that have come and were not used yet, or are on their way.
        pack: from a STORE's start to its first word for the bus.
        load, store: from the last word to the next command; `unpack` more where words go to A.
        compute_order: from the end of a transfer to the start of a command that waits for it.
        transfer_order: from the end of a command to the start of a transfer that waits for it.
        end: from the last command's end to the done bit.
    """

    begin: int = 4
    fetch: int = 16
    room: int = 32
    decode: int = 7
    head: int = 3
    slots: int = 4
    issue: int = 19
    window: int = 23
    add: int = 21
    products: int = 2
    take: int = 12
    begin_transfer: int = 2
    arrive: int = 3
    burst: int = 64
    buffer: int = 256
    pack: int = 10
    load: int = 1
    unpack: int = 2
    store: int = 4
    compute_order: int = 2
    transfer_order: int = 3
    end: int = 1


BUS, COSTS = Bus(), Costs()


@dataclass(frozen=True)
class Span:
    """When a command starts and finishes, in cycles since the start bit."""

    start: int
    finish: int

    @property
    def cycles(self) -> int:
        return self.finish - self.start


@dataclass(frozen=True)
class Counters:
    """The registers COMPUTED to STALLED at some cycle."""

    done: bool
    computed: int
    transferred: int
    cycles: int
    steps: int
    waited: int
    moved: int
    stalled: int


@dataclass(frozen=True)
class Timing:
    """A stream's times.

    Attributes:
        spans: by command, HEAD and END included.
        cycles: until it is done.
        steps, moved: of each command, the array's steps and the words on the bus.
        transfers, computes: indices of each engine's commands.
    """

    spans: tuple[Span, ...]
    cycles: int
    steps: tuple[int, ...]
    moved: tuple[int, ...]
    transfers: tuple[int, ...]
    computes: tuple[int, ...]

    @cached_property
    def computed(self) -> tuple[int, ...]:
        """When the compute engine's commands finish, in their order."""
        return tuple(self.spans[i].finish for i in self.computes)

    @cached_property
    def transferred(self) -> tuple[int, ...]:
        """When the transfer engine's commands finish, in their order."""
        return tuple(self.spans[i].finish for i in self.transfers)

    def at(self, cycle: int) -> Counters:
        """The counters so many cycles after the start; within a command they rise evenly."""
        now = max(0, min(cycle, self.cycles))
        steps = sum(_part(self.spans[i], now) * self.steps[i] for i in self.computes)
        moved = sum(_part(self.spans[i], now) * self.moved[i] for i in self.transfers)
        busy = sum(_passed(self.spans[i].start, self.spans[i].finish, now) for i in self.computes)
        active = sum(
            _passed(self.spans[i].start, self.spans[i].finish, now) for i in self.transfers
        )
        return Counters(
            done=now == self.cycles,
            computed=bisect_right(self.computed, now),
            transferred=bisect_right(self.transferred, now),
            cycles=now,
            steps=int(steps),
            waited=now - busy,
            moved=int(moved),
            stalled=max(0, active - int(moved)),
        )

    @property
    def total(self) -> Counters:
        """The counters when the stream is done."""
        return self.at(self.cycles)


def _passed(start: int, finish: int, now: int) -> int:
    return max(0, min(finish, now) - start)


def _part(span: Span, now: int) -> Fraction:
    """Of a command that is over by `now`."""
    if span.cycles == 0:
        return Fraction(now >= span.finish)
    return Fraction(_passed(span.start, span.finish, now), span.cycles)


def engine_cycles(
    command: Command, config: Accelerator, bus: Bus = BUS, costs: Costs = COSTS
) -> int:
    """Cycles of a command's engine for it alone, until the next one may start: with the bus for
    itself, and without what it waits for. 0 for HEAD and END."""
    if isinstance(command, Window | Add):
        return fixed_cycles(command, config, costs) + array_cycles(command, config)
    if not isinstance(command, Load | Store):
        return 0
    held = costs.take + size_cycles(command, config) + costs.begin_transfer + 1 + bus.latency
    after = costs.store if isinstance(command, Store) else costs.arrive + costs.load
    return held + max(bus_words(command, config), runs_of(command, config)) + after


def fixed_cycles(command: Window | Add, config: Accelerator, costs: Costs) -> int:
    """Cycles of a command of the compute engine before its first step and after its last result."""
    if isinstance(command, Add):
        return costs.add
    return costs.window + (costs.products if config.lut_multipliers else 0)
