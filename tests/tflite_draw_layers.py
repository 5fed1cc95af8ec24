"""Layers with weights, pooling and normalization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from tflite_draw import ALL, DTYPES, OPERATORS, Draw, Made, operator
from tflite_files import File


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


def windows(d: Draw, height: int, width: int) -> tuple[dict[str, int], list[int], list[int]]:
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
    options, kernel, sizes = windows(d, height, width)
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
    options, kernel, sizes = windows(d, height, width)
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


# TFLite Micro pads with a number that it never sets, so that there is no padding here.


@operator("int8", "float32")
def space_to_batch_nd(f: File, d: Draw, dtype: str) -> Made:
    """Alone, and back again behind a function of every element."""
    block, q = [d.number(1, 3), d.number(1, 2)], d.quant(dtype)
    small = [d.number(1, 3), d.number(1, 3)]
    sizes = [n * part for n, part in zip(small, block, strict=True)]
    channels = d.number(1, 3)
    crops = [[d.number(0, n - 1), 0] for n in sizes]
    x = f.tensor([1, *sizes, channels], *q)
    split = [block[0] * block[1], *small, channels]
    h, r = f.tensor(split, *q), f.tensor(split, *q)
    y = f.tensor([1, *(n - c[0] for n, c in zip(sizes, crops, strict=True)), channels], *q)
    none = f.ints([[0, 0], [0, 0]])
    f.op("SPACE_TO_BATCH_ND", [x, f.ints(block), none], [h], "SpaceToBatchND", 3)
    f.op("RELU", [h], [r])
    f.op("BATCH_TO_SPACE_ND", [r, f.ints(block), f.ints(crops)], [y], "BatchToSpaceND", 3)
    return [x], [h, y]


OPERATORS["BATCH_TO_SPACE_ND"] = OPERATORS["SPACE_TO_BATCH_ND"]
DTYPES["BATCH_TO_SPACE_ND"] = ()


@operator("int8", "float32")
def batches_conv_2d(f: File, d: Draw, dtype: str) -> Made:
    """A dilated convolution as older converters write it."""
    depthwise, block = bool(d.number(0, 1)), [d.number(1, 3), d.number(1, 3)]
    kernel, channels, q = [d.number(1, 3), d.number(1, 2)], d.number(1, 3), d.quant(dtype)
    inner = [d.number(3, 4), d.number(3, 4)]
    small = [n - k + 1 for n, k in zip(inner, kernel, strict=True)]
    x = f.tensor([1, *(n * b for n, b in zip(inner, block, strict=True)), channels], *q)
    h = f.tensor([block[0] * block[1], *inner, channels], *q)
    shape = [1, *kernel, channels] if depthwise else [channels, *kernel, channels]
    weights, spread = _weights(f, d, dtype, q, shape, 3 if depthwise else 0)
    m = _result(f, d, [block[0] * block[1], *small, channels], dtype, spread)
    quant = () if dtype == "float32" else f.quant(m)
    outs = [n * b for n, b in zip(small, block, strict=True)]
    y = f.tensor([1, *outs, channels], dtype, *quant)
    none = f.ints([[0, 0], [0, 0]])
    f.op("SPACE_TO_BATCH_ND", [x, f.ints(block), none], [h], "SpaceToBatchND", 3)
    f.op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [h, *weights], [m],
        "DepthwiseConv2D" if depthwise else "Conv2D", 5, padding=1, strideH=1, strideW=1,
        dilationHFactor=1, dilationWFactor=1, fusedActivationFunction=d.clamp(),
        **({"depthMultiplier": 1} if depthwise else {}),
    )  # fmt: skip
    f.op("BATCH_TO_SPACE_ND", [m, f.ints(block), none], [y], "BatchToSpaceND", 3)
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
    options, kernel, sizes = windows(d, height, width)
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
