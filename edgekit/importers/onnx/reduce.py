"""ONNX operators along one or several axes: reductions, softmax, places, running sums."""

from __future__ import annotations

import math

import numpy as np

from edgekit.importers.common import Refused, check_made, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.shape import axis_of

#: ONNX operator to the kind of reduce, where it is one.
KINDS = {
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSum": "sum",
}


def _axes(b: OnnxBuilder, node: OnnxNode, rank: int) -> list[int]:
    """The axes, attribute or operand; none at all means all, or none where the node says so."""
    axes = b.integers(node, 1, "axes")
    if not axes:
        return [] if node.integer("noop_with_empty_axes", 0) else list(range(rank))
    return sorted({axis_of(node, a, rank) for a in axes})


@handles(*KINDS)
def reduce(b: OnnxBuilder, node: OnnxNode) -> None:
    """Over any axes: reals; for the extremes also int32 and truth values."""
    x = b.tensor(node)
    kind = KINDS[node.op]
    if b.value(x).dtype == "bool":
        kind = {"max": "any", "min": "all"}.get(kind, kind)
    _reduced(b, node, x, kind, node.outputs[0])


def _reduced(
    b: OnnxBuilder, node: OnnxNode, x: str, kind: str, out: str = "", keep: bool | None = None
) -> str:
    axes = _axes(b, node, len(b.value(x).shape))
    keep = bool(node.integer("keepdims", 1)) if keep is None else keep
    if not axes:
        return b.reshape(x, b.value(x).shape, node=node.name, out=out)
    attrs = {"kind": kind, "axes": axes, "keepdims": keep}
    quant = b.value(x).quant if kind == "max" else None
    return b.emit("reduce", [x], attrs, node=node.name, out=out, quant=quant)


@handles("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")
def reduce_of_function(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals, over any axes."""
    before = {"ReduceL1": "abs", "ReduceL2": "square", "ReduceSumSquare": "square"}.get(node.op)
    behind = {"ReduceL2": "sqrt", "ReduceLogSum": "log"}.get(node.op)
    x = b.x(node)
    x = b.unary(node, x, before) if before else x
    y = _reduced(b, node, x, "sum", "" if behind else node.outputs[0])
    if behind:
        b.unary(node, y, behind, node.outputs[0])


@handles("ReduceLogSumExp")
def reduce_log_sum_exp(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals, over any axes.

    The maximum is subtracted before and added behind, so that nothing overflows.
    """
    x = b.x(node)
    most = _reduced(b, node, x, "max", keep=True)
    shifted = b.emit("sub", [x, most], node=node.name)
    total = _reduced(b, node, b.unary(node, shifted, "exp"), "sum")
    log = b.unary(node, total, "log")
    most = b.reshape(most, b.value(log).shape, node=node.name)
    b.emit("add", [log, most], node=node.name, out=node.outputs[0])


def _last_axis(b: OnnxBuilder, node: OnnxNode) -> tuple[str, list[int] | None, tuple[int, ...]]:
    """Operand 0 with the axis of a softmax behind all others.

    Returns:
        Its name, the permutation back (None where there is none), the operand's shape. Before
        opset 13 the axis and all behind it are one.
    """
    x = b.x(node)
    shape = b.value(x).shape
    rank, old = len(shape), node.opset < 13
    axis = axis_of(node, node.integer("axis", 1 if old else -1), rank)
    if old:
        if axis == rank - 1:
            return x, None, shape
        return b.reshape(x, (*shape[:axis], math.prod(shape[axis:])), node=node.name), None, shape
    if axis == rank - 1:
        return x, None, shape
    perm = [*(i for i in range(rank) if i != axis), axis]
    return b.transpose(x, perm, node=node.name), list(np.argsort(perm)), shape


def _back(
    b: OnnxBuilder, node: OnnxNode, y: str, perm: list[int] | None, shape: tuple[int, ...]
) -> None:
    if perm is not None:
        b.transpose(y, perm, node=node.name, out=node.outputs[0])
    else:
        b.reshape(y, shape, node=node.name, out=node.outputs[0])


@handles("Softmax", "LogSoftmax")
def softmax(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals, over any axis; before opset 13 over that axis and all behind it."""
    moved, perm, shape = _last_axis(b, node)
    plain = perm is None and b.value(moved).shape == shape
    op = "softmax" if node.op == "Softmax" else "log_softmax"
    attrs = {"beta": 1.0} if op == "softmax" else {}
    out = node.outputs[0] if plain else ""
    y = b.emit(op, [moved], attrs, node=node.name, out=out)
    if not plain:
        _back(b, node, y, perm, shape)


@handles("Hardmax")
def hardmax(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals, over any axis; before opset 13 over that axis and all behind it."""
    moved, perm, shape = _last_axis(b, node)
    whole = b.value(moved).shape
    attrs = {"kind": "max", "axis": len(whole) - 1, "keepdims": False, "last": False}
    place = b.emit("arg", [moved], attrs, node=node.name)
    attrs = {"axis": len(whole) - 1, "depth": whole[-1], "on": 1.0, "off": 0.0}
    y = b.emit("one_hot", [place], attrs, node=node.name)
    _back(b, node, y, perm, shape)


@handles("ArgMax", "ArgMin")
def arg(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals or int32, over any axis; the first or the last of equals."""
    x = b.tensor(node)
    attrs = {
        "kind": "max" if node.op == "ArgMax" else "min",
        "axis": axis_of(node, node.integer("axis", 0), len(b.value(x).shape)),
        "keepdims": bool(node.integer("keepdims", 1)),
        "last": bool(node.integer("select_last_index", 0)),
    }
    b.emit("arg", [x], attrs, node=node.name, out=node.outputs[0])


@handles("TopK")
def top_k(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals or int32, over any axis, with a constant k."""
    x = b.tensor(node)
    k = b.integers(node, 1, "k") if operand(node, 1) else [node.integer("k", 0)]
    if k is None or len(k) != 1:
        raise invalid(f"node '{node.name}' (TopK): k is {k}")
    attrs = {
        "k": k[0],
        "axis": axis_of(node, node.integer("axis", -1), len(b.value(x).shape)),
        "largest": bool(node.integer("largest", 1)),
        "sorted": bool(node.integer("sorted", 1)),
    }
    outs = [*node.outputs, ""][:2]
    b.emit_all("top_k", [x], attrs, node=node.name, outs=outs, quants=[None, None])


@handles("CumSum")
def cumsum(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals or int32, over a constant axis, either direction, exclusive or not."""
    x = b.tensor(node)
    axis = b.integers(node, 1, "axis")
    if axis is None or len(axis) != 1:
        raise invalid(f"node '{node.name}' (CumSum): axis is {axis}")
    attrs = {
        "axis": axis_of(node, axis[0], len(b.value(x).shape)),
        "exclusive": bool(node.integer("exclusive", 0)),
        "reverse": bool(node.integer("reverse", 0)),
    }
    b.emit("cumsum", [x], attrs, node=node.name, out=node.outputs[0])


#: Rounds that a running product may have; each is a layer.
MAX_PRODUCTS = 32


@handles("CumProd")
def cumprod(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals, over a constant axis of at most 32 elements, one product each."""
    axis = b.integers(node, 1, "axis")
    shape = b.shape_of(node.inputs[0])
    if axis is None or len(axis) != 1:
        raise invalid(f"node '{node.name}' (CumProd): axis is {axis}")
    at = axis_of(node, axis[0], len(shape))
    if shape[at] > MAX_PRODUCTS:
        raise Refused(f"its axis has {shape[at]} elements, at most {MAX_PRODUCTS} are supported")
    order = list(range(shape[at]))
    order = order[::-1] if node.integer("reverse", 0) else order
    x = b.x(node)
    parts: dict[int, str] = {}
    product = ""
    check_made("operand", *shape)
    ones = np.ones([1 if i == at else d for i, d in enumerate(shape)], np.float32)
    if node.integer("exclusive", 0):
        product = b.constant(f"{node.name}:ones", ones)
        parts[order[0]] = product
        order = order[1:]
        places = [i - 1 if not node.integer("reverse", 0) else i + 1 for i in order]
    else:
        places = list(order)
    for i, place in zip(order, places, strict=True):
        piece = sliced(b, node, x, {at: (place, place + 1, 1)})
        first = not product or b.graph.is_constant(product)
        product = piece if first else b.emit("mul", [product, piece], node=node.name)
        parts[i] = product
    names = [parts[i] for i in range(shape[at])]
    if len(names) == 1:
        if b.graph.is_constant(names[0]):
            raise Refused("it has one element, whose exclusive product is a constant")
        b.rename(node, names[0])
        return
    b.emit("concat", names, {"axis": at}, node=node.name, out=node.outputs[0])


def sliced(
    b: OnnxBuilder, node: OnnxNode, x: str, parts: dict[int, tuple[int, int | None, int]],
    out: str = "",
) -> str:  # fmt: skip
    """Part of `x`: (start, stop, step) by axis, all else whole."""
    shape = b.value(x).shape
    full = [parts.get(i, (0, None, 1)) for i in range(len(shape))]
    attrs = {
        "starts": [s for s, _, _ in full],
        "stops": [e for _, e, _ in full],
        "steps": [step for _, _, step in full],
    }
    quant = b.value(x).quant
    return b.emit("slice", [x], attrs, node=node.name, out=out, quant=quant)
