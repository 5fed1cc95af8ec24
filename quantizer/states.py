"""Graphs with states, as graphs without: what the float network finds in its states becomes data.

Calibration, rounding and correction look at all samples at once. A state ties each sample to the
one before; but once the float network has run, its states are known for every sample, and a graph
that takes them as further inputs computes the same. The integer network is made from that graph
(each of its samples thus starts from the float network's states) and gets its states back at the
end; how far it drifts is measured on the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.graph import Graph, Node, State
from edgekit.ops.convert import quantize
from edgekit.reference import states_of
from quantizer.floats import evaluate


def opened(graph: Graph, data: Mapping[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """The graph with its states as inputs and their next contents as outputs, and the data with
    what the states hold in front of every sample."""
    if not graph.states:
        return graph, dict(data)
    feeds = {name: x.astype(graph.values[name].dtype) for name, x in data.items()}
    result = graph.copy()
    result.states = []
    result.inputs += [state.name for state in graph.states]
    made = {name for node in graph.nodes for name in node.outputs}
    result.outputs += [
        s.next for s in graph.states if s.next in made and s.next not in result.outputs
    ]
    return result, {**data, **states_of(graph, feeds, evaluate)}


def closed(integer: Graph, graph: Graph) -> Graph:
    """The integer graph of an opened `graph` with its states again, a requantization in front of
    those whose next content has another grid."""
    if not graph.states:
        return integer
    result = integer.copy()
    names = {state.name for state in graph.states}
    result.inputs = [name for name in integer.inputs if name not in names]
    result.outputs = list(graph.outputs)
    for state in graph.states:
        value, following = result.values[state.name], result.values[state.next]
        after = state.next
        if (value.dtype, value.quant) != (following.dtype, following.quant):
            after = result.fresh(f"{state.name}:next")
            result.add_value(replace(value, name=after))
            attrs: dict[str, Any] = {"clamp": [None, None]}
            if following.dtype != value.dtype:
                attrs["out_dtype"] = value.dtype
            result.nodes.append(Node("clip", (state.next,), (after,), attrs, after))
        initial = state.initial if value.quant is None else quantize(value, state.initial)
        result.states.append(State(state.name, after, initial))
    return result.verify()
