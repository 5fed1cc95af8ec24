"""Fuse activations into the operator in front of them.

A producer whose result is rounded keeps its rounding: it must be float and on no grid (the clip's
result may be on one), or the clip must not requantize.

1. A clip whose operand comes from an operator with a `clamp` attribute, and that alone reads it,
   becomes that operator's clamp; two clamps compose.
2. A clip of a clip composes in the same way.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgekit.graph import Graph, Node
from edgekit.ops.base import clamp_of
from edgekit.passes.edit import is_float, is_real, private_producer, replace_node

CLAMPED = (
    "conv2d",
    "depthwise_conv2d",
    "fully_connected",
    "add",
    "mul",
    "average_pool2d",
    "max_pool2d",
    "clip",
    "conv_transpose2d",
    "div",
    "matmul",
    "prelu",
    "squared_difference",
    "sub",
    "layer_norm",
    "rms_norm",
    "instance_norm",
    "group_norm",
)


def fuse_clamp(graph: Graph) -> bool:
    """Apply the rules; returns whether anything changed."""
    changed = False
    for name in [n.output for n in graph.nodes if n.op == "clip"]:
        changed |= _fuse(graph, graph.producer(name))
    if changed:
        graph.drop_unused()
    return changed


def _fuse(graph: Graph, clip: Node | None) -> bool:
    if clip is None:
        return False
    first = private_producer(graph, clip.inputs[0])
    if first is None or first.op not in CLAMPED:
        return False
    exact = graph.values[first.output].quant == graph.values[clip.output].quant
    if not exact and not (is_float(graph, first.output) and is_real(graph, clip.output)):
        return False
    attrs = {**first.attrs, "clamp": compose(clamp_of(first), clamp_of(clip))}
    replace_node(graph, first)
    replace_node(graph, clip, replace(first, outputs=clip.outputs, attrs=attrs))
    return True


def compose(inner: tuple[float, float], outer: tuple[float, float]) -> list[float | None]:
    """The interval of clip(clip(x, inner), outer): the inner bounds, clamped by the outer ones."""
    lo, hi = (min(max(bound, outer[0]), outer[1]) for bound in inner)
    return [None if math.isinf(lo) else lo, None if math.isinf(hi) else hi]
