"""ONNX operators on the elements of two tensors or more, which broadcast as in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.unary import clamped
from edgekit.importers.quantized import negated


@handles("Add", "Mul")
def commutative(b: OnnxBuilder, node: OnnxNode) -> None:
    """Two real operands that broadcast."""
    binary(b, node, node.op.lower(), b.x(node, 0), b.x(node, 1))


@handles("Sub")
def sub(b: OnnxBuilder, node: OnnxNode) -> None:
    """Two real operands that broadcast."""
    left, right = (b.const(operand(node, i)) for i in (0, 1))
    if right is not None:
        grid = b.grids.get(operand(node, 1))
        y = b.constant(f"{node.name}:negated", -b.floats(node, 1, "operand"), negated(grid))
        binary(b, node, "add", b.x(node, 0), y)
    elif left is not None:  # sums with constants fold into the layer in front
        x = b.x(node, 1)
        y = b.emit("mul", [x, b.number(node, "minus", -1)], node=node.name)
        binary(b, node, "add", b.x(node, 0), y)
    else:
        binary(b, node, "sub", b.x(node, 0), b.x(node, 1))


@handles("Div")
def div(b: OnnxBuilder, node: OnnxNode) -> None:
    """Two real operands that broadcast."""
    if b.const(operand(node, 1)) is None:
        binary(b, node, "div", b.x(node, 0), b.x(node, 1))
        return
    divisor = b.floats(node, 1, "divisor")
    if not np.all(divisor):
        raise invalid(f"node '{node.name}' (Div) divides by zero")
    reciprocal = b.constant(f"{node.name}:reciprocal", (1 / divisor.astype("f8")).astype("f4"))
    binary(b, node, "mul", b.x(node, 0), reciprocal)


#: Powers with an exponent that is a function of its own.
_POWERS = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal", -0.5: "rsqrt"}


@handles("Pow")
def power(b: OnnxBuilder, node: OnnxNode) -> None:
    """Two real operands that broadcast; a constant exponent may be an integer."""
    x = b.x(node)
    data = b.const(operand(node, 1))
    if data is None:
        y = b.tensor(node, 1)
        if b.value(y).dtype != "float32":
            y = b.emit("cast", [y], {"to": "float32"}, node=node.name)
        binary(b, node, "pow", x, y)
        return
    exponents = np.unique(data.astype(np.float64))
    if exponents.size == 1 and b.value(x).shape == _common(b, node):
        exponent = float(exponents[0])
        if exponent == 1:
            b.rename(node, x)
        elif exponent in _POWERS:
            b.unary(node, x, _POWERS[exponent], node.outputs[0])
        else:
            b.unary(node, x, "pow", node.outputs[0], exponent=exponent)
        return
    binary(b, node, "pow", x, b.constant(f"{node.name}:exponent", data.astype(np.float32)))


@handles("Mod")
def mod(b: OnnxBuilder, node: OnnxNode) -> None:
    """Two real operands that broadcast; either sign."""
    attrs = {"fmod": bool(node.integer("fmod", 0))}
    binary(b, node, "mod", b.x(node, 0), b.x(node, 1), attrs)


@handles("PRelu")
def prelu(b: OnnxBuilder, node: OnnxNode) -> None:
    """A real operand and a slope that broadcasts to it."""
    binary(b, node, "prelu", b.x(node, 0), b.x(node, 1))


@handles("Min", "Max")
def bound(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any number of real operands that broadcast."""
    names = [n for n in node.inputs if n]
    fixed = [n for n in names if (data := b.const(n)) is not None and data.size == 1]
    if len(names) == 2 and len(fixed) == 1:
        # One number as the bound: how some exporters write ReLU6.
        index = node.inputs.index(fixed[0])
        x = b.x(node, 1 - index)
        if b.value(x).shape == _common(b, node):
            limit = b.scalar(node, index, "bound", 0.0)
            lo, hi = (limit, math.inf) if node.op == "Max" else (-math.inf, limit)
            clamped(b, node, x, lo, hi)
            return
    _chain(b, node, "maximum" if node.op == "Max" else "minimum")


@handles("Sum", "Mean")
def total(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any number of real operands that broadcast."""
    if node.op == "Sum" or len(node.inputs) == 1:
        _chain(b, node, "add")
        return
    y = f"{node.outputs[0]}:sum"
    b.run(node, "Sum", node.inputs, y)
    b.data[f"{y}:share"] = np.asarray(1 / len(node.inputs), np.float32)
    b.run(node, "Mul", [y, f"{y}:share"], node.outputs[0])


def _chain(b: OnnxBuilder, node: OnnxNode, op: str) -> None:
    names = [b.x(node, i) for i in range(len(node.inputs))]
    if len(names) == 1:
        b.rename(node, names[0])
        return
    x = names[0]
    for i, name in enumerate(names[1:]):
        out = node.outputs[0] if i == len(names) - 2 else ""
        x = _emit(b, node, op, [x, name], out)


#: ONNX operator to the attribute 'kind' of compare.
COMPARISONS = {
    "Equal": "equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
}


@handles(*COMPARISONS)
def compare(b: OnnxBuilder, node: OnnxNode) -> None:
    """Two operands that broadcast: reals, integers or truth values."""
    names = [b.tensor(node, 0), b.tensor(node, 1)]
    _emit(b, node, "compare", names, node.outputs[0], {"kind": COMPARISONS[node.op]})


@handles("And", "Or", "Xor")
def logical(b: OnnxBuilder, node: OnnxNode) -> None:
    """Two truth values that broadcast."""
    names = [b.tensor(node, 0), b.tensor(node, 1)]
    _emit(b, node, "logical", names, node.outputs[0], {"kind": node.op.lower()})


@handles("Where")
def where(b: OnnxBuilder, node: OnnxNode) -> None:
    """A condition and two operands of one type that broadcast."""
    _emit(b, node, "where", [b.tensor(node, i) for i in (0, 1, 2)], node.outputs[0])


def _common(b: OnnxBuilder, node: OnnxNode) -> tuple[int, ...]:
    """The common shape of the node's operands."""
    shapes = [b.shape_of(n) for n in node.inputs if n]
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        text = " and ".join(str(list(s)) for s in shapes)
        raise invalid(
            f"node '{node.name}' ({node.op}): {text} do not broadcast",
            "the model contradicts itself at this node",
        ) from None


def binary(
    b: OnnxBuilder,
    node: OnnxNode,
    op: str,
    left: str,
    right: str,
    attrs: dict[str, Any] | None = None,
) -> None:
    """Let the node's result be `op` of two values of the graph."""
    _common(b, node)
    if op in ("add", "mul") and b.graph.is_constant(left):
        left, right = right, left  # a constant stands on the right in our graphs
    _emit(b, node, op, [left, right], node.outputs[0], attrs)


def _emit(
    b: OnnxBuilder,
    node: OnnxNode,
    op: str,
    names: list[str],
    out: str,
    attrs: dict[str, Any] | None = None,
) -> str:
    """An operator whose operands broadcast.

    A scalar constant becomes [1], which broadcasts alike, so that a tensor has at least one axis
    unless all are scalars.
    """
    if any(b.value(n).shape for n in names if not b.graph.is_constant(n)):
        for i, name in enumerate(names):
            if not b.value(name).shape and b.graph.is_constant(name):
                data = b.graph.constants[name].reshape(1)
                names[i] = b.constant(f"{node.name}:scalar", data, b.value(name).quant)
    if all(b.graph.is_constant(n) for n in names):
        raise Refused("all of its operands are constants that are too large to fold")
    scalar = out and _common(b, node) == () and any(b.value(n).shape for n in names)
    y = b.emit(op, names, attrs, node=node.name, out="" if scalar else out)
    return b.reshape(y, (), node=node.name, out=out) if scalar else y
