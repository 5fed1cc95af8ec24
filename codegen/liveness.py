"""Which bytes are alive when: buffers of a graph's values, their lifetimes, and who may share.

Step i is node i of the graph. Values that are views of others (`VIEWS`) have no buffer of their
own: they lie in another value's, at an offset. Inputs are alive from before the first step on,
outputs until after the last, states always.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from codegen.kernel import Candidate
from edgekit.graph import Graph

#: Operators that run nothing: their results are bytes of their operands, or the reverse.
VIEWS = ("reshape", "rescale", "slice_rows", "concat_rows")
Place = tuple[str, int]


@dataclass(frozen=True)
class Distance:
    """How buffer X may share memory with buffer A while both are alive.

    `below` is the least d such that X may start at A's start - d or lower, None for no such place;
    `same` says that both may start at the same byte.
    """

    below: int | None
    same: bool


class Liveness:
    """Places and lifetimes of the buffers of an integer graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.shares = views(graph)
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self._reads: dict[str, list[tuple[int, int]]] = {}
        self._savings: dict[tuple[str, str], int] = {}
        self._bytes: dict[str, int] = {}
        self._writes: dict[str, list[tuple[int, int, int]]] = {}
        for name in graph.sources:
            root, at = self.place(name)
            self.first[root] = -1
            self._writes.setdefault(root, []).append((-1, at, at + self.nbytes(name)))
        for step, node in enumerate(graph.nodes):
            if node.op in VIEWS:
                continue
            for name in node.inputs:
                if name not in graph.constants:
                    self._read(step, name)
            for name in node.outputs:
                root, at = self.place(name)
                self.first.setdefault(root, step)
                # What nobody reads is written all the same.
                self.last[root] = max(step, self.last.get(root, step))
                self._writes.setdefault(root, []).append((step, at, at + self.nbytes(name)))
        for name in (*graph.outputs, *(state.name for state in graph.states)):
            self._read(len(graph.nodes), name)

    def _read(self, step: int, name: str) -> None:
        root, at = self.place(name)
        self.last[root] = step
        self._reads.setdefault(root, []).append((step, at))

    def nbytes(self, name: str) -> int:
        if name not in self._bytes:
            self._bytes[name] = self.graph.values[name].nbytes
        return self._bytes[name]

    def place(self, name: str) -> Place:
        """The buffer that `name` lies in, and its offset there in bytes."""
        offset = 0
        while name in self.shares:
            name, more = self.shares[name]
            offset += more
        return name, offset

    def as_one_step(
        self, steps: Sequence[int], inside: Iterable[str], inputs: Iterable[str]
    ) -> None:
        """Let `steps` have no order among them: all that they read is alive until the last, all
        that they write from the first on. Values `inside` have no buffer."""
        first, last = steps[0], steps[-1]
        for name in inside:
            for table in (self.first, self.last, self._reads, self._writes):
                table.pop(name, None)
        for root, writes in self._writes.items():
            self._writes[root] = [(first if s in steps else s, b, e) for s, b, e in writes]
            if any(s == first for s, _, _ in self._writes[root]):
                self.first[root] = min(self.first[root], first)
                self.last[root] = max(self.last.get(root, last), last)
        for root, reads in self._reads.items():
            self._reads[root] = [(last if s in steps else s, at) for s, at in reads]
        for root in {self.place(name)[0] for name in inputs}:
            self.last[root] = max(self.last[root], last)

    def alive(self, name: str, step: int) -> bool:
        """Whether buffer `name` is alive at `step`."""
        return self.first[name] <= step <= self.last.get(name, self.first[name])

    def distance(self, output: str, source: str, own: dict[int, Candidate]) -> Distance:
        """How buffer `output`, made while `source` is alive, may share its memory.

        It may where no byte of `source` is overwritten before its last read. Writes into `output`
        go upwards; so with W(t) the end of what step t has written and R(t) the lowest byte of
        `source` that a later step reads, W(t) - R(t) bytes is how far below it has to start. A step
        that reads one and writes the other is held to what its kernel promises.

        Args:
            own: the kernels of steps; a step that is missing promises everything.
        """
        writes = self._writes[output]
        reads = self._reads.get(source, [])
        complete = max(step for step, _, _ in self._writes[source])
        if complete >= self.first[output] or writes != sorted(writes, key=lambda w: w[1:]):
            return Distance(None, False)
        below: int | None = -self.nbytes(source)
        same = True
        for step, begin, end in writes:
            if later := [at for s, at in reads if s > step]:
                need = end - min(later)
                below = None if below is None else max(below, need)
                same = same and need <= 0
            for s, at in reads:
                if s != step:
                    continue
                promise = _promise(self, step, source, at, own.get(step))
                need_own = None if promise.below is None else begin + promise.below - at
                below = None if below is None or need_own is None else max(below, need_own)
                same = same and (
                    (promise.same and begin == at) or (need_own is not None and need_own <= 0)
                )
        return Distance(below, same)

    def need(self, step: int, candidate: Candidate, scratch: int) -> int:
        """Bytes of the arena that must be there while `candidate` runs as `step`.

        Buffers that may share memory are counted in pairs, those that save most first.
        """
        alive = [name for name in self.first if self.alive(name, step)]
        out, _ = self.place(self.graph.nodes[step].output)
        pairs = []
        for output in alive:
            for source in alive:
                if self.first[source] < self.first[output]:
                    saved = self._saved(output, source, step, candidate if output == out else None)
                    if saved > 0:
                        pairs.append((saved, output, source))
        total, taken = scratch + sum(map(self.nbytes, alive)), set[str]()
        for saved, output, source in sorted(pairs, reverse=True):
            if not taken & {output, source}:
                taken |= {output, source}
                total -= saved
        return total

    def _saved(self, output: str, source: str, step: int, candidate: Candidate | None) -> int:
        """Bytes that sharing saves, where other steps' kernels promise everything."""
        if candidate is not None:
            return self._saving(output, source, self.distance(output, source, {step: candidate}))
        key = (output, source)
        if key not in self._savings:
            self._savings[key] = self._saving(output, source, self.distance(output, source, {}))
        return self._savings[key]

    def _saving(self, output: str, source: str, found: Distance) -> int:
        """Bytes that two buffers at the distance `found` have in common, at most."""
        before, after = self.nbytes(source), self.nbytes(output)
        saved = min(before, after) if found.same else 0
        if (d := found.below) is not None:
            saved = max(saved, before + after - max(before + max(d, 0), after + max(-d, 0)))
        return saved


def _promise(
    alive: Liveness, step: int, source: str, at: int, candidate: Candidate | None
) -> Distance:
    """What the kernel of `step` promises of an operand at byte `at` of buffer `source`."""
    if candidate is None:
        return Distance(0, True)
    first = alive.place(candidate.inputs[0])
    others = [alive.place(name)[0] for name in candidate.inputs[1:]]
    if first != (source, at) or source in others:
        return Distance(None, False)
    return Distance(candidate.overlap, candidate.in_place)


def views(graph: Graph, states: bool = True) -> dict[str, Place]:
    """For every view, the value that it lies in and its offset there in bytes.

    The next content of a state is one of the state (`codegen.states`), unless `states` is False.
    """
    found: dict[str, Place] = {}
    for node in graph.nodes:
        x = graph.values[node.inputs[0]] if node.inputs else None
        if node.op in ("reshape", "rescale"):
            found[node.output] = (node.inputs[0], 0)
        elif node.op == "slice_rows" and x is not None:
            row = x.nbytes // x.shape[node.attrs["axis"]]
            found[node.output] = (x.name, node.attrs["rows"][0] * row)
        elif node.op == "concat_rows":
            offset = 0
            for name in node.inputs:
                found[name] = (node.output, offset)
                offset += graph.values[name].nbytes
    if states:
        found |= {state.next: (state.name, 0) for state in graph.states}
    return found
