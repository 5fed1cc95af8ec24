"""States in the arena: where a state's next content is made.

It is made in the state's own buffer where that buffer has been read for the last time, so that
nothing has to be copied; else a copy at the end brings it there.
"""

from __future__ import annotations

from dataclasses import replace

from codegen.liveness import VIEWS, views
from edgekit.graph import Graph, Node, State


def kept_states(graph: Graph) -> Graph:
    """The graph with a `copy` at the end for every state whose next content cannot be made in the
    state's buffer; `graph` itself where there is none."""
    taken: set[str] = set()
    result = graph
    for i, state in enumerate(graph.states):
        if state.next not in taken and _in_place(graph, state):
            taken.add(state.next)
            continue
        if result is graph:
            result = graph.copy()
        name = result.fresh(f"{state.name}:next")
        result.add_value(replace(graph.values[state.name], name=name))
        result.nodes.append(Node("copy", (state.next,), (name,), {}, name))
        result.states[i] = State(state.name, name, state.initial)
    return result if result is graph else result.verify()


def _in_place(graph: Graph, state: State) -> bool:
    maker = next((i for i, n in enumerate(graph.nodes) if state.next in n.outputs), None)
    if maker is None or graph.nodes[maker].op in VIEWS or state.next in graph.outputs:
        return False
    lies_in = {name: place[0] for name, place in views(graph, states=False).items()}

    def root(name: str) -> str:
        while name in lies_in:
            name = lies_in[name]
        return name

    if root(state.next) != state.next:
        return False
    last = len(graph.nodes) if state.name in map(root, graph.outputs) else -1
    others = [s for s in graph.states if s is not state]
    if any(root(s.next) in (state.name, state.next) for s in others):
        return False
    for step, node in enumerate(graph.nodes):
        if state.name in map(root, node.inputs):
            last = max(last, step)
    return last < maker
