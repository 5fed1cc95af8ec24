"""ONNX operators on single elements, and softmax."""

from __future__ import annotations

import math

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx_builder import TO_NCHW, TO_NHWC, OnnxBuilder, handles
from edgekit.importers.onnx_quant import SHIFT
from edgekit.importers.onnx_node import OnnxNode, operand
from edgekit.importers.onnx_shape import axis_of
from edgekit.importers.quantized import grid_of, negated


@handles("Relu")
def relu(b: OnnxBuilder, node: OnnxNode) -> None:
    _clip(b, node, b.x(node), 0.0, math.inf)


@handles("Clip")
def clip(b: OnnxBuilder, node: OnnxNode) -> None:
    """Bounds are attributes before opset 11 and operands after.

    PyTorch clips the integers of tensors that it quantizes to fewer levels than int8 has.
    """
    if operand(node, 0) in b.stored:
        _clip_integers(b, node)
        return
    lo = _bound(b, node, 1, "min", -math.inf)
    hi = _bound(b, node, 2, "max", math.inf)
    _clip(b, node, b.x(node), lo, hi)


def _clip_integers(b: OnnxBuilder, node: OnnxNode) -> None:
    x = b.x(node)
    grid = grid_of(b.value(x))
    if grid is None:
        raise Refused(f"the scale of its operand '{operand(node, 0)}' is not known")
    clamp: list[float | None] = [None, None]
    for i, key in enumerate(("min", "max")):
        bound = b.integers(node, i + 1, key)
        if bound is not None and len(bound) == 1:
            level = bound[0] + SHIFT[b.stored[operand(node, 0)]] - int(grid.zero_point[0])
            clamp[i] = float(grid.scale[0]) * level
        elif bound is not None:
            raise Refused(f"its {key} has {len(bound)} values, one is supported")
    b.emit("clip", [x], {"clamp": clamp}, node=node.name, out=node.outputs[0], quant=grid)


def _bound(b: OnnxBuilder, node: OnnxNode, index: int, key: str, default: float) -> float:
    if operand(node, index):
        return _scalar(node, b.floats(node, index, key), key)
    return node.number(key, default)


def _scalar(node: OnnxNode, data: np.ndarray, what: str) -> float:
    if data.size != 1:
        raise Refused(f"its {what} has {data.size} values, one is supported")
    return float(data.reshape(-1)[0])


def _clip(b: OnnxBuilder, node: OnnxNode, x: str, lo: float, hi: float) -> None:
    if math.isnan(lo) or math.isnan(hi):
        raise invalid(f"node '{node.name}' ({node.op}): a bound is not a number")
    # float32's own limits stand for an open side, as exporters write them.
    limit = float(np.finfo(np.float32).max)
    lo = min(lo, hi)
    clamp = [None if lo <= -limit else lo, None if hi >= limit else hi]
    if clamp == [None, None]:
        b.rename(node, x)
    else:
        b.emit("clip", [x], {"clamp": clamp}, node=node.name, out=node.outputs[0])


@handles("Min", "Max")
def bound(b: OnnxBuilder, node: OnnxNode) -> None:
    """Minimum or maximum with one constant: how some exporters write ReLU6."""
    names = [n for n in node.inputs if n]
    fixed = [n for n in names if b.const(n) is not None]
    if len(names) != 2 or len(fixed) != 1:
        raise Refused("only a tensor against one constant is supported")
    index = node.inputs.index(fixed[0])
    limit = _scalar(node, b.floats(node, index, "bound"), "bound")
    x = b.x(node, 1 - index)
    if np.broadcast_shapes(b.shape_of(fixed[0]), b.value(x).shape) != b.value(x).shape:
        raise Refused("its constant has more axes than its operand")
    lo, hi = (limit, math.inf) if node.op == "Max" else (-math.inf, limit)
    _clip(b, node, x, lo, hi)


@handles("Add", "Mul")
def binary(b: OnnxBuilder, node: OnnxNode) -> None:
    _binary(b, node, node.op.lower(), b.x(node, 0), b.x(node, 1))


@handles("Sub")
def sub(b: OnnxBuilder, node: OnnxNode) -> None:
    """a - b as a + (-1) * b."""
    right = b.const(operand(node, 1))
    if right is not None:
        grid = b.grids.get(operand(node, 1))
        y = b.constant(f"{node.name}:negated", -b.floats(node, 1, "operand"), negated(grid))
    else:
        minus = b.constant(f"{node.name}:minus", np.asarray([-1], np.float32))
        x = b.x(node, 1)
        grid = grid_of(b.value(x))
        y = b.emit("mul", [x, minus], node=node.name, quant=negated(grid))
    _binary(b, node, "add", b.x(node, 0), y)


@handles("Div")
def div(b: OnnxBuilder, node: OnnxNode) -> None:
    """Division by a constant, as a product with its reciprocal."""
    divisor = b.floats(node, 1, "divisor")
    if not np.all(divisor):
        raise invalid(f"node '{node.name}' (Div) divides by zero")
    reciprocal = b.constant(f"{node.name}:reciprocal", (1 / divisor.astype("f8")).astype("f4"))
    _binary(b, node, "mul", b.x(node, 0), reciprocal)


@handles("Neg")
def neg(b: OnnxBuilder, node: OnnxNode) -> None:
    minus = b.constant(f"{node.name}:minus", np.asarray([-1], np.float32))
    _binary(b, node, "mul", b.x(node), minus)


def _binary(b: OnnxBuilder, node: OnnxNode, op: str, left: str, right: str) -> None:
    if b.graph.is_constant(left):
        left, right = right, left  # a constant stands on the right in our graphs
    for name in (left, right):
        if not b.value(name).shape and b.graph.is_constant(name):
            # A scalar: [1] broadcasts alike and keeps every tensor at one axis or more.
            data = b.graph.constants[name].reshape(1)
            right = b.constant(f"{node.name}:scalar", data, b.value(name).quant)
    b.emit(op, [left, right], node=node.name, out=node.outputs[0])


@handles("Softmax")
def softmax(b: OnnxBuilder, node: OnnxNode) -> None:
    """Over one axis, or before opset 13 over that axis and all behind it."""
    x = b.x(node)
    shape = b.value(x).shape
    rank = len(shape)
    axis = axis_of(node, node.integer("axis", -1 if b.opset >= 13 else 1), rank)
    out = node.outputs[0]
    attrs = {"beta": 1.0}
    if axis == rank - 1:
        b.emit("softmax", [x], attrs, node=node.name, out=out)
    elif b.opset < 13:
        flat = b.reshape(x, (*shape[:axis], math.prod(shape[axis:])), node=node.name)
        y = b.emit("softmax", [flat], attrs, node=node.name)
        b.reshape(y, shape, node=node.name, out=out)
    elif axis == 0:
        raise Refused("softmax over the batch axis is not supported")
    else:
        to, back = TO_NHWC, TO_NCHW
        if (rank, axis) != (4, 1):
            to = back = tuple({axis: rank - 1, rank - 1: axis}.get(i, i) for i in range(rank))  # type: ignore[assignment]
        moved = b.transpose(x, to, node=node.name)
        y = b.emit("softmax", [moved], attrs, node=node.name)
        b.transpose(y, back, node=node.name, out=out)
