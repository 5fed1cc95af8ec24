"""Which tensors have one width, and which one quantization.

Operators say so themselves (`Operator.converts`, `Operator.grid`); a state and its next content are
one tensor at two times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgekit.graph import Graph, Node, Quant, raw_inputs
from edgekit.ops import operator


class Groups:
    """Disjoint sets of names; the name of a set is the member that came first."""

    def __init__(self, names: Iterable[str]) -> None:
        self._parent = {name: name for name in names}
        self._order = {name: i for i, name in enumerate(self._parent)}

    def __contains__(self, name: str) -> bool:
        return name in self._parent

    @property
    def names(self) -> list[str]:
        """All members of all sets, in their order."""
        return list(self._parent)

    def of(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def join(self, first: str, second: str) -> None:
        a, b = sorted((self.of(first), self.of(second)), key=self._order.__getitem__)
        self._parent[b] = a

    def members(self) -> dict[str, list[str]]:
        """The members of every set in their order, by the set's name."""
        found: dict[str, list[str]] = {}
        for name in self._parent:
            found.setdefault(self.of(name), []).append(name)
        return found


def activations(graph: Graph) -> list[str]:
    """Names of the real tensors of a float graph but constants, in the order of execution."""
    made = [name for node in graph.nodes for name in node.outputs]
    return [n for n in (*graph.sources, *made) if graph.values[n].dtype == "float32"]


def width_groups(graph: Graph) -> Groups:
    """Tensors that have one dtype."""
    groups = Groups(activations(graph))
    for node in graph.nodes:
        op = operator(node.op)
        if not op.converts:
            wide = op.wide(node)
            _join(groups, [n for n in (*node.inputs, *node.outputs) if n not in wide])
        for tied in op.ties(node):
            _join(groups, tied)
    for state in graph.states:
        _join(groups, [state.name, state.next])
    return groups


def grid_groups(graph: Graph, dtypes: Mapping[str, str]) -> tuple[Groups, dict[str, Quant]]:
    """Tensors that have one quantization, and that of the groups for which operators fix it.

    An operator that wants one for all of its operands ("operands") gets it where none of them is
    fixed, or all of them alike.
    """
    groups = Groups(activations(graph))
    for node in graph.nodes:
        op = operator(node.op)
        if op.grid_for(node) == "operand":
            _join(groups, [node.inputs[0], *node.outputs])
        for tied in op.ties(node):
            _join(groups, tied)
    for state in graph.states:
        _join(groups, [state.name, state.next])
    fixed = fixed_grids(graph, dtypes, groups)
    for node in graph.nodes:
        if operator(node.op).grid_for(node) != "operands":
            continue
        names = [n for n in (*node.inputs, *node.outputs) if n in groups]
        found = {fixed.get(groups.of(n)) for n in node.inputs if n in groups}
        if len(found) == 1:
            _join(groups, names)
            fixed = fixed_grids(graph, dtypes, groups)
    return groups, fixed


def fixed_grids(graph: Graph, dtypes: Mapping[str, str], groups: Groups) -> dict[str, Quant]:
    """The quantization by group that operators fix, and that of inputs with given integers."""
    by_operator = {
        groups.of(name): operator(node.op).fixed_quant(node, dtypes[name])
        for node in reversed(graph.nodes)
        for name in node.outputs
        if _is_fixed(node) and name in groups and dtypes[name] != "float32"
    }
    given = {groups.of(name): quant for name, (_, quant) in raw_inputs(graph).items()}
    return by_operator | given


def inner_grids(
    graph: Graph,
    inner: Mapping[str, Mapping[str, tuple[float, float]]],
    tensors: Mapping[str, tuple[float, float]],
    groups: Groups,
) -> dict[str, Quant]:
    """The quantization by group that quantities inside of operators decide: the coarsest that is
    asked for, and coarse enough for the extremes of the group's own `tensors`."""
    found: dict[str, Quant] = {}
    for node in graph.nodes:
        asked = operator(node.op).inner_quants(node, inner.get(node.output, {}))
        for name, quant in asked.items():
            if name in groups:
                before = found.get(groups.of(name), quant)
                found[groups.of(name)] = max(before, quant, key=lambda q: float(q.scale[0]))
    members = groups.members()
    for root, quant in found.items():
        scale = float(quant.scale[0])
        reach = max(max(-tensors[n][0], tensors[n][1]) for n in members[root])
        while scale * 32767 < reach:
            scale *= 2
        found[root] = Quant.make(scale, 0)
    return found


def _is_fixed(node: Node) -> bool:
    return operator(node.op).grid_for(node) == "fixed"


def _join(groups: Groups, names: Iterable[str]) -> None:
    known = [name for name in names if name in groups]
    for name in known[1:]:
        groups.join(known[0], name)
