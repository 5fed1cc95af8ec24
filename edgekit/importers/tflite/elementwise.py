"""Element by element operators of TFLite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit.importers.common import Refused
from edgekit.importers.tflite.builder import TfliteBuilder, handles
from edgekit.importers.tflite.read import TfliteNode
from edgekit.importers.tflite.shared import CLAMPS, clamp_attribute

UNARY = {
    "ABS": "abs", "CEIL": "ceil", "COS": "cos", "ELU": "elu", "EXP": "exp", "FLOOR": "floor",
    "HARD_SWISH": "hard_swish", "LOG": "log", "LOGISTIC": "sigmoid", "NEG": "neg",
    "ROUND": "round", "RSQRT": "rsqrt", "SIGN": "sign", "SIN": "sin", "SQRT": "sqrt",
    "SQUARE": "square", "TANH": "tanh",
}  # fmt: skip
#: Those of which TFLite has a form for int8, and for int16 too; the others are of float32 alone.
OF_INT8 = ("ELU", "EXP", "HARD_SWISH", "LOG", "RSQRT")
OF_INT16 = ("ABS", "LOGISTIC", "TANH")
OF_FLOAT = tuple(UNARY.keys() - {*OF_INT8, *OF_INT16})
COMPARISONS = {
    "EQUAL": "equal", "NOT_EQUAL": "not_equal", "LESS": "less", "LESS_EQUAL": "less_equal",
    "GREATER": "greater", "GREATER_EQUAL": "greater_equal",
}  # fmt: skip
LOGICAL = {"LOGICAL_AND": "and", "LOGICAL_OR": "or", "LOGICAL_NOT": "not"}
#: Fractional bits with which TFLite compares integers.
COMPARED_BITS = 8
RELUS = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
#: Arithmetic of shapes, done at once where both operands are constants.
ON_INTEGERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum, "FLOOR_DIV": np.floor_divide, "FLOOR_MOD": np.mod,
}  # fmt: skip


def _folded(b: TfliteBuilder, node: TfliteNode) -> bool:
    """Compute a node on constant integers that have no scale; False where it is another node."""
    operands = [b.operand(node, i) for i in (0, 1)]
    function = ON_INTEGERS.get(node.op)
    plain = all(t.dtype in ("int32", "int64") and t.quant is None for t in operands)
    if not plain or function is None:
        return False
    left, right = (t.data for t in operands)
    if left is None or right is None:
        return False
    if node.op.startswith("FLOOR") and not right.all():
        raise Refused("it divides by zero")
    b.known(node, function(left, right))
    return True


@handles("ADD", "MUL", "SUB")
def arithmetic(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two activations, or one and a constant, of float32, int8 or int16 that broadcast."""
    import tflite

    if _folded(b, node):
        return
    kinds = {"ADD": tflite.AddOptions, "MUL": tflite.MulOptions, "SUB": tflite.SubOptions}
    left, right = b.x(node, 0), b.x(node, 1)
    if node.op != "SUB" and b.graph.is_constant(left):
        left, right = right, left  # both operators are symmetric, in integers too
    attrs = clamp_attribute(node.option(kinds[node.op], "FusedActivationFunction", 0))
    b.finish(node, node.op.lower(), [left, right], attrs)


@handles("DIV")
def division(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two operands of float32 or int8 that broadcast."""
    import tflite

    _only(b, node, "float32", "int8")
    attrs = clamp_attribute(node.option(tflite.DivOptions, "FusedActivationFunction", 0))
    b.finish(node, "div", [b.x(node, 0), b.x(node, 1)], attrs)


@handles("ADD_N")
def add_n(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any number of float32 operands; two of int8 with zero point 0 (with others TFLM is off by the
    zero point)."""
    names = [b.x(node, i) for i in range(len(node.inputs))]
    if not b.floating:
        quants = [b.quant_of(b.operand(node, i)) for i in range(len(names))]
        if len(names) > 2 or any(q is None or q.zero_point.any() for q in quants):
            raise Refused("of integers it takes 2 tensors with zero point 0")
    if len(names) == 1:
        b.finish(node, "reshape", names, {"shape": list(b.value(names[0]).shape)})
        return
    total = names[0]
    for name in names[1:-1]:
        total = b.emit("add", [total, name], node=node.name)
    b.finish(node, "add", [total, names[-1]], {})


@handles("MAXIMUM", "MINIMUM")
def extreme(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two operands of float32, int8 or int16 that broadcast; integers share one scale."""
    if _folded(b, node):
        return
    b.same_quant(node, 0)
    b.same_quant(node, 1)
    b.finish(node, node.op.lower(), [b.x(node, 0), b.x(node, 1)], {})


@handles("SQUARED_DIFFERENCE")
def squared_difference(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two operands of float32, int8 or int16 that broadcast."""
    b.finish(node, "squared_difference", [b.x(node, 0), b.x(node, 1)], {})


@handles("POW")
def power(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two operands of float32 that broadcast."""
    _only(b, node, "float32")
    b.finish(node, "pow", [b.x(node, 0), b.x(node, 1)], {})


@handles("FLOOR_MOD", "FLOOR_DIV")
def floor_division(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two operands of float32 that broadcast, or constants."""
    if _folded(b, node):
        return
    if not b.floating:
        raise Refused("it divides integers that are not constants")
    left, right = b.x(node, 0), b.x(node, 1)
    if node.op == "FLOOR_MOD":
        b.finish(node, "mod", [left, right], {})
        return
    quotient = b.emit("div", [left, right], node=node.name)
    b.finish(node, "unary", [quotient], {"function": "floor"})


@handles("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1")
def relu(b: TfliteBuilder, node: TfliteNode) -> None:
    """float32, int8 or int16; a clamp, fused into the layer in front where that is exact."""
    clamp = [0.0, 1.0] if node.op == "RELU_0_TO_1" else CLAMPS[RELUS[node.op]]
    b.finish(node, "clip", [b.x(node)], {"clamp": clamp})


def _only(b: TfliteBuilder, node: TfliteNode, *dtypes: str) -> None:
    """Refuse a first operand of another dtype: TFLite has no such form, or one that differs."""
    dtype = b.value(b.x(node)).dtype
    if dtype not in dtypes:
        raise Refused(f"it has no form for {dtype}")


def _unary(b: TfliteBuilder, node: TfliteNode) -> None:
    b.finish(node, "unary", [b.x(node)], {"function": UNARY[node.op]})


@handles(*OF_FLOAT)
def unary_of_float(b: TfliteBuilder, node: TfliteNode) -> None:
    """An operand of float32."""
    _only(b, node, "float32")
    _unary(b, node)


@handles(*OF_INT8)
def unary_of_int8(b: TfliteBuilder, node: TfliteNode) -> None:
    """float32 or int8."""
    _only(b, node, "float32", "int8")
    _unary(b, node)


@handles(*OF_INT16)
def unary_of_int16(b: TfliteBuilder, node: TfliteNode) -> None:
    """float32, int8 or int16."""
    _unary(b, node)


@handles("LEAKY_RELU")
def leaky_relu(b: TfliteBuilder, node: TfliteNode) -> None:
    """float32, int8 or int16 and any slope."""
    import tflite

    alpha = float(node.option(tflite.LeakyReluOptions, "Alpha", 0.0))
    b.finish(node, "unary", [b.x(node)], {"function": "leaky_relu", "alpha": alpha})


@handles("GELU")
def gelu(b: TfliteBuilder, node: TfliteNode) -> None:
    """float32 or int8, exact or by tanh."""
    import tflite

    _only(b, node, "float32", "int8")
    approximate = bool(node.option(tflite.GeluOptions, "Approximate", False))
    attrs: dict[str, Any] = {"approximate": "tanh" if approximate else "none"}
    b.finish(node, "unary", [b.x(node)], {"function": "gelu", **attrs})


@handles("PRELU")
def prelu(b: TfliteBuilder, node: TfliteNode) -> None:
    """float32 or int8, with slopes that broadcast to the operand."""
    _only(b, node, "float32", "int8")
    b.finish(node, "prelu", [b.x(node, 0), b.x(node, 1)], {})


@handles(*COMPARISONS)
def compare(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two operands of one type that broadcast; scales of integers are below 1."""
    attrs: dict[str, Any] = {"kind": COMPARISONS[node.op]}
    left, right = b.value(b.x(node, 0)), b.value(b.x(node, 1))
    if left.quant is not None and right.quant is not None:
        if max(left.quant.scale[0], right.quant.scale[0]) >= 1:
            raise Refused("it compares integers with a scale of 1 or more")
        attrs["left_shift"] = COMPARED_BITS
    b.finish(node, "compare", [left.name, right.name], attrs)


@handles(*LOGICAL)
def logical(b: TfliteBuilder, node: TfliteNode) -> None:
    """Truth values."""
    names = [b.x(node, i) for i in range(len(node.inputs))]
    b.finish(node, "logical", names, {"kind": LOGICAL[node.op]})


@handles("SELECT_V2")
def select_v2(b: TfliteBuilder, node: TfliteNode) -> None:
    """A condition and two operands of one type and scale that broadcast."""
    _select(b, node, b.x(node, 0))


@handles("SELECT")
def select(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two operands of one type, shape and scale; the condition is as large, or chooses rows."""
    condition, rank = b.x(node, 0), len(b.value(b.x(node, 1)).shape)
    shape = b.value(condition).shape
    if len(shape) == 1 and rank > 1:
        condition = b.reshape(condition, (*shape, *[1] * (rank - 1)), node=node.name)
    _select(b, node, condition)


def _select(b: TfliteBuilder, node: TfliteNode, condition: str) -> None:
    b.same_quant(node, 1)
    b.same_quant(node, 2)
    b.finish(node, "where", [condition, b.x(node, 1), b.x(node, 2)], {})
