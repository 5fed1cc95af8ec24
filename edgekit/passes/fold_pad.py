"""Let convolutions pad by themselves.

1. A pad with zeros along rows and columns in front of conv2d or depthwise_conv2d becomes that
   layer's pads, where no window lies in the padding alone.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.graph import Graph, Node
from edgekit.ops.pad import mode_of, pad_value, widths_of
from edgekit.ops.windows import pads_of, pair
from edgekit.passes.edit import replace_node, with_inputs

#: Axes of rows and columns in the weights of the layers that pad by themselves.
WINDOWS = {"conv2d": (1, 2), "depthwise_conv2d": (0, 1)}


def fold_pad(graph: Graph) -> bool:
    """Apply the rule; returns whether anything changed."""
    changed = False
    for name in [n.output for n in graph.nodes if n.op in WINDOWS]:
        node = graph.producer(name)
        changed |= node is not None and _fold(graph, node)
    if changed:
        graph.drop_unused()
    return changed


def _fold(graph: Graph, node: Node) -> bool:
    pad = graph.producer(node.inputs[0])
    if pad is None or pad.op != "pad" or not _is_zero(graph, pad):
        return False
    widths, pads = widths_of(pad), list(pads_of(node))
    if len(widths) != 4 or any(widths[0]) or any(widths[3]):
        return False
    kernel = [graph.values[node.inputs[1]].shape[a] for a in WINDOWS[node.op]]
    spread = pair(node, "dilations", 1)
    for i, (before, after) in enumerate(widths[1:3]):
        pads[i], pads[i + 2] = pads[i] + before, pads[i + 2] + after
        if max(pads[i], pads[i + 2]) > spread[i] * (kernel[i] - 1):
            return False
    new = with_inputs(node, pad.inputs[0], *node.inputs[1:])
    replace_node(graph, node, replace(new, attrs={**node.attrs, "pads": pads}))
    return True


def _is_zero(graph: Graph, pad: Node) -> bool:
    """Whether the padding stands for the real number 0."""
    x = graph.values[pad.inputs[0]]
    zero = 0 if x.quant is None else int(x.quant.zero_point[0])
    same = x.quant == graph.values[pad.output].quant
    return same and mode_of(pad) == "constant" and pad_value(pad, x) == zero
