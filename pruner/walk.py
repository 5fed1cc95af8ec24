"""Both networks side by side over the calibration data, layer by layer in execution order.

A layer of the pruned network is finished, weights and bias, before that network goes on, so that
later layers see and answer the errors that remain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.ops.base import run_node
from quantizer.calibrate import check_finite
from quantizer.moments import Moments, moments
from quantizer.weights import CHANNEL_AXIS, rows, unrows
from quantizer.widths import layer_name

#: Float activations of the samples used are held at once; this many elements of the largest
#: tensor (128 MB of float32) bound how many samples that is.
HELD_ELEMENTS = 1 << 25
#: Makes rows [O, K] of the original layer into those of the pruned one, from the layer's moments:
#: `h` of the pruned network's inputs, `cross` of those with the original network's.
Solve = Callable[[Node, np.ndarray, Moments], np.ndarray]


def feeds_of(graph: Graph, data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Calibration data as float32, at most as many samples (evenly spread) as may be held."""
    largest = max(value.size for value in graph.values.values())
    n = max(1, HELD_ELEMENTS // largest)
    count = len(next(iter(data.values())))
    picked = np.linspace(0, count - 1, min(n, count)).astype(np.intp)
    return {name: x[picked].astype(np.float32) for name, x in data.items()}


def layer_moments(graph: Graph, data: Mapping[str, np.ndarray]) -> dict[str, Moments]:
    """Centred moments of what every layer with weights reads, by the layer's result.

    Raises:
        EdgekitError: E208 where the network itself gives NaN or infinity.
    """
    found: dict[str, Moments] = {}

    def look(node: Node, inputs: list[np.ndarray]) -> None:
        if node.op in CHANNEL_AXIS:
            found[node.output] = moments(node, inputs[1], inputs[0], 1.0, inputs[0]).centred()

    _run(graph, feeds_of(graph, data), look)
    return found


def _run(
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    look: Callable[[Node, list[np.ndarray]], None],
) -> None:
    live: dict[str, np.ndarray] = {**graph.constants, **feeds}
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    for node in graph.nodes:
        inputs = [live[i] for i in node.inputs]
        look(node, inputs)
        [live[node.output]] = run_node(graph, node, inputs)
        check_finite(node, live[node.output], 0)
        for name in node.inputs:
            uses[name] -= 1
            if uses[name] == 0:
                live.pop(name, None)


def refit(
    graph: Graph,
    data: Mapping[str, np.ndarray],
    solve: Mapping[str, Solve],
    progress: Callable[[str, float], None],
) -> Graph:
    """A copy of `graph` with new weights and biases, all of the same shapes.

    Args:
        graph: canonical float graph.
        data: calibration samples by input name.
        solve: how the weights of a layer are found, by its result's name. Layers that it does not
            name keep their weights.

    Every bias makes the mean of each channel, before the activation, that of the original network
    (empirical bias correction, arXiv:1906.04721, section 4.2).

    Raises:
        EdgekitError: E208 where the original network gives NaN or infinity.
    """
    feeds = feeds_of(graph, data)
    pruned = graph.copy()
    ours: dict[str, np.ndarray] = {**graph.constants, **feeds}
    theirs: dict[str, np.ndarray] = dict(ours)
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    for number, node in enumerate(graph.nodes):
        want = [theirs[i] for i in node.inputs]
        have = [ours[i] for i in node.inputs]
        [theirs[node.output]] = run_node(graph, node, want)
        check_finite(node, theirs[node.output], 0)
        if node.op in CHANNEL_AXIS:
            have[1:] = _finish(node, want, have[0], solve.get(node.output))
            names = [
                pruned.add_constant(f"{name}:pruned", array)
                for name, array in zip(node.inputs[1:], have[1:], strict=True)
            ]
            pruned.nodes[number] = Node(
                node.op, (node.inputs[0], *names), node.outputs, node.attrs, node.name
            )
        [ours[node.output]] = run_node(graph, node, have)
        for name in node.inputs:
            uses[name] -= 1
            if uses[name] == 0:
                ours.pop(name, None)
                theirs.pop(name, None)
        progress(f"refit {layer_name(node)}", (number + 1) / len(graph.nodes))
    return renamed(pruned, graph)


def _finish(
    node: Node, want: list[np.ndarray], x: np.ndarray, solve: Solve | None
) -> tuple[np.ndarray, np.ndarray]:
    """New weights and bias of one layer; `want` are the original's operands, `x` the new one."""
    real, w, bias = want
    found = moments(node, w, x, 1.0, real)
    r = rows(node, w).astype(np.float64)
    new = r if solve is None else solve(node, r, found.centred())
    share = len(r) // len(found.mean)
    shift = (
        np.repeat(found.float_mean, share, axis=0) * r - np.repeat(found.mean, share, axis=0) * new
    )
    bias = (bias + shift.sum(axis=1)).astype(np.float32)
    return unrows(node, new.astype(np.float32), w.shape), bias


def renamed(pruned: Graph, graph: Graph) -> Graph:
    """`pruned` with its new constants under the names that the original's have, where one layer
    alone reads them."""
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    for number, (node, old) in enumerate(zip(pruned.nodes, graph.nodes, strict=True)):
        inputs = list(node.inputs)
        for i, (new_name, old_name) in enumerate(zip(node.inputs, old.inputs, strict=True)):
            if new_name != old_name and uses[old_name] == 1:
                pruned.constants[old_name] = pruned.constants[new_name]
                inputs[i] = old_name
        pruned.nodes[number] = Node(node.op, tuple(inputs), node.outputs, node.attrs, node.name)
    pruned.drop_unused()
    return pruned.verify()
