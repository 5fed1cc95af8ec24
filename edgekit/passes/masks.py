"""Attention masks as masks.

A mask that is added, or chosen by `where`, is a number so low that its exponential is nothing. On
an integer grid such a number would leave no steps for the scores.

1. softmax of a sum with a constant that has numbers of -10000 and below: masked_softmax, with what
   the constant has besides still added, where every row keeps something. A product in front with a
   constant that is 1 where the mask keeps goes.
2. softmax of ``where(mask, x, low)`` or ``where(mask, low, x)``: masked_softmax of x. A row in
   which nothing is kept then gives zeros instead of shares that are all alike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Shape
from edgekit.ops.masked_softmax import without_units
from edgekit.passes.edit import add_constant, is_float, make, private_producer, replace_node
from edgekit.passes.match import number

#: A score this low never counts beside another.
LOW = -1e4


def masks(graph: Graph) -> bool:
    """Apply the rules to every softmax; returns whether anything changed."""
    changed = False
    for node in list(graph.nodes):
        if node.op == "softmax" and is_float(graph, node.output):
            changed |= _added(graph, node) or _chosen(graph, node)
    if changed:
        graph.drop_unused()
    return changed


def _added(graph: Graph, node: Node) -> bool:
    """Rule 1."""
    total = private_producer(graph, node.inputs[0])
    if total is None or total.op != "add" or total.attrs.get("clamp"):
        return False
    for x, name in (total.inputs, total.inputs[::-1]):
        data = graph.constants.get(name)
        shape = graph.values[node.output].shape
        if data is None or graph.values[x].shape != shape:
            continue
        keep = data > LOW
        if keep.all() or not np.broadcast_to(keep, shape).any(axis=-1).all():
            return False
        nodes = []
        bias = np.where(keep, data, np.float32(0))
        if bias.any():
            added = add_constant(graph, name, bias)
            nodes.append(make(graph, "add", (x, added), {}, total))
            x = nodes[-1].output
        else:
            x = _unscaled(graph, x, keep)
        mask = add_constant(graph, name, _repeating(keep, shape))
        masked = replace(node, op="masked_softmax", inputs=(x, mask))
        replace_node(graph, node, *nodes, masked)
        return True
    return False


def _unscaled(graph: Graph, name: str, keep: np.ndarray) -> str:
    """The x of ``name = x * c`` where c is 1 wherever `keep` is true, else `name`."""
    product = graph.producer(name)
    if product is None or product.op != "mul" or product.attrs.get("clamp"):
        return name
    shape = graph.values[name].shape
    for x, other in (product.inputs, product.inputs[::-1]):
        c = graph.constants.get(other)
        if c is None or graph.values[x].shape != shape or not is_float(graph, name):
            continue
        if np.all(np.broadcast_to(c == 1, shape) | ~np.broadcast_to(keep, shape)):
            return x
    return name


def _chosen(graph: Graph, node: Node) -> bool:
    """Rule 2."""
    where = private_producer(graph, node.inputs[0])
    if where is None or where.op != "where":
        return False
    mask, yes, no = where.inputs
    lows = [c is not None and c <= LOW for c in (number(graph, yes), number(graph, no))]
    if lows[0] == lows[1]:
        return False
    x, shape = (no if lows[0] else yes), graph.values[node.output].shape
    if graph.values[x].shape != shape:
        return False
    nodes = []
    if graph.is_constant(mask):
        keep = graph.constants[mask] ^ lows[0]
        mask = add_constant(graph, mask, _repeating(keep, shape))
    else:
        kept = without_units(graph.values[mask].shape)
        if shape[len(shape) - len(kept) :] != kept:
            return False
        if lows[0]:
            nodes.append(make(graph, "logical", (mask,), {"kind": "not"}, where))
            mask = nodes[-1].output
    masked = replace(node, op="masked_softmax", inputs=(x, mask))
    replace_node(graph, node, *nodes, masked)
    return True


def _repeating(keep: np.ndarray, shape: Shape) -> np.ndarray:
    """`keep` without axes of length 1 in front, with its other axes as long as those of `shape`."""
    kept = keep.reshape(without_units(keep.shape))
    return np.ascontiguousarray(np.broadcast_to(kept, shape[len(shape) - kept.ndim :]))
