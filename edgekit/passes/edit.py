"""Small edits on a graph that every pass needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.graph import Graph, Node, Quant, Value
from edgekit.ops import operator

#: An edit around one node.
Rule = Callable[[Graph, Node], bool]
# How generated names end, see `fresh`.
GENERATED = re.compile(r"~\d+$")


def replace_node(graph: Graph, old: Node, *new: Node) -> None:
    """Put `new` where `old` stands in the execution order."""
    at = next(i for i, n in enumerate(graph.nodes) if n is old)
    graph.nodes[at : at + 1] = new


def until_settled(graph: Graph, rules: Sequence[Rule]) -> bool:
    """Apply the first of `rules` that changes anything to all nodes, then start again with the
    first one, until none does; returns whether anything changed.

    A rule edits the graph around one node and says whether it did.
    """
    changed = False
    while any(_everywhere(graph, rule) for rule in rules):
        graph.drop_unused()
        changed = True
    return changed


def _everywhere(graph: Graph, rule: Rule) -> bool:
    changed = False
    present = {id(node) for node in graph.nodes}
    for node in list(graph.nodes):
        if id(node) in present and rule(graph, node):
            changed = True
            present = {id(n) for n in graph.nodes}
    return changed


def base_name(name: str) -> str:
    """The name that a generated name ``x~2`` was made from."""
    return GENERATED.sub("", name)


def fresh(graph: Graph, name: str) -> str:
    """A free name of the form ``x~2`` that says what it comes from."""
    base, i = base_name(name), 2
    while f"{base}~{i}" in graph.values:
        i += 1
    return f"{base}~{i}"


def add_constant(graph: Graph, name: str, data: np.ndarray, quant: Quant | None = None) -> str:
    """Store `data` under a fresh name made from `name`; returns that name."""
    return graph.add_constant(fresh(graph, name), data, quant)


def make(
    graph: Graph, op: str, inputs: Sequence[str], attrs: dict[str, Any], like: Node, out: str = ""
) -> Node:
    """A new node that is not yet in the execution order, with its result's value.

    `like` gives its name and its result's quantization; `out` is the result's name, a fresh one
    where empty.
    """
    quant = graph.values[like.output].quant
    node = Node(op, tuple(inputs), (out or fresh(graph, like.output),), attrs, like.name)
    [(shape, dtype)] = operator(op).checked(node, [graph.values[i] for i in inputs])
    graph.add_value(Value(node.output, shape, dtype, quant))
    return node


def with_inputs(node: Node, *inputs: str) -> Node:
    return replace(node, inputs=inputs)


def redirect(graph: Graph, old: str, new: str) -> None:
    """Let every node and state that reads `old` read `new`; graph outputs keep their names."""
    for i, node in enumerate(graph.nodes):
        if old in node.inputs:
            inputs = tuple(new if name == old else name for name in node.inputs)
            graph.nodes[i] = replace(node, inputs=inputs)
    graph.states = [replace(s, next=new) if s.next == old else s for s in graph.states]


def rename(graph: Graph, old: str, new: str) -> None:
    """Rename a node's result; `new` must be free."""
    graph.values[new] = replace(graph.values.pop(old), name=new)
    for i, node in enumerate(graph.nodes):
        if old in node.inputs or old in node.outputs:
            graph.nodes[i] = replace(
                node,
                inputs=tuple(new if name == old else name for name in node.inputs),
                outputs=tuple(new if name == old else name for name in node.outputs),
            )
    graph.outputs = [new if name == old else name for name in graph.outputs]
    graph.states = [
        replace(s, name=new if s.name == old else s.name, next=new if s.next == old else s.next)
        for s in graph.states
    ]


def bypass(graph: Graph, node: Node) -> bool:
    """Remove a node whose result equals its first operand; says whether that was possible.

    The name of a graph output survives: the operand then takes it over, which needs an operand
    that is neither a graph input nor a constant nor an output itself.
    """
    source, result = node.inputs[0], node.output
    if result in graph.outputs:
        if source in graph.sources or source in graph.outputs or graph.is_constant(source):
            return False
        redirect(graph, result, source)
        graph.nodes = [n for n in graph.nodes if n is not node and result not in n.outputs]
        del graph.values[result]
        rename(graph, source, result)
        graph.outputs = [result if name == source else name for name in graph.outputs]
        return True
    graph.nodes = [n for n in graph.nodes if n is not node]
    redirect(graph, result, source)
    del graph.values[result]
    return True


def only_reader(graph: Graph, name: str) -> Node | None:
    """The node that alone reads `name`, or None; outputs and states have a reader outside."""
    readers = graph.consumers(name)
    return readers[0] if len(readers) == 1 and name not in graph.results else None


def private_producer(graph: Graph, name: str) -> Node | None:
    """The node that makes `name`, where nobody but one node reads it."""
    return graph.producer(name) if only_reader(graph, name) is not None else None


def is_float(graph: Graph, name: str) -> bool:
    """Whether `name` holds any real numbers, rounded to no grid."""
    return is_real(graph, name) and graph.values[name].quant is None


def is_real(graph: Graph, name: str) -> bool:
    """Whether `name` holds float32, which may be rounded to the grid that its `quant` is."""
    return graph.values[name].dtype == "float32"


def channel_vector(graph: Graph, name: str, channels: int) -> np.ndarray | None:
    """A constant that varies along the last axis at most, as float64 [channels], else None."""
    data = graph.constants.get(name)
    if data is None or not is_real(graph, name):
        return None
    if data.size == 1:
        return np.full(channels, float(data.reshape(-1)[0]))
    if data.shape[-1] == data.size == channels:
        return data.reshape(-1).astype(np.float64)
    return None
