"""What the removal of channels costs: first where they are read, then where it counts, at the end.

The error that removing a group adds to the layers that read it, after their best refit, is known in
closed form (`pruner.obs`). How much of it reaches the network's results differs from family to
family; it is measured once for each, with a part of its channels removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekit.graph import Graph, Node, logits_of
from edgekit.ops import operator
from edgekit.reference import run
from pruner.groups import Channels, Family
from pruner.obs import Reader
from pruner.walk import feeds_of, layer_moments
from quantizer.gptq import damped
from quantizer.moments import Moments
from quantizer.weights import rows, unrows

#: Energy of a layer whose results never vary.
TINY = 1e-30
#: To measure what that does to the logits, at least this share of a family's channels is removed,
#: and so many that the readers' error reaches this share of their energy: channels that carry
#: nothing say nothing of those that do.
PROBE_CHANNELS, PROBE_ERROR = 0.25, 0.02


@dataclass(frozen=True)
class Order:
    """How a family would be emptied.

    Attributes:
        groups: its groups, the cheapest first.
        costs: the error that each removal adds to the logits, as a share of their energy.
        macs: multiply-accumulates that the removal of one group saves.
    """

    family: Family
    groups: np.ndarray
    costs: np.ndarray
    macs: float


def rank(
    graph: Graph,
    channels: Channels,
    families: Sequence[Family],
    data: Mapping[str, np.ndarray],
    progress: Callable[[str, float], None],
) -> list[Order]:
    """The order of every family.

    Raises:
        EdgekitError: E208 where the network itself gives NaN or infinity.
    """
    found = layer_moments(graph, data)
    feeds, name = feeds_of(graph, data), logits_of(graph)
    want = run(graph, feeds, keep={name})[name].astype(np.float64)
    energy = max(float(np.square(want - want.mean(axis=0)).sum()), TINY)
    orders = []
    for i, family in enumerate(families):
        progress(f"rank {family.name}", i / len(families))
        order, expected, thinned = _emptied(graph, channels, family, found)
        have = run(thinned, feeds, keep={name})[name]
        factor = float(np.square(have - want).sum()) / energy / max(expected, TINY)
        orders.append(replace(order, costs=order.costs * factor))
    return orders


def _emptied(
    graph: Graph, channels: Channels, family: Family, found: Mapping[str, Moments]
) -> tuple[Order, float, Graph]:
    """Empty a family greedily, always removing the group whose loss its readers mend best.

    Returns:
        (the order with costs as shares of the readers' energy; the costs of the part removed to
        probe, and the graph without that part, its readers refitted).
    """
    members = set(family.groups.tolist())
    nodes, readers, columns = _readers(graph, channels, members, found)
    left, order, costs = family.groups.tolist(), [], []
    expected, thinned = 0.0, graph
    while left:
        total = np.zeros(len(left))
        for reader, of in zip(readers, columns, strict=True):
            total += reader.costs([of[g] for g in left])
        best = int(total.argmin())
        order.append(left.pop(best))
        costs.append(float(total[best]))
        for reader, of in zip(readers, columns, strict=True):
            reader.remove(of[order[-1]])
        far = len(order) >= PROBE_CHANNELS * len(family.groups) and sum(costs) >= PROBE_ERROR
        if thinned is graph and (far or len(left) == 1):
            expected, thinned = sum(costs), _replaced(graph, nodes, readers, found)
    macs = _macs(graph, channels, members) / len(order)
    done = Order(family, np.array(order), np.array(costs), macs)
    return done, expected, thinned


def _readers(
    graph: Graph, channels: Channels, members: set[int], found: Mapping[str, Moments]
) -> tuple[list[Node], list[Reader], list[dict[int, np.ndarray]]]:
    """The layers that read a family, and for each the columns of every group."""
    nodes: list[Node] = []
    readers: list[Reader] = []
    columns: list[dict[int, np.ndarray]] = []
    for node in graph.nodes:
        if node.op not in ("conv2d", "fully_connected") or node.attrs.get("groups", 1) != 1:
            continue
        units = channels.of[node.inputs[0]]
        if members.isdisjoint(units.tolist()):
            continue
        h = found[node.output].h[0]
        w = rows(node, graph.constants[node.inputs[1]]).astype(np.float64)
        energy = max(float(np.einsum("ok,ok->", w @ h, w)), TINY)
        readers.append(Reader(w, np.linalg.inv(damped(h)), energy))
        nodes.append(node)
        taps = np.tile(units, w.shape[1] // len(units))  # columns in the order of im2col
        columns.append({g: np.flatnonzero(taps == g) for g in members})
    return nodes, readers, columns


def _replaced(
    graph: Graph, nodes: list[Node], readers: list[Reader], found: Mapping[str, Moments]
) -> Graph:
    """The graph with the readers' rows as they are now, biases making up for the means."""
    out = graph.copy()
    place = {node.output: i for i, node in enumerate(graph.nodes)}
    for node, reader in zip(nodes, readers, strict=True):
        w, bias = (graph.constants[i] for i in node.inputs[1:])
        lost = (rows(node, w) - reader.rows) @ found[node.output].mean[0]
        new = (unrows(node, reader.rows.astype(np.float32), w.shape), bias + lost)
        names = [out.add_constant("probe", a.astype(np.float32)) for a in new]
        out.nodes[place[node.output]] = replace(node, inputs=(node.inputs[0], *names))
    return out


def _macs(graph: Graph, channels: Channels, members: set[int]) -> float:
    """Multiply-accumulates of all layers that the family's channels are made, passed or read by;
    those of a layer count by the share of its operand's and its result's channels."""
    total = 0.0
    for node in graph.nodes:
        values = [graph.values[i] for i in node.inputs]
        macs = operator(node.op).macs(node, values, graph.values[node.output])
        if macs:
            sides = (
                (node.output,) if node.op == "depthwise_conv2d" else (node.inputs[0], node.output)
            )
            total += macs * sum(float(np.isin(channels.of[s], list(members)).mean()) for s in sides)
    return total
