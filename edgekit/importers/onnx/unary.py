"""ONNX operators that are one function of every element, and casts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.quant import SHIFT
from edgekit.importers.quantized import grid_of

#: ONNX operator to our function; the attributes, which have the same names, with their defaults.
FUNCTIONS: dict[str, tuple[str, dict[str, float | str]]] = {
    "Abs": ("abs", {}),
    "Acos": ("acos", {}),
    "Acosh": ("acosh", {}),
    "Asin": ("asin", {}),
    "Asinh": ("asinh", {}),
    "Atan": ("atan", {}),
    "Atanh": ("atanh", {}),
    "Ceil": ("ceil", {}),
    "Celu": ("celu", {"alpha": 1.0}),
    "Cos": ("cos", {}),
    "Cosh": ("cosh", {}),
    "Elu": ("elu", {"alpha": 1.0}),
    "Erf": ("erf", {}),
    "Exp": ("exp", {}),
    "Floor": ("floor", {}),
    "Gelu": ("gelu", {"approximate": "none"}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "HardSwish": ("hard_swish", {}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Log": ("log", {}),
    "Mish": ("mish", {}),
    "Reciprocal": ("reciprocal", {}),
    "Round": ("round", {}),
    "Selu": ("selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "Shrink": ("shrink", {"lambd": 0.5, "bias": 0.0}),
    "Sigmoid": ("sigmoid", {}),
    "Sign": ("sign", {}),
    "Sin": ("sin", {}),
    "Sinh": ("sinh", {}),
    "Softplus": ("softplus", {}),
    "Softsign": ("softsign", {}),
    "Sqrt": ("sqrt", {}),
    "Tan": ("tan", {}),
    "Tanh": ("tanh", {}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
}


@handles(*FUNCTIONS)
def function(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real operands of any shape."""
    name, defaults = FUNCTIONS[node.op]
    params: dict[str, Any] = {
        key: node.text(key, value) if isinstance(value, str) else node.number(key, value)
        for key, value in defaults.items()
    }
    b.unary(node, b.x(node), name, node.outputs[0], **params)


@handles("Swish")
def swish(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real operands of any shape; any alpha."""
    alpha = node.number("alpha", 1.0)
    if alpha == 1:
        b.unary(node, b.x(node), "silu", node.outputs[0])
    else:
        b.unary(node, b.x(node), "quick_gelu", node.outputs[0], alpha=alpha)


@handles("Neg")
def neg(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real operands of any shape."""
    x = b.x(node)
    b.emit("mul", [x, b.number(node, "minus", -1)], node=node.name, out=node.outputs[0])


@handles("Relu")
def relu(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real operands of any shape."""
    clamped(b, node, b.x(node), 0.0, math.inf)


@handles("Clip")
def clip(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real operands of any shape, or integers with a scale; any bounds.

    Bounds are attributes before opset 11 and operands after. PyTorch clips the integers of tensors
    that it quantizes to fewer levels than int8 has.
    """
    if operand(node, 0) in b.stored:
        _clip_integers(b, node)
        return
    bounds = [n for n in node.inputs[1:] if n]
    if any(b.const(n) is None for n in bounds):
        _clip_by_tensors(b, node)
        return
    lo = b.scalar(node, 1, "min", -math.inf)
    hi = b.scalar(node, 2, "max", math.inf)
    clamped(b, node, b.x(node), lo, hi)


def _clip_by_tensors(b: OnnxBuilder, node: OnnxNode) -> None:
    x = b.x(node)
    given = [(i, op) for i, op in ((1, "maximum"), (2, "minimum")) if operand(node, i)]
    for k, (index, op) in enumerate(given):
        out = node.outputs[0] if k == len(given) - 1 else ""
        x = b.emit(op, [x, b.x(node, index)], node=node.name, out=out)


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


def clamped(b: OnnxBuilder, node: OnnxNode, x: str, lo: float, hi: float) -> None:
    """Let the node's result be `x` within lo..hi."""
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


@handles("Not")
def logical_not(b: OnnxBuilder, node: OnnxNode) -> None:
    """Truth values of any shape."""
    b.emit("logical", [b.tensor(node)], {"kind": "not"}, node=node.name, out=node.outputs[0])


@handles("IsNaN")
def is_nan(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real operands of any shape; quantized numbers always are numbers."""
    x = b.x(node)
    b.emit("compare", [x, x], {"kind": "not_equal"}, node=node.name, out=node.outputs[0])


@handles("IsInf")
def is_inf(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real operands of any shape; quantized numbers always are finite."""
    x = b.x(node)
    up, down = node.integer("detect_positive", 1), node.integer("detect_negative", 1)
    limit = float(np.finfo(np.float32).max)
    kind = "greater"
    if up and down:
        x = b.unary(node, x, "abs")
    elif down:
        kind, limit = "less", -limit
    elif not up:
        # Nothing exceeds itself.
        b.emit("compare", [x, x], {"kind": "greater"}, node=node.name, out=node.outputs[0])
        return
    b.emit(
        "compare", [x, b.number(node, "limit", limit)], {"kind": kind}, node=node.name,
        out=node.outputs[0],
    )  # fmt: skip


@handles("Cast")
def cast(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals, int32, int64 and truth values into each other; 16- and 64-bit reals are float32."""
    import onnx

    try:
        to = str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.integer("to", 0))))
    except (KeyError, ValueError, TypeError):
        to = str(node.integer("to", 0))
    _cast(b, node, to)


@handles("CastLike")
def cast_like(b: OnnxBuilder, node: OnnxNode) -> None:
    """As Cast; the second operand gives the type."""
    _cast(b, node, b.dtype_of(operand(node, 1)))


REALS = ("float32", "float16", "bfloat16", "float64")


def _cast(b: OnnxBuilder, node: OnnxNode, to: str) -> None:
    x = b.tensor(node)
    source, have = operand(node, 0), b.value(x).dtype
    if source in b.stored or source in b.dynamic:
        if to not in REALS or grid_of(b.value(x)) is not None or source in b.scales:
            raise Refused(f"it computes on the integers of '{source}' without their scale")
        b.scaled_inputs.add(x)  # an image: its integers are the reals
        b.rename(node, x)
        return
    wanted = "float32" if to in REALS else {"int64": "int32"}.get(to, to)
    if wanted not in ("float32", "int32", "bool"):
        raise Refused(f"only casts to reals, int32, int64 and bool are supported, not to {to}")
    if wanted == have:
        b.rename(node, x)
    else:
        b.emit("cast", [x], {"to": wanted}, node=node.name, out=node.outputs[0])
