"""Cross-layer equalization: move scale between the channels of neighbouring layers.

Where one layer's result goes through a ReLU (or nothing) to one other layer, a channel may be
divided by s > 0 in the first and multiplied by s in the second: the network computes the same.
Channels of equal reach leave more of one common scale to each (Nagel et al., arXiv:1906.04721,
section 4.1), which serves per-tensor weights.

1. A pair is two layers with weights, the second the only reader of the first, with nothing or
   pools between them, which keep channels apart and scale with them.
2. The clamp between them is none or a ReLU. A ReLU6 would become one bound per channel: skipped.
3. A channel with no weights on either side, or that calibration never saw above zero, is left.
4. No channel grows beyond the largest value of its tensor: what weights gain, activations would
   lose many times over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.reference import steps
from quantizer.calibrate import batches
from quantizer.floats import evaluate
from quantizer.weights import CHANNEL_AXIS, rows

POOLS = ("average_pool2d", "max_pool2d")
#: Sweeps over all pairs: chains of layers settle slowly.
SWEEPS = 20
#: A channel whose weights are below this share of its layer's largest is dead.
DEAD = 1e-5
#: What is appended to the names of tensors that hold other numbers than the model file's.
SUFFIX = "_equalized"


@dataclass(frozen=True)
class Pair:
    """Two layers and the tensors between them, the first one's result first."""

    first: Node
    second: Node
    tensors: tuple[str, ...]


def pairs(graph: Graph) -> Iterator[Pair]:
    """Every pair that may be equalized, in execution order."""
    for node in graph.nodes:
        if node.op not in CHANNEL_AXIS or not _scales(node):
            continue
        tensors, reader = [node.output], _only_reader(graph, node.output)
        while reader is not None and reader.op in POOLS and _scales(reader):
            tensors.append(reader.output)
            reader = _only_reader(graph, reader.output)
        if reader is not None and reader.op in CHANNEL_AXIS and reader.inputs[0] == tensors[-1]:
            yield Pair(node, reader, tuple(tensors))


def _scales(node: Node) -> bool:
    """Whether the node's clamp commutes with a positive factor."""
    low, high = node.attrs.get("clamp") or (None, None)
    return low in (None, 0) and high is None


def _only_reader(graph: Graph, name: str) -> Node | None:
    readers = graph.consumers(name)
    return readers[0] if len(readers) == 1 and name not in graph.outputs else None


def equalize(graph: Graph, data: dict[str, np.ndarray]) -> Graph:
    """The same float network with equalized weights; rescaled tensors get the name + `SUFFIX`.

    Args:
        graph: canonical float graph; it stays as it is.
        data: calibration samples by input name, float or real-valued integers [n, ...].
    """
    found = list(pairs(graph))
    if not found:
        return graph
    out, reach = graph.copy(), channel_reach(graph, data, {p.first.output for p in found})
    uses = [i for node in graph.nodes for i in node.inputs]
    shared = {i for i in uses if uses.count(i) > 1}
    found = [p for p in found if not shared & {*p.first.inputs[1:], p.second.inputs[1]}]
    for _ in range(SWEEPS):
        for pair in found:
            _balance(out, pair, reach[pair.first.output])
    return _renamed(out, {name for pair in found for name in pair.tensors})


def channel_reach(
    graph: Graph, data: dict[str, np.ndarray], names: set[str]
) -> dict[str, np.ndarray]:
    """The largest magnitude of each channel (last axis) of tensors, float64."""
    reach = {name: np.zeros(graph.values[name].shape[-1]) for name in names}
    for feeds in batches(graph, data):
        for node, _, [result, *_] in steps(graph, feeds, evaluate):
            if node.output in names:
                seen = np.abs(result).max(axis=tuple(range(result.ndim - 1)))
                reach[node.output] = np.maximum(reach[node.output], seen)
    return reach


def _balance(graph: Graph, pair: Pair, reach: np.ndarray) -> None:
    """One step of one pair, in place; `reach` of the tensor between them is kept up to date."""
    w_name, b_name = pair.first.inputs[1:]
    v_name = pair.second.inputs[1]
    w, v = graph.constants[w_name], graph.constants[v_name]
    ours = np.abs(rows(pair.first, w)).max(axis=1).astype(np.float64)
    theirs = _input_reach(pair.second, v, len(ours))
    live = (ours > DEAD * ours.max()) & (theirs > DEAD * theirs.max()) & (reach > 0)
    s = np.ones_like(ours)
    s[live] = np.sqrt(ours[live] / theirs[live])
    s[live] = np.maximum(s[live], reach[live] / reach.max())
    reach /= s
    graph.constants[w_name] = _scaled(w, 1 / s, CHANNEL_AXIS[pair.first.op])
    graph.constants[b_name] = (graph.constants[b_name] / s).astype(np.float32)
    graph.constants[v_name] = _scale_inputs(pair.second, v, s)


def _scaled(w: np.ndarray, s: np.ndarray, axis: int) -> np.ndarray:
    shape = [1] * w.ndim
    shape[axis] = -1
    return (w * s.reshape(shape)).astype(np.float32)


def _per_group(node: Node, w: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Scales [C] of input channels as [O, 1, 1, C / groups] for the weights of a conv2d."""
    groups = node.attrs.get("groups", 1)
    return np.repeat(s.reshape(groups, -1), len(w) // groups, axis=0)[:, None, None, :]


def _input_reach(node: Node, w: np.ndarray, channels: int) -> np.ndarray:
    """The largest magnitude of the weights that read each input channel, float64[C]."""
    a = np.abs(w).astype(np.float64)
    if node.op == "fully_connected":
        return np.asarray(a.max(axis=0))
    if node.op == "depthwise_conv2d":
        return np.asarray(a.max(axis=(0, 1)).reshape(channels, -1).max(axis=1))
    groups = node.attrs.get("groups", 1)
    return np.asarray(a.reshape(groups, -1, a.shape[3]).max(axis=1).reshape(-1))


def _scale_inputs(node: Node, w: np.ndarray, s: np.ndarray) -> np.ndarray:
    if node.op == "fully_connected":
        return _scaled(w, s, 1)
    if node.op == "depthwise_conv2d":
        return _scaled(w, np.repeat(s, w.shape[2] // len(s)), 2)
    return (w * _per_group(node, w, s)).astype(np.float32)


def _renamed(graph: Graph, names: set[str]) -> Graph:
    new = {name: graph.fresh(name + SUFFIX) for name in names}
    for name, other in new.items():
        graph.values[other] = replace(graph.values.pop(name), name=other)
    graph.nodes = [
        replace(
            node,
            inputs=tuple(new.get(i, i) for i in node.inputs),
            outputs=tuple(new.get(o, o) for o in node.outputs),
            # A layer without a name goes by its result's, which options refer to.
            name=node.name or node.output,
        )
        for node in graph.nodes
    ]
    return graph.verify()
