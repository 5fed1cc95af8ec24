"""An equal network without the channels that are one number for every input.

1. A row of weights whose result is constant becomes zeros and a bias that gives this constant.
2. A channel that is constant is folded into the bias of the layers that read it, which is exact
   where they have no padding or the constant is the zero point, and its weights become zeros.
3. A channel is dead where nobody reads it: rules 1 and 2 make channels dead, and so do weights that
   are zero as they come. What makes a dead channel reads nothing, which makes more channels dead.
4. Dead channels are cut out of every tensor and layer that has them. Channels that are tied (see
   `edgekit.intervals.groups`) are cut together or not at all, and as many dead ones stay, with
   weights of zero, as round the number up to a multiple.

Inputs and outputs keep their names, shapes and bytes, nodes and values their names and order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgekit.graph import Graph, Node, Quant
from edgekit.intervals.groups import BY_CHANNEL, Groups, groups, is_dense
from edgekit.intervals.propagate import Intervals, intervals
from edgekit.ops.accumulators import is_padded, taps_of
from edgekit.ops.interval import channels_of
from edgekit.ops.requant import CHANNEL_AXIS, tensor_quant


def remove_constant_channels(graph: Graph, multiple_of: int = 4) -> Graph:
    """A graph with the same results for every input; `graph` itself where there is nothing to do.

    Args:
        graph: an integer graph; a float graph comes back as it is.
        multiple_of: numbers of channels that shrink are rounded up to a multiple of this.
    """
    found = intervals(graph)
    if not found.sums:
        return graph
    layers = {n.output: _silenced(graph, n, found) for n in graph.nodes if n.output in found.sums}
    tied = groups(graph)
    refused: set[str] = set()
    while True:
        dead = _dead(graph, tied, layers, found, refused)
        folded = {name: _folded(graph, tied, layer, dead, found) for name, layer in layers.items()}
        overflow = {name for name, layer in folded.items() if not layer.fits}
        if not overflow:
            break
        refused |= overflow
    return _cut(graph, tied, folded, _kept(tied, dead, multiple_of))


@dataclass(frozen=True)
class _Layer:
    """A conv-like node: `taps` int8 [O, KH, KW, I], `bias` int64 [O], whether its dtype holds
    that."""

    node: Node
    taps: np.ndarray
    bias: np.ndarray
    fits: bool = True

    @property
    def nonzero(self) -> np.ndarray:
        """bool [O, I]: which rows have a weight for which input."""
        some: np.ndarray = (self.taps != 0).any((1, 2))
        return some


def _silenced(graph: Graph, node: Node, found: Intervals) -> _Layer:
    """Rule 1."""
    weights, bias = (graph.constants[i] for i in node.inputs[1:])
    taps, wide = taps_of(node.op, weights).copy(), bias.astype(np.int64)
    least = found.sums[node.output].final.lo
    info = np.iinfo(bias.dtype)
    inside = (least >= info.min) & (least <= info.max)
    silent = found.values[node.output].constant & inside
    silent &= (taps != 0).any((1, 2, 3))
    taps[silent] = 0
    return _Layer(node, taps, np.where(silent, least, wide))


def _dead(
    graph: Graph, tied: Groups, layers: dict[str, _Layer], found: Intervals, refused: set[str]
) -> np.ndarray:
    """bool over classes: channels that no live row reads once constants are folded (rules 2, 3).

    Layers in `refused` do not fold.
    """
    readers = []
    for name, layer in layers.items():
        x = layer.node.inputs[0]
        if not is_dense(graph, layer.node) or x in graph.constants:
            continue
        value, of_x = graph.values[x], found.values[x]
        foldable = of_x.constant & (name not in refused)
        if is_padded(layer.node, value, layer.taps.shape[1:3]):
            foldable &= of_x.lo == tensor_quant(value)[1]
        readers.append((tied.of[name], tied.of[x], layer.nonzero & ~foldable))
    dead = np.zeros(len(tied.pinned), bool)
    while True:
        blocked = tied.pinned.copy()
        for rows, columns, reads in readers:
            blocked[columns[reads[~dead[rows]].any(0)]] = True
        if np.array_equal(dead, ~blocked):
            return dead
        dead = ~blocked


def _folded(
    graph: Graph, tied: Groups, layer: _Layer, dead: np.ndarray, found: Intervals
) -> _Layer:
    """The layer with weights of zero for dead rows and dead inputs; constants are in its bias."""
    node, x = layer.node, layer.node.inputs[0]
    silent = dead[tied.of[node.output]]
    taps, bias = layer.taps.copy(), layer.bias
    taps[silent] = 0
    if is_dense(graph, node) and x not in graph.constants:
        gone = dead[tied.of[x]]
        # A dead channel that still has weights here is constant: live rows read no other.
        centred = found.values[x].lo[gone] - tensor_quant(graph.values[x])[1]
        bias = bias + taps[..., gone].astype(np.int64).sum((1, 2)) @ centred
        taps[..., gone] = 0
    info = np.iinfo(graph.constants[node.inputs[2]].dtype)
    fits = bool(((bias >= info.min) & (bias <= info.max)).all())
    return _Layer(node, taps, bias, fits)


def _kept(tied: Groups, dead: np.ndarray, multiple_of: int) -> np.ndarray:
    """bool over classes: those that are alive, and dead ones that round their number up."""
    kept = ~dead
    for members in tied.members:
        alive = int(kept[members].sum())
        wanted = -(-max(alive, 1) // multiple_of) * multiple_of
        kept[members[dead[members]][: wanted - alive]] = True
    return kept


def _cut(graph: Graph, tied: Groups, layers: dict[str, _Layer], kept: np.ndarray) -> Graph:
    """Rule 4: `graph` with the weights and biases of `layers`, and only `kept` channels."""
    smaller = graph.copy()
    for name, of in tied.of.items():
        value = graph.values[name]
        if not kept[of].all():
            shape = (*value.shape[:-1], int(kept[of].sum()))
            smaller.values[name] = replace(value, shape=shape)
    changed = False
    for i, node in enumerate(graph.nodes):
        mask = kept[tied.of[node.output]]
        if node.output in layers:
            source = tied.of.get(node.inputs[0])
            columns = np.ones(layers[node.output].taps.shape[3], bool)
            if source is not None and is_dense(graph, node):
                columns = kept[source]
            new = _with_weights(smaller, layers[node.output], mask, columns)
        elif node.op == "reshape":
            new = replace(
                node, attrs={**node.attrs, "shape": list(smaller.values[node.output].shape)}
            )
            new = node if mask.all() else new
        elif node.op in BY_CHANNEL and not mask.all():
            operands = [_sliced(smaller, operand, mask) for operand in node.inputs]
            new = replace(node, inputs=tuple(operands))
        else:
            new = node
        changed |= new is not node
        smaller.nodes[i] = new
    if not changed:
        return graph
    used = {i for node in smaller.nodes for i in node.inputs} | set(smaller.outputs)
    for name in [name for name in smaller.constants if name not in used]:
        del smaller.constants[name], smaller.values[name]
    return smaller.verify()


def _with_weights(graph: Graph, layer: _Layer, rows: np.ndarray, columns: np.ndarray) -> Node:
    """The layer's node with these rows and columns of its weights; itself where none changed."""
    node = layer.node
    taps = layer.taps[rows][..., columns]
    if node.op == "depthwise_conv2d":
        weights = taps[..., 0].transpose(1, 2, 0)
    else:
        weights = taps if node.op == "conv2d" else taps[:, 0, 0, :]
    _, w, b = node.inputs
    bias = layer.bias[rows].astype(graph.constants[b].dtype)
    if np.array_equal(weights, graph.constants[w]) and np.array_equal(bias, graph.constants[b]):
        return node
    axis = CHANNEL_AXIS[node.op]
    new_w = graph.add_constant(w, weights, _rows_of(graph.values[w].quant, axis, rows))
    new_b = graph.add_constant(b, bias, _rows_of(graph.values[b].quant, 0, rows))
    return replace(node, inputs=(node.inputs[0], new_w, new_b))


def _rows_of(quant: Quant | None, axis: int, rows: np.ndarray) -> Quant | None:
    """The quantization of these output channels only."""
    if quant is None or quant.axis is None:
        return quant
    assert quant.axis == axis, "weights and biases have one scale per output channel"
    return Quant(quant.scale[rows], quant.zero_point[rows], axis)


def _sliced(graph: Graph, operand: str, mask: np.ndarray) -> str:
    """An operand of an elementwise operator whose result keeps the channels in `mask`."""
    if operand not in graph.constants or channels_of(graph.values[operand]) != len(mask):
        return operand
    return graph.add_constant(
        operand, graph.constants[operand][..., mask], graph.values[operand].quant
    )
