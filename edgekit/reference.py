"""Run a graph in numpy: the first back end, and the oracle of all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal

import numpy as np

from edgekit.graph import Graph, GraphError, Node
from edgekit.ops import operator
from edgekit.ops.base import run_node

#: The results of one node on its operands.
Evaluate = Callable[[Graph, Node, list[np.ndarray]], list[np.ndarray]]
Step = tuple[Node, list[np.ndarray], list[np.ndarray]]


def run(
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    keep: Collection[str] | Literal["all"] | None = None,
) -> dict[str, np.ndarray]:
    """Execute a verified graph, float or integer, on a batch.

    Where the graph has states, the samples are consecutive: each starts from what the one before
    left behind, the first from the initial contents.

    Args:
        feeds: for each graph input an array [n, *shape[1:]] of the input's dtype, [n, *shape] where
            its leading axis is not 1. Integer inputs are raw integers;
            `edgekit.data.quantize_input` makes them from real values.
        keep: names of further values to return, or "all"; everything else is dropped after its
            last use. A state's array has what each sample started from.

    Returns:
        The graph's outputs and the kept values by name, shaped as feeds are.

    Raises:
        GraphError: where a feed is missing or its shape or dtype is not the input's.
    """
    wanted = set(graph.outputs) | (set() if keep is None or keep == "all" else set(keep))
    known = {name: np.asarray(feeds[name]) for name in graph.inputs if name in feeds}
    known |= {name: graph.constants[name] for name in wanted if name in graph.constants}
    kept = {name: x for name, x in known.items() if keep == "all" or name in wanted}
    started = {} if not graph.states else states_of(graph, feeds)
    kept |= {name: x for name, x in started.items() if keep == "all" or name in wanted}
    for node, _, results in steps(graph, feeds, started=started):
        for name, result in zip(node.outputs, results, strict=True):
            if keep == "all" or name in wanted:
                kept[name] = result
    return kept


def steps(
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    evaluate: Evaluate = run_node,
    started: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Step]:
    """Execute node by node: yields (node, operands, results) and drops dead values as it goes.

    Arguments and errors as for `run`; `evaluate` is what runs one node. `started` has what each
    sample finds in the states; None: what the samples before it left there.
    """
    live: dict[str, np.ndarray] = dict(graph.constants)
    for name in graph.inputs:
        live[name] = _checked_feed(graph, name, feeds)
    if len({len(live[name]) for name in graph.inputs}) > 1:
        raise GraphError("the inputs differ in their number of samples")
    count = len(live[graph.inputs[0]]) if graph.inputs else 1
    live |= states_of(graph, feeds, evaluate) if graph.states and started is None else started or {}
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    for node in graph.nodes:
        operands = [live[i] for i in node.inputs]
        results = evaluate_samples(graph, node, operands, count, evaluate)
        for name, result in zip(node.outputs, results, strict=True):
            if uses[name]:
                live[name] = result
        for name in node.inputs:
            uses[name] -= 1
            if uses[name] == 0:
                live.pop(name, None)
        yield node, operands, results


def states_of(
    graph: Graph, feeds: Mapping[str, np.ndarray], evaluate: Evaluate = run_node
) -> dict[str, np.ndarray]:
    """What every sample finds in the states when the samples run one after the other."""
    count = len(next(iter(feeds.values())))
    now = {state.name: _with_samples(graph, state.name, state.initial) for state in graph.states}
    found: dict[str, list[np.ndarray]] = {name: [] for name in now}
    for i in range(count):
        for name, content in now.items():
            found[name].append(content)
        if i + 1 == count:
            break
        feed = {name: np.asarray(feeds[name])[i : i + 1] for name in graph.inputs}
        made = {**feed, **now, **{k: graph.constants[k] for k in graph.constants}}
        for node, _, results in steps(graph, feed, evaluate, now):
            made.update(zip(node.outputs, results, strict=True))
        now = {state.name: made[state.next] for state in graph.states}
    return {name: np.concatenate(contents) for name, contents in found.items()}


def _with_samples(graph: Graph, name: str, array: np.ndarray) -> np.ndarray:
    """One sample's array as `run` holds it: [1, *shape[1:]], [1, *shape] without a batch axis."""
    return array if graph.values[name].shape[:1] == (1,) else array[None]


def evaluate_samples(
    graph: Graph, node: Node, operands: list[np.ndarray], count: int, evaluate: Evaluate
) -> list[np.ndarray]:
    """The node's results for all samples: together where they have a batch axis, else singly."""
    inputs = [graph.values[i] for i in node.inputs]
    varying = [i not in graph.constants for i in node.inputs]
    activations = [v for v, varies in zip(inputs, varying, strict=True) if varies]
    outs = [graph.values[o] for o in node.outputs]
    in_front = all(v.shape[:1] == (1,) for v in (*activations, *outs))
    if in_front and (count == 1 or operator(node.op).batched(node, inputs)):
        results = evaluate(graph, node, operands)
        if activations:
            return results
        return [np.repeat(r, count, axis=0) if count != 1 else r for r in results]
    rows: list[list[np.ndarray]] = []
    for k in range(count):
        sample = [
            x[k].reshape(v.shape) if varies else x
            for x, v, varies in zip(operands, inputs, varying, strict=True)
        ]
        rows.append(evaluate(graph, node, sample))
    return [np.stack([row[i].reshape(v.sample_shape) for row in rows]) for i, v in enumerate(outs)]


def _checked_feed(graph: Graph, name: str, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in feeds:
        raise GraphError(f"no array for input '{name}'")
    value, array = graph.values[name], np.asarray(feeds[name])
    if str(array.dtype) != value.dtype or tuple(array.shape[1:]) != value.sample_shape:
        raise GraphError(
            f"input '{name}' is {value.dtype}{list(value.shape)}, "
            f"its array {array.dtype}{list(array.shape)}"
        )
    return array
