"""Random graphs of one element by element operator, for hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
from graphs import one_node, quants
from hypothesis import strategies as st

from edgekit.graph import Graph, Quant, Value
from edgekit.ops.base import INTEGERS
from edgekit.ops.compare import KINDS
from edgekit.ops.functions import FUNCTIONS

#: What TFLM compares truth values by.
EQUALITIES = ("equal", "not_equal")
#: Where TFLM's fixed point applies: the result's quantization by function and width.
FIXED = {
    ("sigmoid", "int8"): Quant.make(1 / 256, -128),
    ("tanh", "int8"): Quant.make(1 / 128, 0),
    ("sigmoid", "int16"): Quant.make(1 / 32768, 0),
    ("tanh", "int16"): Quant.make(1 / 32768, 0),
}
#: Other parameters than the defaults.
PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "leaky_relu": {"alpha": st.sampled_from([0.01, 0.3, 1.5, -0.2])},
    "elu": {"alpha": st.sampled_from([1.0, 0.5])},
    "celu": {"alpha": st.sampled_from([1.0, 2.0])},
    "gelu": {"approximate": st.sampled_from(["none", "tanh"])},
    "hard_sigmoid": {"alpha": st.sampled_from([0.2, 1 / 6]), "beta": st.just(0.5)},
    "thresholded_relu": {"alpha": st.sampled_from([1.0, 0.0, -0.5])},
    "shrink": {"lambd": st.sampled_from([0.5, 0.0, -1.0]), "bias": st.sampled_from([0.0, 0.3])},
    "pow": {"exponent": st.sampled_from([2, 3.0, 0.5, -1.0, 1.7])},
}


def widths(x_dtype: str, dtype: str) -> dict[str, Any]:
    return {} if dtype == x_dtype else {"out_dtype": dtype}


@st.composite
def unary_graphs(
    draw: st.DrawFn, function: str, x_dtype: str = "int8", dtype: str = "int8", count: int = 0
) -> Graph:
    """One function with parameters, scales and zero points; `count` elements, 0: some."""
    shape = (1, count or draw(st.integers(1, 70)))
    x_quant, quant = draw(quants(1e-4, 1.0, x_dtype)), draw(quants(1e-4, 1.0, dtype))
    if x_dtype == "int16" and draw(st.integers(0, 3)) == 0:
        x_quant = Quant.make(2.0 ** -draw(st.integers(11, 12)), 0)
    if (function, dtype) in FIXED and draw(st.integers(0, 3)):
        quant = FIXED[function, dtype]
    attrs = {key: draw(values) for key, values in PARAMETERS.get(function, {}).items()}
    x, y = Value("x", shape, x_dtype, x_quant), Value("y", shape, dtype, quant)
    return one_node("unary", [x], y, {}, function=function, **attrs, **widths(x_dtype, dtype))


@st.composite
def shapes_of(draw: st.DrawFn, operands: int) -> tuple[list[tuple[int, ...]], tuple[int, ...]]:
    """Shapes that broadcast, the first one of full size, and the result's."""
    full = tuple(draw(st.integers(1, 5)) for _ in range(3))
    shapes = [(1, *full)]
    for _ in range(operands - 1):
        kept = [d if draw(st.booleans()) else 1 for d in full]
        shapes.append((1, *draw(st.sampled_from([full, tuple(kept), (1, 1, full[2]), (1, 1, 1)]))))
    if operands > 1 and draw(st.booleans()):
        shapes.reverse()
    return shapes, (1, *full)


@st.composite
def binary_graphs(
    draw: st.DrawFn, op: str, x_dtype: str = "int8", dtype: str = "int8", b_dtype: str = ""
) -> Graph:
    """Arithmetic of two operands; one may be a constant. int32 has no quantization."""
    shapes, out = draw(shapes_of(2))
    kinds = [x_dtype, b_dtype or x_dtype]
    attrs: dict[str, Any] = widths(x_dtype, dtype)
    if op == "mod":
        attrs["fmod"] = draw(st.booleans())
    values = []
    for name, shape, kind in zip("ab", shapes, kinds, strict=True):
        quant = draw(quants(1e-3, 0.9, kind)) if kind in INTEGERS else None
        values.append(Value(name, shape, kind, quant))
    quant = draw(quants(4e-3, 2.0, dtype)) if dtype in INTEGERS else None
    if quant is not None and draw(st.integers(0, 3)) == 0 and x_dtype == dtype:
        values = [Value(v.name, v.shape, dtype, quant) for v in values]
    constants = {}
    if draw(st.booleans()):
        name = draw(st.sampled_from("ab"))
        value = values["ab".index(name)]
        constants[name] = integers(draw(st.integers(0, 2**32 - 1)), value)
    return one_node(op, values, Value("y", out, dtype, quant), constants, **attrs)


def integers(seed: int, value: Value) -> np.ndarray:
    """Random contents of a value that is not float32."""
    r = np.random.default_rng(seed)
    if value.dtype == "bool":
        return r.integers(0, 2, value.shape).astype(bool)
    info = np.iinfo(value.dtype)
    return r.integers(info.min, info.max + 1, value.shape).astype(value.dtype)


@st.composite
def compare_graphs(
    draw: st.DrawFn, x_dtype: str = "int8", b_dtype: str = "", tflm: bool = False
) -> Graph:
    """A comparison, often of tensors of one quantization; `tflm` has its rule."""
    shapes, out = draw(shapes_of(2))
    kinds = [x_dtype, b_dtype or x_dtype]
    quant = [draw(quants(1e-3, 0.9, k)) if k in INTEGERS else None for k in kinds]
    if kinds[0] == kinds[1] and draw(st.booleans()):
        quant[1] = quant[0]
    kind = draw(st.sampled_from(EQUALITIES if x_dtype == "bool" else sorted(KINDS)))
    values = [Value(*v) for v in zip("ab", shapes, kinds, quant, strict=True)]
    attrs = {"left_shift": 8} if tflm else {}
    return one_node("compare", values, Value("y", out, "bool"), {}, kind=kind, **attrs)


@st.composite
def logical_graphs(draw: st.DrawFn) -> Graph:
    kind = draw(st.sampled_from(["and", "or", "xor", "not"]))
    shapes, out = draw(shapes_of(1 if kind == "not" else 2))
    values = [Value(n, s, "bool") for n, s in zip("ab", shapes, strict=False)]
    return one_node("logical", values, Value("y", out, "bool"), {}, kind=kind)


@st.composite
def where_graphs(draw: st.DrawFn, x_dtype: str = "int8", dtype: str = "int8") -> Graph:
    shapes, out = draw(shapes_of(3))
    quantized = x_dtype in INTEGERS
    quant = [draw(quants(1e-3, 0.9, x_dtype)) if quantized else None for _ in range(2)]
    result = draw(quants(1e-3, 0.9, dtype)) if quantized else None
    if x_dtype == dtype and draw(st.booleans()):
        quant = [result, result]
    values = [
        Value("c", shapes[0], "bool"),
        Value("a", shapes[1], x_dtype, quant[0]),
        Value("b", shapes[2], x_dtype, quant[1]),
    ]
    y = Value("y", out, dtype, result)
    return one_node("where", values, y, {}, **widths(x_dtype, dtype))


@st.composite
def cast_graphs(draw: st.DrawFn, x_dtype: str, dtype: str) -> Graph:
    shape = (1, draw(st.integers(1, 30)))

    def value(name: str, kind: str) -> Value:
        quant = draw(quants(1e-3, 30.0, kind)) if kind in INTEGERS else None
        return Value(name, shape, kind, quant)

    to = "float32" if dtype in INTEGERS else dtype
    attrs = {"out_dtype": dtype} if dtype in INTEGERS else {}
    return one_node("cast", [value("a", x_dtype)], value("y", dtype), {}, to=to, **attrs)


def graphs_of(case: str) -> st.SearchStrategy[Graph]:
    """The strategy of a case such as ``unary int16>int8``, ``sub int8 int16`` or ``where int32``.

    The second word is what the operator reads and, after ">", what it writes; a third one is the
    second operand's dtype.
    """
    op, types, *second = case.split()
    x_dtype, _, dtype = types.partition(">")
    dtype, b_dtype = dtype or x_dtype, second[0] if second else ""
    if op == "unary":
        return st.sampled_from(sorted(FUNCTIONS)).flatmap(
            lambda function: unary_graphs(function, x_dtype, dtype)
        )
    if op == "compare":
        return compare_graphs(x_dtype, b_dtype)
    if op == "logical":
        return logical_graphs()
    if op == "where":
        return where_graphs(x_dtype, dtype)
    if op == "cast":
        return cast_graphs(x_dtype, dtype)
    return binary_graphs(op, x_dtype, dtype, b_dtype)
