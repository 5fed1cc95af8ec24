"""Which values are alive when, before kernels are chosen: what a layer's RAM depends on."""

from __future__ import annotations

from codegen.kernel import Candidate
from edgekit.graph import Graph, Node


class Liveness:
    """Lifetimes of the buffers of an integer graph; a reshape shares its input's buffer.

    Step i is node i of the graph; inputs are alive from before the first step, outputs until after
    the last.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._alias = {n.output: n.inputs[0] for n in graph.nodes if n.op == "reshape"}
        self._first = {self.root(name): -1 for name in graph.inputs}
        self._last: dict[str, int] = {}
        for i, node in enumerate(graph.nodes):
            for name in node.inputs:
                if name not in graph.constants:
                    self._last[self.root(name)] = i
            self._first.setdefault(self.root(node.output), i)
        for name in graph.outputs:
            self._last[self.root(name)] = len(graph.nodes)

    def root(self, name: str) -> str:
        """The value whose buffer `name` lies in."""
        while name in self._alias:
            name = self._alias[name]
        return name

    def need(self, step: int, candidate: Candidate, scratch: int) -> int:
        """Bytes of the arena that must be alive while `candidate` runs as `step`."""
        node: Node = self.graph.nodes[step]
        out = self.root(node.output)
        source = self.root(candidate.inputs[0]) if candidate.inputs else ""
        own = {out, source}
        others = sum(
            self._bytes(name)
            for name, first in self._first.items()
            if name not in own and first <= step <= self._last.get(name, first)
        )
        before, after = self._bytes(source) if source else 0, self._bytes(out)
        together = before + after
        if source and self._last[source] == step:
            if candidate.in_place:
                together = max(before, after)
            elif (d := candidate.overlap) is not None:
                together = min(together, max(before + max(d, 0), after + max(-d, 0)))
        return others + together + scratch

    def _bytes(self, name: str) -> int:
        return self.graph.values[name].nbytes
