"""Random .tflite models of one operator, for each operator that the importer takes.

`OPERATORS[name](f, d, dtype)` adds tensors and the operator to the file `f` with numbers drawn from
`d`, and returns its inputs and outputs. `dtype` is that of activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tflite_files import File

Made = tuple[list[int], list[int]]
Maker = Callable[[File, "Draw", str], Made]
OPERATORS: dict[str, Maker] = {}
#: dtypes of activations with which TFLite Micro runs the operator.
DTYPES: dict[str, tuple[str, ...]] = {}
ALL = ("int8", "int16", "float32")
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)


class Draw:
    """Numbers, scales and shapes."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def number(self, lo: int, hi: int) -> int:
        return self.data.draw(st.integers(lo, hi))

    def of(self, choices: Sequence[Any]) -> Any:
        return self.data.draw(st.sampled_from(list(choices)))

    def scale(self, lo: float = 1e-3, hi: float = 0.9) -> float:
        """A float32 scale, any exponent between the limits alike."""
        exponent = self.data.draw(st.floats(math.log(lo), math.log(hi)))
        return float(np.float32(math.exp(exponent)))

    def permutation(self, n: int) -> list[int]:
        return self.data.draw(st.permutations(range(n)))

    def some(self, lo: int, hi: int) -> list[int]:
        """Different numbers in order, at least one."""
        return sorted(self.data.draw(st.sets(st.integers(lo, hi), min_size=1)))

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.number(0, 2**32 - 1))

    def shape(self, rank: int | None = None, most: int = 5) -> list[int]:
        rank = self.number(2, 4) if rank is None else rank
        return [1, *(self.number(1, most) for _ in range(rank - 1))]

    def quant(self, dtype: str) -> tuple[Any, ...]:
        """(dtype, scale, zero point) of an activation."""
        if dtype == "float32":
            return (dtype,)
        if dtype == "int16":
            return (dtype, self.scale(1e-5, 1e-2), 0)
        return (dtype, self.scale(), self.number(-128, 127))

    def clamp(self) -> int:
        return int(self.of([NONE, NONE, RELU, RELU_N1_TO_1, RELU6]))

    def numbers(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        if dtype == "float32":
            return self.rng().standard_normal(shape).astype(np.float32)
        info = np.iinfo(dtype)
        return self.rng().integers(info.min, info.max, shape, dtype, endpoint=True)


def operator(*dtypes: str, name: str = "") -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        key = name or maker.__name__.upper().strip("_")
        OPERATORS[key], DTYPES[key] = maker, dtypes
        return maker

    return register


# ---- layers with weights


def _result(f: File, d: Draw, shape: Sequence[int], dtype: str, expected: float) -> int:
    """A result whose scale lets sums with a standard deviation of `expected` just fit."""
    if dtype == "float32":
        return f.tensor(shape, dtype)
    steps = 40 if dtype == "int8" else 8000
    scale = float(np.float32(expected / steps * math.exp(d.number(-100, 100) / 100)))
    return f.tensor(shape, dtype, scale, d.number(-128, 127) if dtype == "int8" else 0)


def _weights(
    f: File, d: Draw, dtype: str, x: tuple[Any, ...], shape: Sequence[int], axis: int
) -> tuple[list[int], float]:
    """Weights and perhaps a bias; and the standard deviation of a result."""
    channels, taps = shape[axis], math.prod(shape) // shape[axis]
    if dtype == "float32":
        w = f.tensor(shape, dtype, data=d.numbers(shape, dtype))
        return [w, f.tensor([channels], dtype, data=d.numbers([channels], dtype))], 1.0
    scales = [d.scale(1e-3, 1e-1) for _ in range(channels if d.number(0, 1) else 1)]
    w = f.tensor(shape, "int8", scales, data=d.numbers(shape, "int8"), axis=axis)
    spread = float(np.mean(scales)) * 74 * x[1] * (74 if dtype == "int8" else 18919)
    operands = [w]
    if d.number(0, 3):
        kind = "int32" if dtype == "int8" else "int64"
        # About as large as the sums themselves.
        most = int(74 * (74 if dtype == "int8" else 18919) * math.sqrt(taps)) + 1
        bias = d.rng().integers(-most, most, channels)
        bias_scale = np.float32(x[1]) * np.asarray(scales, np.float32)
        operands.append(f.tensor([channels], kind, bias_scale, data=bias))
    return operands, spread * math.sqrt(taps)


def _windows(d: Draw, height: int, width: int) -> tuple[dict[str, int], list[int], list[int]]:
    """Options of a window, the kernel, and the size of the result."""
    kernel = [d.number(1, min(3, height)), d.number(1, min(3, width))]
    strides = [d.number(1, 2), d.number(1, 2)]
    padding = d.number(0, 1)
    sizes = [
        -(-size // s) if padding == 0 else (size - k) // s + 1
        for size, k, s in zip((height, width), kernel, strides, strict=True)
    ]
    return {"padding": padding, "strideH": strides[0], "strideW": strides[1]}, kernel, sizes


@operator(*ALL)
def conv_2d(f: File, d: Draw, dtype: str) -> Made:
    groups = d.of([1, 1, 2])
    height, width, channels, outputs = (
        d.number(3, 7),
        d.number(3, 7),
        d.number(1, 3),
        d.number(1, 3),
    )
    q = d.quant(dtype)
    x = f.tensor([1, height, width, channels * groups], *q)
    options, kernel, sizes = _windows(d, height, width)
    weights, spread = _weights(f, d, dtype, q, [outputs * groups, *kernel, channels], 0)
    y = _result(f, d, [1, *sizes, outputs * groups], dtype, spread)
    f.op(
        "CONV_2D", [x, *weights], [y], "Conv2D", 5, fusedActivationFunction=d.clamp(),
        dilationHFactor=1, dilationWFactor=1, **options,
    )  # fmt: skip
    return [x], [y]


@operator(*ALL)
def depthwise_conv_2d(f: File, d: Draw, dtype: str) -> Made:
    height, width, channels, multiplier = (
        d.number(3, 7),
        d.number(3, 7),
        d.number(1, 4),
        d.number(1, 3),
    )
    q = d.quant(dtype)
    x = f.tensor([1, height, width, channels], *q)
    options, kernel, sizes = _windows(d, height, width)
    outputs = channels * multiplier
    weights, spread = _weights(f, d, dtype, q, [1, *kernel, outputs], 3)
    y = _result(f, d, [1, *sizes, outputs], dtype, spread)
    f.op(
        "DEPTHWISE_CONV_2D", [x, *weights], [y], "DepthwiseConv2D", 5,
        fusedActivationFunction=d.clamp(), depthMultiplier=multiplier, dilationHFactor=1,
        dilationWFactor=1, **options,
    )  # fmt: skip
    return [x], [y]


@operator(*ALL)
def dilated_conv_2d(f: File, d: Draw, dtype: str) -> Made:
    height, width, dilation = d.number(5, 9), d.number(5, 9), [d.number(1, 3), d.number(1, 2)]
    kernel = [d.number(1, 2), d.number(1, 3)]
    padding = d.number(0, 1)
    sizes = [
        size if padding == 0 else size - s * (k - 1)
        for size, k, s in zip((height, width), kernel, dilation, strict=True)
    ]
    q = d.quant(dtype)
    x = f.tensor([1, height, width, 2], *q)
    weights, spread = _weights(f, d, dtype, q, [2, *kernel, 2], 0)
    y = _result(f, d, [1, *sizes, 2], dtype, spread)
    f.op(
        "CONV_2D", [x, *weights], [y], "Conv2D", 5, padding=padding, strideH=1, strideW=1,
        dilationHFactor=dilation[0], dilationWFactor=dilation[1],
    )  # fmt: skip
    return [x], [y]


@operator(*ALL)
def transpose_conv(f: File, d: Draw, dtype: str) -> Made:
    height, width, channels, outputs = (
        d.number(1, 4),
        d.number(1, 4),
        d.number(1, 3),
        d.number(1, 3),
    )
    kernel, strides = [d.number(1, 3), d.number(1, 3)], [d.number(1, 3), d.number(1, 3)]
    padding = d.number(0, 1)
    sizes = [
        size * s if padding == 0 else (size - 1) * s + k
        for size, k, s in zip((height, width), kernel, strides, strict=True)
    ]
    q = d.quant(dtype)
    x = f.tensor([1, height, width, channels], *q)
    weights, spread = _weights(f, d, dtype, q, [outputs, *kernel, channels], 0)
    y = _result(f, d, [1, *sizes, outputs], dtype, spread)
    shape = f.ints([1, *sizes, outputs])
    f.op(
        "TRANSPOSE_CONV", [shape, weights[0], x, *weights[1:]], [y], "TransposeConv", 3,
        padding=padding, strideH=strides[0], strideW=strides[1],
    )  # fmt: skip
    return [x], [y]


@operator(*ALL)
def fully_connected(f: File, d: Draw, dtype: str) -> Made:
    depth, outputs = d.number(1, 9), d.number(1, 5)
    rows = d.of([[1], [1], [3], [1, 4], [1, 2, 2]])
    keep = bool(len(rows) > 1 and d.number(0, 1))
    q = d.quant(dtype)
    x = f.tensor([*rows, depth] if rows[0] == 1 else [1, *rows, depth], *q)
    weights, spread = _weights(f, d, dtype, q, [outputs, depth], 0)
    if len(weights) == 1:
        weights.append(-1)
    count = math.prod(rows)
    y = _result(f, d, [*rows, outputs] if keep else [count, outputs], dtype, spread)
    f.op(
        "FULLY_CONNECTED", [x, *weights], [y], "FullyConnected", 4,
        fusedActivationFunction=d.clamp(), keepNumDims=keep,
    )  # fmt: skip
    return [x], [y]


# ---- pooling and normalization


def _pool(f: File, d: Draw, dtype: str, code: str) -> Made:
    height, width, channels = d.number(2, 7), d.number(2, 7), d.number(1, 4)
    q = d.quant(dtype)
    x = f.tensor([1, height, width, channels], *q)
    options, kernel, sizes = _windows(d, height, width)
    y = f.tensor([1, *sizes, channels], *q)
    f.op(
        code, [x], [y], "Pool2D", 2, fusedActivationFunction=d.clamp(), filterHeight=kernel[0],
        filterWidth=kernel[1], **options,
    )  # fmt: skip
    return [x], [y]


@operator(*ALL)
def average_pool_2d(f: File, d: Draw, dtype: str) -> Made:
    return _pool(f, d, dtype, "AVERAGE_POOL_2D")


@operator(*ALL)
def max_pool_2d(f: File, d: Draw, dtype: str) -> Made:
    return _pool(f, d, dtype, "MAX_POOL_2D")


@operator(*ALL)
def softmax(f: File, d: Draw, dtype: str) -> Made:
    shape = d.shape()
    x = f.tensor(shape, *d.quant(dtype))
    fixed: dict[str, tuple[Any, ...]]
    fixed = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0), "float32": ()}
    y = f.tensor(shape, dtype, *fixed[dtype])
    f.op("SOFTMAX", [x], [y], "Softmax", beta=d.of([1.0, 0.5, 2.0]))
    return [x], [y]


@operator("int8", "float32")
def log_softmax(f: File, d: Draw, dtype: str) -> Made:
    shape = d.shape()
    x = f.tensor(shape, *d.quant(dtype))
    y = f.tensor(shape, dtype, *((16 / 256, 127) if dtype == "int8" else ()))
    f.op("LOG_SOFTMAX", [x], [y], "LogSoftmax")
    return [x], [y]


@operator("int8", "float32")
def l2_normalization(f: File, d: Draw, dtype: str) -> Made:
    shape = d.shape()
    x = f.tensor(shape, *d.quant(dtype))
    y = f.tensor(shape, dtype, *((1 / 128, 0) if dtype == "int8" else ()))
    f.op("L2_NORMALIZATION", [x], [y], "L2Norm")
    return [x], [y]


# ---- element by element


def _fitting(d: Draw, dtype: str, expected: float) -> tuple[Any, ...]:
    if dtype == "float32":
        return (dtype,)
    steps = 100 if dtype == "int8" else 25000
    scale = float(np.float32(expected / steps * math.exp(d.number(-100, 100) / 100)))
    return (dtype, scale, d.number(-128, 127) if dtype == "int8" else 0)


def _largest(q: tuple[Any, ...]) -> float:
    """About the greatest magnitude of a tensor quantized by `q`."""
    return 1.0 if len(q) == 1 else float(q[1]) * (150 if q[0] == "int8" else 32767)


def _binary(
    f: File, d: Draw, dtype: str, code: str, options: str, expected: Callable[[float, float], float]
) -> Made:
    shape = d.shape()
    other = d.of([shape, [1] * (len(shape) - 1) + shape[-1:], [1]])
    left, right = d.quant(dtype), d.quant(dtype)
    a, b = f.tensor(shape, *left), f.tensor(other, *right)
    y = f.tensor(shape, *_fitting(d, dtype, expected(_largest(left), _largest(right))))
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
    y = f.tensor(shape, *_fitting(d, dtype, 2 * _largest(q)))
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
    return _fitting(d, dtype, _largest(q))


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
    y = f.tensor(shape, *_fitting(d, dtype, max(1.0, _largest(slope)) * _largest(q)))
    f.op("PRELU", [x, a], [y])
    return [x], [y]


@operator("int8", "int16")
def quantize(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    to = d.of(["int8", "int16"])
    x, y = f.tensor(shape, *q), f.tensor(shape, *_fitting(d, to, _largest(q)))
    f.op("QUANTIZE", [x], [y], "Quantize")
    return [x], [y]


@operator("float32")
def cast(f: File, d: Draw, dtype: str) -> Made:
    shape = d.shape()
    x, m, y = f.tensor(shape, dtype), f.tensor(shape, "int32"), f.tensor(shape, dtype)
    f.op("CAST", [x], [m], "Cast", inDataType=0, outDataType=2)
    f.op("CAST", [m], [y], "Cast", inDataType=2, outDataType=0)
    return [x], [m, y]


# ---- movement


@operator(*ALL)
def concatenation(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    names, total = [], 0
    for _ in range(d.number(1, 3)):
        part = list(shape)
        part[axis] = d.number(1, 3)
        total += part[axis]
        names.append(f.tensor(part, *q))
    inputs = list(names)
    if d.number(0, 1):
        names.append(f.tensor(shape, *q, data=d.numbers(shape, dtype)))
        total += shape[axis]
    out = list(shape)
    out[axis] = total
    y = f.tensor(out, *q)
    f.op("CONCATENATION", names, [y], "Concatenation", 2, axis=d.of([axis, axis - len(shape)]))
    return inputs, [y]


@operator(*ALL)
def pack(f: File, d: Draw, dtype: str) -> Made:
    shape, q, count = d.shape(d.number(2, 3)), d.quant(dtype), d.number(1, 3)
    axis = d.number(1, len(shape))
    names = [f.tensor(shape, *q) for _ in range(count)]
    y = f.tensor([*shape[:axis], count, *shape[axis:]], *q)
    f.op("PACK", names, [y], "Pack", axis=axis, valuesCount=count)
    return names, [y]


@operator("int8", "float32")
def unpack(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(d.number(3, 4), 3), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    x = f.tensor(shape, *q)
    outs = [f.tensor([*shape[:axis], *shape[axis + 1 :]], *q) for _ in range(shape[axis])]
    f.op("UNPACK", [x], outs, "Unpack", axis=axis, num=shape[axis])
    return [x], outs


@operator("int8", "int16", "float32")
def split(f: File, d: Draw, dtype: str) -> Made:
    shape, q, count = d.shape(), d.quant(dtype), d.number(1, 3)
    axis = d.number(1, len(shape) - 1)
    part = list(shape)
    shape[axis] *= count
    x = f.tensor(shape, *q)
    outs = [f.tensor(part, *q) for _ in range(count)]
    f.op("SPLIT", [f.ints(axis), x], outs, "Split", 2, numSplits=count)
    return [x], outs


@operator("int8", "int16", "float32")
def split_v(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    sizes = [d.number(1, 3) for _ in range(d.number(1, 3))]
    shape[axis] = sum(sizes)
    x = f.tensor(shape, *q)
    outs = []
    for size in sizes:
        part = list(shape)
        part[axis] = size
        outs.append(f.tensor(part, *q))
    f.op("SPLIT_V", [x, f.ints(sizes), f.ints(axis)], outs, "SplitV", 2, numSplits=len(sizes))
    return [x], outs


@operator(*ALL)
def slice_(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    begins = [d.number(0, n - 1) for n in shape]
    sizes = [d.number(1, n - b) for n, b in zip(shape, begins, strict=True)]
    x, y = f.tensor(shape, *q), f.tensor(sizes, *q)
    said = [-1 if b + s == n and d.number(0, 1) else s for b, s, n in
            zip(begins, sizes, shape, strict=True)]  # fmt: skip
    f.op("SLICE", [x, f.ints(begins), f.ints(said)], [y], "Slice", 3)
    return [x], [y]


@operator(*ALL)
def strided_slice(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(4), d.quant(dtype)
    begins, ends, steps, parts = [0], [1], [1], [slice(0, 1)]
    begin_mask, end_mask, shrink_mask = 0, 0, 0
    for i, n in enumerate(shape[1:], 1):
        step, begin, end = d.of([1, 1, 2, -1]), d.number(-n, n - 1), d.number(-n, n)
        if d.number(0, 3) == 0 and not shrink_mask:
            shrink_mask |= 1 << i
            step, end = 1, begin + 1 if begin != -1 else n
            parts.append(slice(begin % n, begin % n + 1))
        else:
            begin_mask |= d.number(0, 1) << i
            end_mask |= d.number(0, 1) << i
            part = slice(None if begin_mask >> i & 1 else begin,
                         None if end_mask >> i & 1 else end, step)  # fmt: skip
            if not len(range(*part.indices(n))):
                begin_mask, end_mask = begin_mask | 1 << i, end_mask | 1 << i
                part = slice(None, None, step)
            parts.append(part)
        begins.append(begin)
        ends.append(end)
        steps.append(step)
    sizes = [len(range(*p.indices(n))) for p, n in zip(parts, shape, strict=True)]
    out = [n for i, n in enumerate(sizes) if not shrink_mask >> i & 1]
    x, y = f.tensor(shape, *q), f.tensor(out, *q)
    f.op(
        "STRIDED_SLICE", [x, f.ints(begins), f.ints(ends), f.ints(steps)], [y], "StridedSlice", 2,
        beginMask=begin_mask, endMask=end_mask, shrinkAxisMask=shrink_mask,
    )  # fmt: skip
    return [x], [y]


def _pads(d: Draw, shape: Sequence[int], most: Sequence[int]) -> list[list[int]]:
    return [[0, 0], *([d.number(0, m), d.number(0, m)] for m in most[1:])]


@operator("int8", "int16", "float32")
def pad(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    pads = _pads(d, shape, [2] * len(shape))
    x = f.tensor(shape, *q)
    y = f.tensor([n + a + b for n, (a, b) in zip(shape, pads, strict=True)], *q)
    f.op("PAD", [x, f.ints(pads)], [y], "Pad", 2)
    return [x], [y]


@operator("int8", "float32")
def padv2(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    pads = _pads(d, shape, [2] * len(shape))
    x = f.tensor(shape, *q)
    y = f.tensor([n + a + b for n, (a, b) in zip(shape, pads, strict=True)], *q)
    value = f.tensor([1], *q, data=d.numbers([1], dtype))
    f.op("PADV2", [x, f.ints(pads), value], [y], "PadV2", 2)
    return [x], [y]


@operator("int8", "float32")
def mirror_pad(f: File, d: Draw, dtype: str) -> Made:
    shape, q, mode = d.shape(), d.quant(dtype), d.number(0, 1)
    pads = _pads(d, shape, [min(2, n - 1 + mode) for n in shape])
    x = f.tensor(shape, *q)
    y = f.tensor([n + a + b for n, (a, b) in zip(shape, pads, strict=True)], *q)
    f.op("MIRROR_PAD", [x, f.ints(pads)], [y], "MirrorPad", mode=mode)
    return [x], [y]


@operator("int8", "float32")
def gather(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(d.number(2, 3)), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    count = d.number(1, 4)
    indices = f.ints([d.number(0, shape[axis] - 1) for _ in range(count)])
    x, y = f.tensor(shape, *q), f.tensor([*shape[:axis], count, *shape[axis + 1 :]], *q)
    f.op("GATHER", [x, indices], [y], "Gather", axis=axis)
    return [x], [y]


@operator("int8", "float32")
def gather_nd(f: File, d: Draw, dtype: str) -> Made:
    shape, q, count = d.shape(3), d.quant(dtype), d.number(1, 4)
    depth = d.number(1, 3)
    indices = [[d.number(0, n - 1) for n in shape[:depth]] for _ in range(count)]
    x, y = f.tensor(shape, *q), f.tensor([count, *shape[depth:]], *q)
    f.op("GATHER_ND", [x, f.ints(indices)], [y], "GatherNd")
    return [x], [y]


def _resize(f: File, d: Draw, dtype: str, code: str, options: str) -> Made:
    shape, q = [1, d.number(1, 5), d.number(1, 5), d.number(1, 3)], d.quant(dtype)
    size = [d.number(1, 9), d.number(1, 9)]
    how = d.of([{}, {"alignCorners": True}, {"halfPixelCenters": True}])
    x, y = f.tensor(shape, *q), f.tensor([1, *size, shape[3]], *q)
    f.op(code, [x, f.ints(size)], [y], options, 3, **how)
    return [x], [y]


@operator("int8", "float32")
def resize_bilinear(f: File, d: Draw, dtype: str) -> Made:
    return _resize(f, d, dtype, "RESIZE_BILINEAR", "ResizeBilinear")


@operator(*ALL)
def resize_nearest_neighbor(f: File, d: Draw, dtype: str) -> Made:
    return _resize(f, d, dtype, "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor")


@operator(*ALL)
def transpose(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    perm = d.permutation(len(shape))
    x, y = f.tensor(shape, *q), f.tensor([shape[p] for p in perm], *q)
    f.op("TRANSPOSE", [x, f.ints(perm)], [y], "Transpose", 2)
    return [x], [y]


@operator(*ALL)
def reshape(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    out = d.of([[1, -1], [-1, 1], [1, 1, -1], [-1]])
    to = [math.prod(shape) if n == -1 else n for n in out]
    x, y = f.tensor(shape, *q), f.tensor(to, *q)
    f.op("RESHAPE", [x, f.ints(out)], [y], "Reshape", newShape=out)
    return [x], [y]


@operator("int8", "float32")
def expand_dims(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(d.number(2, 3)), d.quant(dtype)
    axis = d.number(0, len(shape))
    x, y = f.tensor(shape, *q), f.tensor([*shape[:axis], 1, *shape[axis:]], *q)
    f.op("EXPAND_DIMS", [x, f.ints(axis)], [y], "ExpandDims")
    return [x], [y]


@operator(*ALL)
def squeeze(f: File, d: Draw, dtype: str) -> Made:
    shape, q = [1, d.number(1, 4), 1, d.number(1, 4)], d.quant(dtype)
    x, y = f.tensor(shape, *q), f.tensor([1, shape[1], shape[3]], *q)
    f.op("SQUEEZE", [x], [y], "Squeeze", squeezeDims=[2])
    return [x], [y]


@operator("int8", "float32")
def broadcast_to(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(4, 3), d.quant(dtype)
    small = [d.of([1, n]) for n in shape]
    x, y = f.tensor(small, *q), f.tensor(shape, *q)
    f.op("BROADCAST_TO", [x, f.ints(shape)], [y], "BroadcastTo", 3)
    return [x], [y]


@operator("int8", "float32")
def space_to_depth(f: File, d: Draw, dtype: str) -> Made:
    q, block, h, w, c = (
        d.quant(dtype),
        d.number(1, 3),
        d.number(1, 3),
        d.number(1, 3),
        d.number(1, 3),
    )
    x, y = f.tensor([1, h * block, w * block, c], *q), f.tensor([1, h, w, c * block**2], *q)
    f.op("SPACE_TO_DEPTH", [x], [y], "SpaceToDepth", 2, blockSize=block)
    return [x], [y]


@operator("int8", "float32")
def depth_to_space(f: File, d: Draw, dtype: str) -> Made:
    q, block, h, w, c = (
        d.quant(dtype),
        d.number(1, 3),
        d.number(1, 3),
        d.number(1, 3),
        d.number(1, 3),
    )
    x, y = f.tensor([1, h, w, c * block**2], *q), f.tensor([1, h * block, w * block, c], *q)
    f.op("DEPTH_TO_SPACE", [x], [y], "DepthToSpace", 2, blockSize=block)
    return [x], [y]


# ---- reductions


def _reduced(d: Draw, shape: Sequence[int]) -> tuple[list[int], bool, list[int]]:
    axes = d.some(1, len(shape) - 1)
    keep = bool(d.number(0, 1))
    out = [1 if i in axes else n for i, n in enumerate(shape)]
    return axes, keep, out if keep else [n for i, n in enumerate(out) if i not in axes]


def _reduce(code: str, dtypes: tuple[str, ...], grow: bool = False, same: bool = False) -> None:
    @operator(*dtypes, name=code)
    def maker(f: File, d: Draw, dtype: str) -> Made:
        shape, q = d.shape(), d.quant(dtype)
        axes, keep, out = _reduced(d, shape)
        count = math.prod(shape[a] for a in axes)
        to = (
            q
            if same or d.number(0, 1)
            else _fitting(d, dtype, _largest(q) * (count if grow else 1))
        )
        x, y = f.tensor(shape, *q), f.tensor(out, *to)
        f.op(code, [x, f.ints(axes)], [y], "Reducer", 2, keepDims=keep)
        return [x], [y]


_reduce("MEAN", ALL)
_reduce("SUM", ALL, grow=True)
_reduce("REDUCE_MAX", ("int8", "float32"), same=True)
_reduce("REDUCE_MIN", ("int8", "float32"), same=True)


def _arg(code: str, options: str) -> None:
    @operator("int8", "float32", name=code)
    def maker(f: File, d: Draw, dtype: str) -> Made:
        shape = d.shape()
        axis = d.number(1, len(shape) - 1)
        x = f.tensor(shape, *d.quant(dtype))
        y = f.tensor([*shape[:axis], *shape[axis + 1 :]], "int32")
        f.op(code, [x, f.ints(axis)], [y], options, outputType=2)
        return [x], [y]


_arg("ARG_MAX", "ArgMax")
_arg("ARG_MIN", "ArgMin")


@operator("int8", "float32")
def cumsum(f: File, d: Draw, dtype: str) -> Made:
    shape, q = d.shape(), d.quant(dtype)
    axis = d.number(1, len(shape) - 1)
    x, y = f.tensor(shape, *q), f.tensor(shape, *_fitting(d, dtype, 2 * _largest(q)))
    f.op(
        "CUMSUM", [x, f.ints(axis)], [y], "Cumsum", exclusive=bool(d.number(0, 1)),
        reverse=bool(d.number(0, 1)),
    )  # fmt: skip
    return [x], [y]


def _batch_matmul(f: File, d: Draw, dtype: str) -> Made:
    m, k, n, batch = d.number(1, 3), d.number(1, 5), d.number(1, 3), d.number(1, 2)
    left, right = d.quant(dtype), d.quant(dtype)
    adj_x, adj_y = bool(d.number(0, 1)), bool(d.number(0, 1))
    a = f.tensor([1, batch, *((k, m) if adj_x else (m, k))], *left)
    b = f.tensor([1, batch, *((n, k) if adj_y else (k, n))], *right)
    expected = _largest(left) * _largest(right) * math.sqrt(k) / 3
    y = f.tensor([1, batch, m, n], *_fitting(d, dtype, expected))
    f.op("BATCH_MATMUL", [a, b], [y], "BatchMatMul", adjX=adj_x, adjY=adj_y)
    return [a, b], [y]


operator(*ALL, name="BATCH_MATMUL")(_batch_matmul)
