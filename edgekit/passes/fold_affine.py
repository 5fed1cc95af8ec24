"""Fold per-channel scales and offsets (batch normalization, above all) into weights and biases.

Float graphs only. `c` is a constant that varies along the last axis at most. A tensor that is
rounded to a grid stands between operators and is not folded across; weights on a grid take their
scales along, and are left alone where they could not.

1. mul by c or add of c behind conv2d, conv_transpose2d, depthwise_conv2d or fully_connected that
   nothing else reads and that has no clamp yet: the weights and the bias take it up.
2. mul by c in front of one of these that alone reads it: the weights take it up. Padding stays
   right, since zero times c is zero. A reshape in front of fully_connected is looked through.
3. add of c in front of one of these, where no padding would have to become -c (which a transposed
   convolution has between its pixels): the bias takes up the products of c with the weights.
4. mul and add (either order) on an image where none of these apply: a 1x1 depthwise_conv2d. Behind
   a normalization they are its gamma and beta instead (`edgekit.passes.normalizations`).
5. mul by c or add of c behind a reshape that alone reads one of these, where c is one vector along
   the last axis in front of the reshape too: they change places.

Products are formed in float64 and rounded to float32 once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Quant
from edgekit.passes.edit import (
    add_constant,
    bypass,
    channel_vector,
    is_float,
    is_real,
    make,
    only_reader,
    private_producer,
    replace_node,
    until_settled,
    with_inputs,
)
from edgekit.passes.normalizations import AFFINE

LINEAR = ("conv2d", "conv_transpose2d", "depthwise_conv2d", "fully_connected")


def fold_affine(graph: Graph) -> bool:
    """Apply the rules until nothing changes; returns whether anything did."""
    return until_settled(graph, (_behind, _in_front, _reshaped, _pair))


def _vector(graph: Graph, node: Node) -> np.ndarray | None:
    """The per-channel constant of a float mul or add that keeps its operand's shape."""
    if node.op not in ("add", "mul") or not is_real(graph, node.output):
        return None
    x, y = graph.values[node.inputs[0]], graph.values[node.output]
    if x.shape != y.shape or not y.shape or graph.is_constant(node.inputs[0]):
        return None
    return channel_vector(graph, node.inputs[1], y.shape[-1])


def _is_linear(graph: Graph, node: Node | None) -> bool:
    return (
        node is not None
        and node.op in LINEAR
        and is_float(graph, node.output)
        and all(graph.is_constant(i) for i in node.inputs[1:])
    )


def _weights(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray]:
    w, bias = (graph.constants[i].astype(np.float64) for i in node.inputs[1:])
    return w, bias


def _fits_float32(*arrays: np.ndarray) -> bool:
    return all(np.abs(a).max(initial=0) < np.finfo(np.float32).max for a in arrays)


def _store(
    graph: Graph, node: Node, w: np.ndarray | None, bias: np.ndarray, quant: Quant | None = None
) -> tuple[str, str, str]:
    """Inputs of `node` with a new bias and new weights on the grid `quant`; None keeps the old."""
    weights = node.inputs[1]
    if w is not None:
        weights = add_constant(graph, weights, w.astype(np.float32), quant)
    return node.inputs[0], weights, add_constant(graph, node.inputs[2], bias.astype(np.float32))


def _scaled(quant: Quant | None, c: np.ndarray, axis: int) -> Quant | None:
    """The grid of weights on `quant` after the product with `c` along their output axis."""
    if quant is None:
        return None
    factor = np.where(c == 0, 1.0, np.abs(c))  # a zero channel lies on every grid
    scale = np.broadcast_to(quant.scale, c.shape) * factor
    zero_point = np.broadcast_to(quant.zero_point, c.shape).copy()
    return replace(quant, scale=scale.astype(np.float32), zero_point=zero_point, axis=axis)


def _behind(graph: Graph, node: Node) -> bool:
    """Rule 1."""
    c = _vector(graph, node)
    linear = private_producer(graph, node.inputs[0])
    if c is None or linear is None or not _is_linear(graph, linear) or linear.attrs.get("clamp"):
        return False
    w, bias = _weights(graph, linear)
    quant = graph.values[linear.inputs[1]].quant
    axis = 2 if linear.op == "depthwise_conv2d" else 0
    if quant is not None and quant.axis not in (None, axis):
        return False
    product = None
    if node.op == "mul":
        bias = bias * c
        product = w * (c if axis else c.reshape(-1, *[1] * (w.ndim - 1)))
        quant = _scaled(quant, c, axis)
        if quant is not None and not (quant.scale > 0).all():
            return False
    else:
        bias = bias + c
    if not _fits_float32(bias, *(() if product is None else (product,))):
        return False
    attrs = {**linear.attrs, **({"clamp": node.attrs["clamp"]} if node.attrs.get("clamp") else {})}
    inputs = _store(graph, linear, product, bias, quant)
    merged = replace(linear, inputs=inputs, outputs=node.outputs, attrs=attrs)
    replace_node(graph, linear)
    replace_node(graph, node, merged)
    return True


def _in_front(graph: Graph, node: Node) -> bool:
    """Rules 2 and 3."""
    if _vector(graph, node) is None or node.attrs.get("clamp") or not is_float(graph, node.output):
        return False
    linear = only_reader(graph, node.output)
    if linear is not None and linear.op == "reshape":
        linear = only_reader(graph, linear.output)
        if linear is not None and linear.op != "fully_connected":
            return False
    if linear is None or not _is_linear(graph, linear) or not is_float(graph, linear.inputs[0]):
        return False
    # c as seen by each element of w: along its input axis.
    x = graph.values[node.output]
    full = np.broadcast_to(graph.constants[node.inputs[1]], x.shape).astype(np.float64)
    w, bias = _weights(graph, linear)
    if node.op == "mul" and graph.values[linear.inputs[1]].quant is not None:
        return False
    if linear.op == "fully_connected":
        rows = full.reshape(-1, w.shape[1])
        if (rows != rows[0]).any():
            return False  # it changes from row to row
        seen = rows[:1]
    elif linear.op == "depthwise_conv2d":
        seen = np.repeat(full[0, 0, 0], w.shape[2] // x.shape[3])
    else:
        groups = linear.attrs.get("groups", 1)
        per_group = full[0, 0, 0].reshape(groups, 1, 1, -1)
        seen = np.repeat(per_group, w.shape[0] // groups, axis=0)
    product = None
    if node.op == "mul":
        product = w * seen
    elif np.any(full) and (any(linear.attrs.get("pads") or []) or linear.op == "conv_transpose2d"):
        return False
    else:
        axes = (0, 1) if linear.op == "depthwise_conv2d" else tuple(range(1, w.ndim))
        bias = bias + (w * seen).sum(axis=axes)
    if not _fits_float32(bias, *(() if product is None else (product,))):
        return False
    replace_node(graph, linear, with_inputs(linear, *_store(graph, linear, product, bias)))
    return bypass(graph, node)


def _pair(graph: Graph, node: Node) -> bool:
    """Rule 4."""
    outer = _vector(graph, node)
    first = private_producer(graph, node.inputs[0])
    if outer is None or first is None or first.op == node.op or first.attrs.get("clamp"):
        return False
    if not is_float(graph, first.output):
        return False
    norm = private_producer(graph, first.inputs[0])
    if norm is not None and norm.op in AFFINE and node.op == "add":
        return False
    inner = _vector(graph, first)
    shape = graph.values[node.output].shape
    if inner is None or len(shape) != 4 or shape[0] != 1:
        return False
    scale, shift = (outer, outer * inner) if node.op == "mul" else (inner, outer)
    if not _fits_float32(scale, shift):
        return False
    w = add_constant(graph, f"{node.output}:weights", scale.astype(np.float32).reshape(1, 1, -1))
    bias = add_constant(graph, f"{node.output}:bias", shift.astype(np.float32))
    attrs = {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    if node.attrs.get("clamp"):
        attrs["clamp"] = node.attrs["clamp"]
    conv = make(graph, "depthwise_conv2d", (first.inputs[0], w, bias), attrs, node)
    replace_node(graph, first)
    replace_node(graph, node, replace(conv, outputs=node.outputs))
    return True


def _reshaped(graph: Graph, node: Node) -> bool:
    """Rule 5."""
    if node.op not in ("add", "mul") or not is_float(graph, node.output):
        return False
    for name, other in (node.inputs, node.inputs[::-1]):
        reshape = private_producer(graph, name)
        if reshape is None or reshape.op != "reshape" or not graph.is_constant(other):
            continue
        linear = private_producer(graph, reshape.inputs[0])
        shape, data = graph.values[node.output].shape, graph.constants[other]
        if not _is_linear(graph, linear) or graph.values[name].shape != shape:
            continue
        source = graph.values[reshape.inputs[0]].shape
        rows = np.broadcast_to(data, shape).reshape(-1, source[-1])
        if not is_real(graph, other) or (rows != rows[0]).any():
            continue
        c = add_constant(graph, other, np.ascontiguousarray(rows[0]))
        moved = make(graph, node.op, (reshape.inputs[0], c), node.attrs, node)
        replace_node(graph, node, moved, replace(reshape, inputs=(moved.output,),
                                                 outputs=node.outputs))  # fmt: skip
        return True
    return False
