"""Run a graph in numpy: the first back end, and the oracle of all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal

import numpy as np

from edgekit.graph import Graph, GraphError, Node
from edgekit.ops.base import run_node

Evaluate = Callable[[Graph, Node, list[np.ndarray]], np.ndarray]


def run(
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    keep: Collection[str] | Literal["all"] | None = None,
) -> dict[str, np.ndarray]:
    """Execute a verified graph, float or integer, on a batch.

    Args:
        feeds: for each graph input an array [n, *shape[1:]] of the input's dtype. Integer inputs
            are raw integers; `edgekit.data.quantize_input` makes them from real values.
        keep: names of further values to return, or "all"; everything else is dropped after its
            last use.

    Returns:
        The graph's outputs and the kept values by name, each [n, *shape[1:]].

    Raises:
        GraphError: where a feed is missing or its shape or dtype is not the input's.
    """
    wanted = set(graph.outputs) | (set() if keep is None or keep == "all" else set(keep))
    known = {name: np.asarray(feeds[name]) for name in graph.inputs if name in feeds}
    known |= {name: graph.constants[name] for name in wanted if name in graph.constants}
    kept = {name: x for name, x in known.items() if keep == "all" or name in wanted}
    for node, _, result in steps(graph, feeds):
        if keep == "all" or node.output in wanted:
            kept[node.output] = result
    return kept


def steps(
    graph: Graph, feeds: Mapping[str, np.ndarray], evaluate: Evaluate = run_node
) -> Iterator[tuple[Node, list[np.ndarray], np.ndarray]]:
    """Execute node by node: yields (node, operands, result) and drops dead values as it goes.

    Arguments and errors as for `run`; `evaluate` is what runs one node.
    """
    live: dict[str, np.ndarray] = dict(graph.constants)
    for name in graph.inputs:
        live[name] = _checked_feed(graph, name, feeds)
    if len({len(live[name]) for name in graph.inputs}) > 1:
        raise GraphError("the inputs differ in their number of samples")
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    for node in graph.nodes:
        operands = [live[i] for i in node.inputs]
        result = evaluate(graph, node, operands)
        if uses[node.output]:
            live[node.output] = result
        for name in node.inputs:
            uses[name] -= 1
            if uses[name] == 0:
                live.pop(name, None)
        yield node, operands, result


def _checked_feed(graph: Graph, name: str, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in feeds:
        raise GraphError(f"no array for input '{name}'")
    value, array = graph.values[name], np.asarray(feeds[name])
    if str(array.dtype) != value.dtype or tuple(array.shape[1:]) != value.shape[1:]:
        raise GraphError(
            f"input '{name}' is {value.dtype}{list(value.shape)}, "
            f"its array {array.dtype}{list(array.shape)}"
        )
    return array
