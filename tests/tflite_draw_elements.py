"""Operators that compute element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tflite_draw import ALL, Draw, Made, fitting, largest, operator
from tflite_files import File


def _binary(
    f: File, d: Draw, dtype: str, code: str, options: str, expected: Callable[[float, float], float]
) -> Made:
    shape = d.shape()
    other = d.of([shape, [1] * (len(shape) - 1) + shape[-1:], [1]])
    left, right = d.quant(dtype), d.quant(dtype)
    a, b = f.tensor(shape, *left), f.tensor(other, *right)
    y = f.tensor(shape, *fitting(d, dtype, expected(largest(left), largest(right))))
    inputs = [a, b]
    if d.number(0, 1):
        b = f.tensor(other, *right, data=d.numbers(other, dtype))
        inputs = [a]
    operands = [b, a] if code in ("ADD", "MUL", "SUB") and d.number(0, 1) else [a, b]
    f.op(code, operands, [y], options, 2, **(
        {"fusedActivationFunction": d.clamp()} if code in ("ADD", "MUL", "SUB", "DIV") else {}
    ))  # fmt: skip
    return inputs, [y]


@operator(*ALL)
def add(f: File, d: Draw, dtype: str) -> Made:
    return _binary(f, d, dtype, "ADD", "Add", lambda a, b: a + b)


@operator(*ALL)
def sub(f: File, d: Draw, dtype: str) -> Made:
    return _binary(f, d, dtype, "SUB", "Sub", lambda a, b: a + b)


@operator(*ALL)
def mul(f: File, d: Draw, dtype: str) -> Made:
    return _binary(f, d, dtype, "MUL", "Mul", lambda a, b: a * b)


@operator("int8", "float32")
def div(f: File, d: Draw, dtype: str) -> Made:
    return _binary(f, d, dtype, "DIV", "Div", lambda a, b: 4 * a / b)


@operator("int8", "int16", "float32")
def squared_difference(f: File, d: Draw, dtype: str) -> Made:
    return _binary(
        f, d, dtype, "SQUARED_DIFFERENCE", "SquaredDifference", lambda a, b: (a + b) ** 2 / 2
    )


@operator("int8", "float32")
def add_n(f: File, d: Draw, dtype: str) -> Made:
    shape, count = d.shape(), 2 if dtype == "int8" else d.number(2, 4)
    q = (dtype,) if dtype == "float32" else (dtype, d.scale(), 0)
    names = [f.tensor(shape, *q) for _ in range(count)]
    y = f.tensor(shape, *fitting(d, dtype, 2 * largest(q)))
    f.op("ADD_N", names, [y], "AddN")
    return names, [y]


def _extreme(f: File, d: Draw, dtype: str, code: str) -> Made:
    shape = d.shape()
    other = d.of([shape, [1] * (len(shape) - 1) + shape[-1:], [1]])
    q = d.quant(dtype)
    a, b, y = f.tensor(shape, *q), f.tensor(other, *q), f.tensor(shape, *q)
    f.op(code, [a, b], [y], "MaximumMinimum")
    return [a, b], [y]


@operator("int8", "int16", "float32")
def maximum(f: File, d: Draw, dtype: str) -> Made:
    return _extreme(f, d, dtype, "MAXIMUM")


@operator("int8", "int16", "float32")
def minimum(f: File, d: Draw, dtype: str) -> Made:
    return _extreme(f, d, dtype, "MINIMUM")


def _compare(code: str, options: str) -> None:
    @operator("int8", "float32", name=code)
    def maker(f: File, d: Draw, dtype: str) -> Made:
        shape = d.shape()
        other = d.of([shape, [1] * (len(shape) - 1) + shape[-1:]])
        a, b = f.tensor(shape, *d.quant(dtype)), f.tensor(other, *d.quant(dtype))
        y = f.tensor(shape, "bool")
        f.op(code, [a, b], [y], options)
        return [a, b], [y]


for _code, _options in {
    "EQUAL": "Equal", "NOT_EQUAL": "NotEqual", "LESS": "Less", "LESS_EQUAL": "LessEqual",
    "GREATER": "Greater", "GREATER_EQUAL": "GreaterEqual",
}.items():  # fmt: skip
    _compare(_code, _options)


def _logical(code: str, options: str) -> None:
    @operator("bool", name=code)
    def maker(f: File, d: Draw, dtype: str) -> Made:
        shape = d.shape()
        names = [f.tensor(shape, "bool") for _ in range(1 if code == "LOGICAL_NOT" else 2)]
        y = f.tensor(shape, "bool")
        f.op(code, names, [y], options)
        return names, [y]


for _code in ("And", "Or", "Not"):
    _logical(f"LOGICAL_{_code.upper()}", f"Logical{_code}")


@operator(*ALL)
def select_v2(f: File, d: Draw, dtype: str) -> Made:
    shape = d.shape()
    narrow = [1] * (len(shape) - 1) + shape[-1:]
    q = d.quant(dtype)
    c = f.tensor(d.of([shape, narrow]), "bool")
    a, b = f.tensor(shape, *q), f.tensor(d.of([shape, narrow]), *q)
    y = f.tensor(shape, *q)
    f.op("SELECT_V2", [c, a, b], [y], "SelectV2")
    return [c, a, b], [y]


def _unary(
    code: str, dtypes: tuple[str, ...], result: Any, options: str = "", **fields: Any
) -> None:
    """`result(d, dtype, quantization of x)` is the quantization of the result."""

    @operator(*dtypes, name=code)
    def maker(f: File, d: Draw, dtype: str) -> Made:
        shape, q = d.shape(), d.quant(dtype)
        x = f.tensor(shape, *q)
        y = f.tensor(shape, *(result(d, dtype, q) if dtype != "float32" else (dtype,)))
        f.op(code, [x], [y], options, 2, **fields)
        return [x], [y]


def _own(d: Draw, dtype: str, q: tuple[Any, ...]) -> tuple[Any, ...]:
    return fitting(d, dtype, largest(q))


_LOGISTIC = {"int8": ("int8", 1 / 256, -128), "int16": ("int16", 1 / 32768, 0)}
_TANH = {"int8": ("int8", 1 / 128, 0), "int16": ("int16", 1 / 32768, 0)}
_unary("LOGISTIC", ALL, lambda d, dtype, q: _LOGISTIC[dtype])
_unary("TANH", ALL, lambda d, dtype, q: _TANH[dtype])
_unary("HARD_SWISH", ("int8", "float32"), _own, "HardSwish")
_unary("ELU", ("int8", "float32"), _own)
_unary("LEAKY_RELU", ALL, _own, "LeakyRelu", alpha=0.2)
_unary("RELU", ALL, _own)
_unary("RELU6", ("int8", "float32"), lambda d, dtype, q: q)
_unary("ABS", ALL, _own)
_unary("EXP", ("float32",), None, "Exp")
_unary("LOG", ("float32",), None)
_unary("RSQRT", ("float32",), None)
for _name in ("NEG", "SQRT", "SQUARE", "SIN", "COS", "CEIL", "FLOOR", "ROUND"):
    _unary(_name, ("float32",), None)


@operator("int8", "float32")
def prelu(f: File, d: Draw, dtype: str) -> Made:
    shape, q, slope = d.shape(4), d.quant(dtype), d.quant(dtype)
    x = f.tensor(shape, *q)
    a = f.tensor([1, 1, shape[3]], *slope, data=d.numbers([1, 1, shape[3]], dtype))
    y = f.tensor(shape, *fitting(d, dtype, max(1.0, largest(slope)) * largest(q)))
    f.op("PRELU", [x, a], [y])
    return [x], [y]


@operator("int8", "int16")
def quantize(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    to = d.of(["int8", "int16"])
    x, y = f.tensor(shape, *q), f.tensor(shape, *fitting(d, to, largest(q)))
    f.op("QUANTIZE", [x], [y], "Quantize")
    return [x], [y]


@operator("float32")
def cast(f: File, d: Draw, dtype: str) -> Made:
    shape = d.shape()
    x, m, y = f.tensor(shape, dtype), f.tensor(shape, "int32"), f.tensor(shape, dtype)
    f.op("CAST", [x], [m], "Cast", inDataType=0, outDataType=2)
    f.op("CAST", [m], [y], "Cast", inDataType=2, outDataType=0)
    return [x], [m, y]
