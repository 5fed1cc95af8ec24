"""Remove nodes that change nothing, or put simpler ones in their place.

1. A reshape to the shape it already has.
2. A transpose with the identity permutation.
3. A clip that is open on both sides.
4. A reshape of a reshape reads the first one's operand.
5. A transpose of a transpose becomes one with the composed permutation.
6. A float add of zeros or mul by ones that does not broadcast its operand.
7. A float clip moves in front of the reshape that it alone reads, next to what it may fuse with.
8. A float prelu with one slope for all channels becomes a leaky_relu, which is a table for int8.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.passes.edit import (
    bypass,
    is_float,
    is_real,
    make,
    only_reader,
    replace_node,
    with_inputs,
)


def identities(graph: Graph) -> bool:
    """Apply the rules above once to each node; returns whether anything changed."""
    changed = False
    for name in [n.output for n in graph.nodes]:
        node = graph.producer(name)
        if node is None:
            continue
        if _changes_nothing(graph, node):
            changed |= bypass(graph, node)
        else:
            changed |= (
                _merge(graph, node) or _clip_before_reshape(graph, node) or _one_slope(graph, node)
            )
    if changed:
        graph.drop_unused()
    return changed


def _changes_nothing(graph: Graph, node: Node) -> bool:
    x, y = graph.values[node.inputs[0]], graph.values[node.output]
    if x.shape != y.shape or x.quant != y.quant:
        return False
    if node.op == "reshape":
        return True
    if node.op == "transpose":
        return list(node.attrs["perm"]) == sorted(node.attrs["perm"])
    clamp = node.attrs.get("clamp")
    if clamp not in (None, [None, None]):
        return False
    if node.op == "clip":
        return True
    if node.op in ("add", "mul") and node.inputs[1] in graph.constants and y.quant is None:
        neutral = 0 if node.op == "add" else 1
        return bool(np.all(graph.constants[node.inputs[1]] == neutral))
    return False


def _merge(graph: Graph, node: Node) -> bool:
    first = graph.producer(node.inputs[0])
    if first is None or first.op != node.op or node.op not in ("reshape", "transpose"):
        return False
    if graph.values[first.inputs[0]].quant != graph.values[node.output].quant:
        return False
    attrs = node.attrs
    if node.op == "transpose":
        attrs = {"perm": [first.attrs["perm"][p] for p in node.attrs["perm"]]}
    replace_node(graph, node, replace(node, inputs=first.inputs, attrs=attrs))
    return True


def _clip_before_reshape(graph: Graph, node: Node) -> bool:
    if node.op != "clip" or not is_real(graph, node.output):
        return False
    reshape = graph.producer(node.inputs[0])
    if reshape is None or reshape.op != "reshape" or only_reader(graph, reshape.output) is None:
        return False
    if not (is_float(graph, reshape.inputs[0]) and is_float(graph, reshape.output)):
        return False
    clip = make(graph, "clip", reshape.inputs, node.attrs, node)
    after = with_inputs(replace(reshape, outputs=node.outputs), clip.output)
    replace_node(graph, node, clip, after)
    return True


def _one_slope(graph: Graph, node: Node) -> bool:
    if node.op != "prelu" or node.attrs.get("clamp") is not None:
        return False
    x, slope = node.inputs
    same_shape = graph.values[x].shape == graph.values[node.output].shape
    if not same_shape or not all(is_float(graph, name) for name in (x, slope, node.output)):
        return False
    slopes = np.unique(graph.constants.get(slope, np.zeros(0)))
    if slopes.size != 1:
        return False
    attrs = {"function": "leaky_relu", "alpha": float(slopes[0])}
    replace_node(graph, node, replace(node, op="unary", inputs=(x,), attrs=attrs))
    return True
