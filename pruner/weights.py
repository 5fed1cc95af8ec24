"""Zeros among the weights: unstructured, or N of M, by optimal brain surgeon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node
from pruner.checks import check_ratio, nothing_to_prune, prepared
from pruner.obs import sparsify
from pruner.ridge import answering
from pruner.walk import refit
from quantizer.gptq import damped
from quantizer.moments import Moments
from quantizer.weights import CHANNEL_AXIS
from quantizer.widths import layer_name

Pattern = tuple[int, int]


@dataclass(frozen=True)
class Sparsified:
    """The float graph with zeros, and of each layer (name: weights, zeros) how many."""

    graph: Graph
    layers: dict[str, tuple[int, int]]


def prune_weights(
    graph: Graph,
    calibration: Mapping[str, np.ndarray],
    *,
    sparsity: float | None = None,
    pattern: Pattern | None = None,
    all_layers: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> Sparsified:
    """Set weights to zero, let the others of their layer make up for them, correct the biases.

    Args:
        graph: canonical float graph.
        calibration: {input name: array [n, ...] of real values}.
        sparsity: share of the weights of each pruned layer that become zero, in (0, 1).
        pattern: (N, M) instead: at most N of M neighbours along a row of weights stay.
        all_layers: prune the first and the last layer too; depthwise ones always stay dense.

    Raises:
        EdgekitError: E201 .. E205 calibration data, E208 NaN in the network, E231 the graph is
            quantized, E232 a ratio outside (0, 1), E233 a layer that would be emptied, E234 nothing
            to prune, E235 a pattern that makes no sense.
    """
    report = progress or (lambda stage, share: None)
    if pattern is not None:
        check_pattern(pattern)
    else:
        check_ratio("sparsity", sparsity)
    graph, data = prepared(graph, calibration)
    chosen = layers_of(graph, all_layers)
    zeros = {}
    for node in chosen:
        size = graph.values[node.inputs[1]].size
        zeros[node.output] = 0 if pattern else round(float(sparsity or 0) * size)
        if not pattern and zeros[node.output] >= size:
            raise EdgekitError(
                "E233",
                f"a sparsity of {sparsity} leaves 0 of {size} weights in layer "
                f"'{layer_name(node)}'",
                help=f"at most {1 - 1 / size:.4g} leaves one",
            )

    def solve(node: Node, r: np.ndarray, found: Moments) -> np.ndarray:
        new = np.empty_like(r)
        share = len(r) // len(found.h)
        for g, (h, cross) in enumerate(zip(found.h, found.cross, strict=True)):
            part = slice(g * share, (g + 1) * share)
            count = zeros[node.output] * (g + 1) // len(found.h)
            count -= zeros[node.output] * g // len(found.h)
            target = np.where(r[part] == 0, 0.0, answering(r[part], h, cross))
            new[part] = sparsify(target, damped(h), count, pattern)
        return new

    pruned = refit(graph, data, {node.output: solve for node in chosen}, report)
    by_output = {node.output: node for node in pruned.nodes}
    counted = {}
    for node in chosen:
        w = pruned.constants[by_output[node.output].inputs[1]]
        counted[layer_name(node)] = (w.size, int((w == 0).sum()))
    return Sparsified(pruned, counted)


def layers_of(graph: Graph, all_layers: bool) -> list[Node]:
    """The layers whose weights are pruned.

    Raises:
        EdgekitError: E234 where there are none.
    """
    weighted = [node for node in graph.nodes if node.op in CHANNEL_AXIS]
    inner = weighted if all_layers else weighted[1:-1]
    chosen = [node for node in inner if node.op != "depthwise_conv2d"]
    if not chosen:
        depthwise = sum(node.op == "depthwise_conv2d" for node in weighted)
        why = f"of its {len(weighted)} layers with weights {depthwise} are depthwise"
        if all_layers:
            raise nothing_to_prune(graph, why, "remove channels instead (--channels)")
        raise nothing_to_prune(
            graph,
            f"{why}, and the first and the last stay dense",
            "prune the first and the last layer too (--all-layers)",
        )
    return chosen


def check_pattern(pattern: Pattern) -> None:
    """Raises EdgekitError E235 unless 1 <= N < M <= 32."""
    keep, of = pattern
    if not 1 <= keep < of <= MAX_M:
        raise EdgekitError(
            "E235",
            f"pattern {keep}:{of} keeps {keep} of each {of} weights",
            help=f"N:M keeps N of M neighbours: 1 <= N < M <= {MAX_M}, such as 2:4",
        )


#: Longer runs than this are as good as unstructured.
MAX_M = 32
