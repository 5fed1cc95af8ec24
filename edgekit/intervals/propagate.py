"""Intervals of every tensor of an integer graph, from the full range of its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.ops import operator
from edgekit.ops.accumulators import Accumulators, accumulators, results, taps_of
from edgekit.ops.interval import Interval, full, of_array
from edgekit.ops.requant import CHANNEL_AXIS


@dataclass(frozen=True)
class Intervals:
    """`values` by value name, activations only: float32 tensors have none.

    `sums` has the accumulators of conv2d, depthwise_conv2d and fully_connected nodes that compute
    in integers, by the name of their result.
    """

    values: dict[str, Interval]
    sums: dict[str, Accumulators]


def intervals(graph: Graph) -> Intervals:
    """Sound intervals per channel for every input of the network (docs/SPEC.md, integer meaning).

    A layer that computes in float32 can give everything that its dtype holds; an operator with a
    float32 operand has no interval.
    """
    found = Intervals({}, {})
    for name in graph.sources:
        if _is_integer(graph, name):
            found.values[name] = full(graph.values[name])
    for node in graph.nodes:
        for name in node.outputs[1:]:
            if _is_integer(graph, name):
                found.values[name] = full(graph.values[name])
        if _is_integer(graph, node.output):
            found.values[node.output] = _of_node(graph, node, found)
    return found


def _is_integer(graph: Graph, name: str) -> bool:
    return bool(np.issubdtype(graph.values[name].dtype, np.integer))


def _of_node(graph: Graph, node: Node, found: Intervals) -> Interval:
    values, out = [graph.values[i] for i in node.inputs], graph.values[node.output]
    if node.attrs.get("float") or not all(_is_integer(graph, i) for i in node.inputs):
        return full(out)

    def of(name: str) -> Interval:
        if name in graph.constants:
            return of_array(graph.constants[name])
        return found.values[name]

    if node.op not in CHANNEL_AXIS:
        return operator(node.op).interval(node, [of(i) for i in node.inputs], values, out)
    if not all(i in graph.constants for i in node.inputs[1:]):
        return full(out)
    weights, bias = (graph.constants[i] for i in node.inputs[1:])
    sums = accumulators(node, values[0], taps_of(node.op, weights), bias, of(node.inputs[0]))
    found.sums[node.output] = sums
    return results(node, values, out, sums)
