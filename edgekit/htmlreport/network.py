"""The graph of a build as boxes and edges, each box with the kernel call that it became."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.graph import Graph, Node, Value
from edgekit.htmlreport.facts import GraphEdge, GraphNode


@dataclass(frozen=True)
class Network:
    """`results` are calls' first results by index; `unmatched` are calls without a node."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    results: dict[int, Value]
    unmatched: tuple[int, ...]


def network(graph: Graph, layers: Sequence[str]) -> Network:
    """Boxes in the order of execution: inputs and states, nodes, outputs.

    Args:
        layers: names of the kernel calls in order; a call belongs to the first node of its name
            that has no call yet.
    """
    calls: dict[str, deque[int]] = defaultdict(deque)
    for i, name in enumerate(layers):
        calls[name].append(i)
    boxes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    made: dict[str, int] = {}
    results: dict[int, Value] = {}
    for kind, names in (("input", graph.inputs), ("state", [s.name for s in graph.states])):
        for name in names:
            made[name] = len(boxes)
            boxes.append(_box(name, "", kind, graph.values[name]))
    for node in graph.nodes:
        name = node.name or node.output
        call = calls[name].popleft() if calls[name] else None
        at = len(boxes)
        kind = "view" if call is None else "layer"
        boxes.append(
            _box(name, node.op, kind, graph.values[node.output], call, _weights(graph, node))
        )
        if call is not None:
            results[call] = graph.values[node.output]
        sources = dict.fromkeys(i for i in node.inputs if i in made)
        edges += [GraphEdge(made[i], at, i) for i in sources]
        made |= dict.fromkeys(node.outputs, at)
    copies = {
        state.name: calls[name].popleft()
        for state in graph.states
        for name in list(calls)
        if calls[name] and name.startswith(f"{state.name}:next")
    }
    unmatched = sorted(i for left in calls.values() for i in left)
    for i in unmatched:
        boxes.append(GraphNode(layers[i], "", "layer", i))
    for name in graph.outputs:
        if name in made:
            edges.append(GraphEdge(made[name], len(boxes), name))
            boxes.append(_box(name, "", "output", graph.values[name]))
    for state in graph.states:
        if state.next not in made:
            continue
        if state.name in copies:  # codegen made one, where it could not write in place
            edges.append(GraphEdge(made[state.next], len(boxes), state.next))
            made[state.next] = len(boxes)
            call = copies[state.name]
            boxes.append(_box(layers[call], "copy", "layer", graph.values[state.name], call))
            results[call] = graph.values[state.name]
        edges.append(GraphEdge(made[state.next], len(boxes), state.next))
        boxes.append(_box(state.name, "", "update", graph.values[state.name]))
    return Network(tuple(boxes), tuple(edges), results, tuple(unmatched))


def _box(
    name: str, op: str, kind: str, value: Value, layer: int | None = None, weights: str = ""
) -> GraphNode:
    q = value.quant
    one = q is not None and q.scale.size == 1
    return GraphNode(
        name,
        op,
        kind,
        layer,
        value.shape,
        value.dtype,
        float(q.scale[0]) if q is not None and one else None,
        int(q.zero_point[0]) if q is not None and one else None,
        weights,
    )


def _weights(graph: Graph, node: Node) -> str:
    """The constants that a node reads, such as ``int8[16, 3, 3, 1], int32[16]``."""
    constants = (graph.values[i] for i in node.inputs if i in graph.constants)
    return ", ".join(f"{v.dtype}{list(v.shape)}" for v in constants)
