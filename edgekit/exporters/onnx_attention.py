"""Products of matrices and normalizations as ONNX: operators of opset 17, or what passes put
together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit.exporters.writer import Writer
from edgekit.graph import Node

Write = Callable[["Writer", Node], None]


def _step(w: Writer, node: Node, op: str, inputs: list[str], what: str, **attrs: Any) -> str:
    """A node in front of the one that makes the result; returns the name of what it makes."""
    out = w.fresh(f"{node.output}:{what}")
    w.emit(op, inputs, out, f"{node.name or node.output}:{what}", **attrs)
    return out


def _number(w: Writer, node: Node, what: str, value: float) -> str:
    return w.constant(f"{node.output}:{what}", np.asarray(value, np.float32))


def _matmul(w: Writer, node: Node) -> None:
    a, b = (w.get(name, "NHWC") for name in node.inputs)
    if node.attrs.get("transpose_b"):
        rank = w.rank(node.inputs[1])
        perm = [*range(rank - 2), rank - 1, rank - 2]
        b = _step(w, node, "Transpose", [b], "transposed", perm=perm)
    out, scale = w.put(node.output, "NHWC"), node.attrs.get("scale", 1.0)
    if scale == 1.0:
        w.clamped(node, "MatMul", [a, b], out)
        return
    product = _step(w, node, "MatMul", [a, b], "product")
    w.clamped(node, "Mul", [product, _number(w, node, "scale", scale)], out)


def _layer_norm(w: Writer, node: Node) -> None:
    operands = [w.get(name, "NHWC") for name in node.inputs]
    out, epsilon = w.put(node.output, "NHWC"), float(node.attrs["epsilon"])
    w.clamped(node, "LayerNormalization", operands, out, axis=-1, epsilon=epsilon)


def _rms_norm(w: Writer, node: Node) -> None:
    x, gamma = (w.get(name, "NHWC") for name in node.inputs)
    squares = _step(w, node, "Mul", [x, x], "squares")
    mean = _step(w, node, "ReduceMean", [squares], "mean", axes=[-1], keepdims=1)
    epsilon = _number(w, node, "epsilon", node.attrs["epsilon"])
    root = _step(w, node, "Sqrt", [_step(w, node, "Add", [mean, epsilon], "power")], "root")
    quotient = _step(w, node, "Div", [x, root], "quotient")
    w.clamped(node, "Mul", [quotient, gamma], w.put(node.output, "NHWC"))


def _grouped(w: Writer, node: Node) -> None:
    """instance_norm and group_norm, channels first as ONNX has them."""
    name, *vectors = node.inputs
    shape = w.graph.values[name].shape
    rank, channels, epsilon = len(shape), shape[-1], float(node.attrs["epsilon"])
    first, last = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    if rank == 4:
        x = w.get(name, "NCHW")
        out = w.put(node.output, "NCHW")
    else:
        x = _step(w, node, "Transpose", [w.get(name, "NHWC")], "channels", perm=first)
        out = w.fresh(f"{node.output}:normalized")
    if node.op == "instance_norm":
        operands = [x, *(w.get(v, "NHWC") for v in vectors)]
        w.clamped(node, "InstanceNormalization", operands, out, epsilon=epsilon)
    else:
        groups = node.attrs["groups"]
        split = w.constant(f"{node.output}:split", np.asarray([0, groups, -1], np.int64))
        joined = w.constant(
            f"{node.output}:joined", np.asarray([0, channels, *shape[1:-1]], np.int64)
        )
        ones, zeros = (
            w.constant(f"{node.output}:{what}", np.full(groups, value, np.float32))
            for what, value in (("ones", 1), ("zeros", 0))
        )
        y = _step(w, node, "Reshape", [x, split], "groups")
        y = _step(w, node, "InstanceNormalization", [y, ones, zeros], "normal", epsilon=epsilon)
        y = _step(w, node, "Reshape", [y, joined], "together")
        gamma, beta = (
            w.constant(v, w.graph.constants[v].reshape(channels, *[1] * (rank - 2)))
            for v in vectors
        )
        y = _step(w, node, "Mul", [y, gamma], "scaled")
        w.clamped(node, "Add", [y, beta], out)
    if rank != 4:
        name = f"{node.name or node.output}:back"
        w.emit("Transpose", [out], w.put(node.output, "NHWC"), name, perm=last)


def _l2_normalize(w: Writer, node: Node) -> None:
    x, floor = w.get(node.inputs[0], "NHWC"), float(node.attrs["epsilon"])
    length = _step(w, node, "ReduceL2", [x], "length", axes=[-1], keepdims=1)
    if floor > 0:
        length = _step(w, node, "Max", [length, _number(w, node, "floor", floor)], "divisor")
    w.emit("Div", [x, length], w.put(node.output, "NHWC"), node.name or node.output)


def _log_softmax(w: Writer, node: Node) -> None:
    x, out = w.get(node.inputs[0], "NHWC"), w.put(node.output, "NHWC")
    w.emit("LogSoftmax", [x], out, node.name or node.output, axis=-1)


def _masked_softmax(w: Writer, node: Node) -> None:
    """A row in which the mask keeps nothing gives equal shares in ONNX, not zeros."""
    x, mask = (w.get(name, "NHWC") for name in node.inputs)
    beta = node.attrs.get("beta", 1.0)
    if beta != 1.0:
        x = _step(w, node, "Mul", [x, _number(w, node, "beta", beta)], "scaled")
    low = _number(w, node, "low", float(np.finfo(np.float32).min))
    x = _step(w, node, "Where", [mask, x, low], "masked")
    w.emit("Softmax", [x], w.put(node.output, "NHWC"), node.name or node.output, axis=-1)


WRITERS: dict[str, Write] = {
    "matmul": _matmul,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "instance_norm": _grouped,
    "group_norm": _grouped,
    "l2_normalize": _l2_normalize,
    "log_softmax": _log_softmax,
    "masked_softmax": _masked_softmax,
}
