"""fully_connected on several rows, in the form that every kernel of a convolution serves.

1. fully_connected of several rows: a 1x1 conv2d over an image of one row that has a pixel for
   each row. The integers are the same: one multiplier per output channel in either operator.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Quant
from edgekit.passes.edit import add_constant, make, replace_node


def several_rows(graph: Graph) -> bool:
    """Apply the rule to every node; returns whether anything changed."""
    changed = False
    for node in list(graph.nodes):
        if node.op == "fully_connected" and graph.is_constant(node.inputs[1]):
            changed |= _as_convolution(graph, node)
    if changed:
        graph.drop_unused()
    return changed


def _as_convolution(graph: Graph, node: Node) -> bool:
    x, w, bias = node.inputs
    value, shape = graph.values[x], graph.values[node.output].shape
    channels, depth = graph.constants[w].shape
    rows = value.size // depth
    if rows == 1:
        return False
    data = graph.constants[w].reshape(channels, 1, 1, depth)
    weights = add_constant(graph, w, data, _per_channel(graph, w, channels))
    if graph.values[bias].quant is not None:
        quant = _per_channel(graph, bias, channels)
        bias = add_constant(graph, bias, graph.constants[bias], quant)
    image = make(graph, "reshape", (x,), {"shape": [1, 1, rows, depth]}, node)
    graph.values[image.output] = replace(graph.values[image.output], quant=value.quant)
    attrs = {**node.attrs, "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    conv = make(graph, "conv2d", (image.output, weights, bias), attrs, node)
    back = Node("reshape", (conv.output,), node.outputs, {"shape": list(shape)}, node.name)
    replace_node(graph, node, image, conv, back)
    return True


def _per_channel(graph: Graph, name: str, channels: int) -> Quant | None:
    """The quantization with a scale for each channel, as convolutions have it."""
    quant = graph.values[name].quant
    if quant is None or quant.per_channel:
        return quant
    scale, zero_point = np.repeat(quant.scale, channels), np.repeat(quant.zero_point, channels)
    return replace(quant, scale=scale, zero_point=zero_point, axis=0)
