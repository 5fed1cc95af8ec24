"""Runs of a model in the signal of the trigger pin.

The pin is low between runs and toggles at every layer edge, the first time to high. Where the model
has an even number of layers it would stay high: a millisecond later it falls. An analyser that
samples more slowly than a layer lasts misses both edges of it; the profile says which layers those
can be, so that the others are found all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgekit.energy.trace_file import PowerTrace

#: What a layer may differ from the profile: other clocks, interrupts. And what a run may in which
#: edges can be missed, so that only its length tells which ones were.
TOLERANCE, CLOCK_TOLERANCE = 0.1, 0.02
#: Samples of a run in which edges can be missed, lest a pause be taken for it.
FEWEST_OF_RUN = 40
#: Seconds that the device waits after a run before it lowers the pin, and again after that.
REST = 1e-3
_END = -1


@dataclass(frozen=True)
class Timing:
    """What the profile says: layers' names and seconds, and the hash of the bundle that ran."""

    names: tuple[str, ...]
    seconds: tuple[float, ...]
    hash: str = ""


@dataclass(frozen=True)
class Edges:
    """Changes of the trigger: seconds [n], halfway between two samples, and the levels after.

    `end` is when the recording ends.
    """

    seconds: np.ndarray
    high: np.ndarray
    end: float

    @staticmethod
    def of(trace: PowerTrace) -> Edges:
        after = np.flatnonzero(np.diff(trace.trigger.astype(np.int8))) + 1
        middle = (trace.seconds[after] + trace.seconds[after - 1]) / 2
        return Edges(middle, trace.trigger[after], float(trace.seconds[-1]))


#: How an edge of a run is known: not at all, by the profile between two that were seen, or seen.
UNKNOWN, PLACED, SEEN = 0, 1, 2


@dataclass(frozen=True)
class FoundRun:
    """Layer edges of a run, seconds [layers + 1], and how each of them is known."""

    seconds: tuple[float, ...]
    known: tuple[int, ...]


def find_runs(edges: Edges, timing: Timing, interval: float) -> tuple[list[FoundRun], list[str]]:
    """The whole runs in a trace, and why other pulses are none.

    Args:
        interval: seconds between two samples.
    """
    runs: list[FoundRun] = []
    refused: list[str] = []
    i = 0
    while i < len(edges.seconds):
        if not edges.high[i]:
            i += 1
            continue
        search = _Search(edges, timing, interval, i)
        if search.begins() and search.succeeds():
            runs.append(search.filled())
            i = max(search.found.values()) + 1
        else:
            refused.append(search.why())
            i += 1
    return runs, refused


class _Search:
    """Assigns observed edges to expected ones, from a first one on; `found` is the assignment."""

    def __init__(self, edges: Edges, timing: Timing, interval: float, first: int) -> None:
        self.edges, self.timing, self.interval, self.first = edges, timing, interval, first
        self.until = np.concatenate([[0.0], np.cumsum(timing.seconds)])
        #: Whether every edge must be seen.
        self.certain = min(timing.seconds) >= 2 * interval
        self.found: dict[int, int] = {}
        self.furthest = (0, first)

    def begins(self) -> bool:
        """Whether the pin has rested before the first edge."""
        if self.first == 0:
            return True
        rested = self.edges.seconds[self.first] - self.edges.seconds[self.first - 1]
        return bool(rested >= REST * (1 - TOLERANCE) - 2 * self.interval)

    def succeeds(self) -> bool:
        """Find the assignment, depth first; no pair of edges is tried twice."""
        path = [(self.first, 0, self._next(self.first, 0))]
        tried = {(self.first, 0)}
        while path:
            seen, edge, options = path[-1]
            self.furthest = max(self.furthest, (edge, seen))
            option = next(options, None)
            if option == _END:
                self.found = {e: s for s, e, _ in path}
                if self._lasts():
                    return True
            elif option is None:
                path.pop()
            elif (seen + 1, option) not in tried:
                tried.add((seen + 1, option))
                path.append((seen + 1, option, self._next(seen + 1, option)))
        return False

    def _lasts(self) -> bool:
        """Whether a run in which edges can be missed takes as long as it should, and enough."""
        last = max(self.found)
        if self.certain:
            return True
        if self.until[-1] < FEWEST_OF_RUN * self.interval:
            return False
        if last == 0:
            return True
        took = self.edges.seconds[self.found[last]] - self.edges.seconds[self.first]
        slack = CLOCK_TOLERANCE * self.until[last] + 2 * self.interval
        return bool(abs(took - self.until[last]) <= slack)

    def _next(self, seen: int, edge: int) -> Iterator[int]:
        """Which expected edges the one after `seen` can be, likeliest first; _END for none."""
        last = len(self.timing.seconds)
        if edge == last:
            if self._rests_after(seen):
                yield _END
            return
        options = []
        if seen + 1 < len(self.edges.seconds):
            took = self.edges.seconds[seen + 1] - self.edges.seconds[seen]
            for following in range(edge + 1, last + 1, 2):
                if not self._can_miss(range(edge + 1, following)):
                    break
                planned = self.until[following] - self.until[edge]
                error = abs(took - planned)
                if error <= TOLERANCE * planned + 2 * self.interval:
                    options.append((error, following))
        for _, following in sorted(options):
            yield following
        rest = range(edge + 1, last + 1)
        if len(rest) % 2 == 0 and self._can_miss(rest) and self._quiet_after(seen, edge):
            yield _END

    def _can_miss(self, edges: Sequence[int]) -> bool:
        """Whether these expected edges come in pairs around layers too short to be seen."""
        return all(self.timing.seconds[e] < 2 * self.interval for e in edges[::2])

    def _rests_after(self, seen: int) -> bool:
        """Whether the pin does after the edge `seen` what it does after a run's last one."""
        if seen + 1 == len(self.edges.seconds):
            return True
        rested = self.edges.seconds[seen + 1] - self.edges.seconds[seen]
        slack = TOLERANCE * REST + 2 * self.interval
        if self.edges.high[seen]:
            return bool(abs(rested - REST) <= slack)
        return bool(rested >= 2 * REST - 2 * slack)

    def _quiet_after(self, seen: int, layer_edge: int) -> bool:
        """Whether nothing happens until the end of the run, of which no edge was seen."""
        more = seen + 1 < len(self.edges.seconds)
        until = self.edges.seconds[seen + 1] if more else self.edges.end
        rest = self.until[-1] - self.until[layer_edge]
        return bool(until - self.edges.seconds[seen] > rest * (1 + TOLERANCE))

    def filled(self) -> FoundRun:
        """The run with all its edges.

        Those that were missed are placed as the profile has them, in proportion, between the two
        around them, which is good to two samples. Where edges can be missed, another one may have
        been taken for one that was seen: two of them have to be as far apart as the profile and
        the whole run say, or nothing is known of both.
        """
        ends = sorted(self.found)
        last = len(self.timing.seconds)
        at = {edge: float(self.edges.seconds[self.found[edge]]) for edge in ends}
        clock = (at[ends[-1]] - at[0]) / self.until[ends[-1]] if ends[-1] else 1.0
        times = [at[0]] * (last + 1)
        known = [SEEN if edge in at else UNKNOWN for edge in range(last + 1)]
        for before, after in pairwise(ends):
            took, planned = at[after] - at[before], self.until[after] - self.until[before]
            times[after] = at[after]
            for edge in range(before + 1, after):
                share = (self.until[edge] - self.until[before]) / planned
                times[edge] = at[before] + float(took * share)
                known[edge] = PLACED
            if not self.certain and abs(took - planned * clock) > 2 * self.interval:
                known[before : after + 1] = [UNKNOWN] * (after + 1 - before)
        for edge in range(ends[-1] + 1, last + 1):
            times[edge] = times[edge - 1] + self.timing.seconds[edge - 1]
        return FoundRun(tuple(times), tuple(known))

    def why(self) -> str:
        """Where the assignment could not go on, in words."""
        edge, seen = self.furthest
        begun = self.edges.seconds[self.first]
        if not self.begins():
            return f"pulse at {begun:.6f} s: too soon after another for the start of a run"
        place = f"run at {begun:.6f} s: edge {edge + 1} of {len(self.timing.seconds) + 1} found"
        if seen + 1 >= len(self.edges.seconds):
            return f"{place}, then the recording ends"
        took = self.edges.seconds[seen + 1] - self.edges.seconds[seen]
        if edge == len(self.timing.seconds):
            return f"{place}, another one {1e6 * took:.1f} us later: no end of a run"
        return (
            f"{place}, the next after {1e6 * took:.1f} us; the profile has "
            f"{1e6 * self.timing.seconds[edge]:.1f} us for '{self.timing.names[edge]}'"
        )
