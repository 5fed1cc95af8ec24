"""The simplest channel pruning: keep the channels of largest weights in a chain of layers.

No calibration and no refit, so that what fine-tuning recovers is all its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.ops import operator
from quantizer.weights import CHANNEL_AXIS

PASSING = ("max_pool2d", "average_pool2d", "clip")


def macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference."""
    values = graph.values
    return sum(
        operator(n.op).macs(n, [values[i] for i in n.inputs], values[n.output]) for n in graph.nodes
    )


def slim(graph: Graph, share: float) -> Graph:
    """The graph with that share of the channels of every layer but the last, those whose weights
    have the largest sum of magnitudes; a smaller dense graph.

    Takes chains of conv2d without groups, depthwise_conv2d with one output per channel,
    fully_connected, pools and reshape; ValueError for anything else.
    """
    out = graph.copy()
    weighted = [n for n in graph.nodes if n.op in CHANNEL_AXIS]
    last = next(n for n in reversed(weighted) if n.op != "depthwise_conv2d")
    kept = {name: np.arange(graph.values[name].shape[-1]) for name in graph.inputs}
    nodes = []
    for node in graph.nodes:
        live = kept[node.inputs[0]]
        if node.op in CHANNEL_AXIS:
            channels = _layer(out, node, live, 1.0 if node is last else share)
        elif node.op == "reshape":
            before, after = (graph.values[n].shape for n in (node.inputs[0], node.output))
            repeats = int(np.prod(before[1:-1]))
            channels = (np.arange(repeats)[:, None] * before[-1] + live).reshape(-1)
            if len(after) != 2:
                raise ValueError(f"'{node.name}' does not flatten")
            node = replace(node, attrs={"shape": [1, len(channels)]})
        elif node.op in PASSING or len(live) == graph.values[node.inputs[0]].shape[-1]:
            channels = live
        else:
            raise ValueError(f"'{node.name}' ({node.op}) is no part of a chain")
        shape = (*graph.values[node.output].shape[:-1], len(channels))
        out.values[node.output] = replace(out.values[node.output], shape=shape)
        kept[node.output] = channels
        nodes.append(node)
    out.nodes = nodes
    return out.verify()


def _layer(out: Graph, node: Node, live: np.ndarray, share: float) -> np.ndarray:
    """Slice a layer's constants in place of `out`; returns the output channels that stay."""
    w_name, b_name = node.inputs[1:]
    w, bias = out.constants[w_name], out.constants[b_name]
    if node.op == "depthwise_conv2d":
        if w.shape[2] != out.values[node.output].shape[-1] or node.attrs.get("groups", 1) != 1:
            raise ValueError(f"'{node.name}' has several outputs per channel")
        stay, w = live, w[..., live]
    else:
        if node.attrs.get("groups", 1) != 1:
            raise ValueError(f"'{node.name}' has groups")
        w = w[..., live]
        size = np.abs(w).reshape(len(w), -1).sum(axis=1)
        stay = np.sort(np.argsort(-size, kind="stable")[: max(1, round(share * len(w)))])
        w = w[stay]
    for name, data in ((w_name, w), (b_name, bias[stay])):
        out.constants[name] = np.ascontiguousarray(data)
        out.values[name] = replace(out.values[name], shape=tuple(data.shape))
    return stay
