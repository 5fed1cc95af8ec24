"""Convolutions, fully connected layers and matrix products of TFLite."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.graph import Quant
from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.builder import TfliteBuilder, handles, reals
from edgekit.importers.tflite.read import Tensor, TfliteNode
from edgekit.importers.tflite.shared import (
    SAME,
    clamp_attribute,
    clamp_of,
    dilations_of,
    same_padding,
    strides_of,
    window,
)


def _weights(
    b: TfliteBuilder, node: TfliteNode, axes: int, axis: int, index: int = 1
) -> tuple[np.ndarray, Quant | None]:
    """Constant weights: int8, symmetric, per tensor or per channel along `axis`; float32 reals and
    no quantization in a float model."""
    w = b.constant_operand(node, index, "weights")
    if len(w.shape) != axes:
        raise invalid(f"'{node.name}' ({node.op}): weights {list(w.shape)} need {axes} axes")
    if b.floating:
        return reals(w), None
    if w.dtype != "int8" or w.quant is None:
        raise Refused(f"its weights are {w.dtype}, only quantized int8 is supported")
    if w.quant.axis not in (None, axis):
        raise Refused(f"its weights are quantized along axis {w.quant.axis}, {axis} is supported")
    assert w.data is not None
    if not w.quant.zero_point.any():
        return w.data, w.quant
    return _centred(node, w)


def _centred(node: TfliteNode, w: Tensor) -> tuple[np.ndarray, Quant]:
    """Weights with their one zero point taken off, where int8 holds what is left.

    Kernels for uint8 and fully connected ones subtract the zero point; int8 convolutions do not
    look at it.
    """
    assert w.data is not None and w.quant is not None
    if w.quant.axis is not None or not (w.unsigned or node.op == "FULLY_CONNECTED"):
        raise Refused("its weights are asymmetric (a zero point other than 0)")
    zero_point = int(w.quant.zero_point[0])
    data = w.data.astype(np.int64) - zero_point
    if data.min() < -128 or data.max() > 127:
        raise Refused(
            f"its weights reach from {data.min()} to {data.max()} around their zero point, int8 "
            "holds -128..127: convert again with per-channel int8 quantization"
        )
    return data.astype(np.int8), Quant.make(w.quant.scale, 0)


def _linear(
    b: TfliteBuilder,
    node: TfliteNode,
    op: str,
    x: str,
    weights: tuple[np.ndarray, Quant | None],
    attrs: dict[str, Any],
    bias_at: int = 2,
) -> str:
    """Emit a conv-like node with its bias, zeros where the file has none; returns its result,
    which has a name of its own."""
    w, quant = weights
    channels = w.shape[-1] if op == "depthwise_conv2d" else w.shape[0]
    bias, bias_quant = _bias(b, node, x, quant, channels, bias_at)
    names = [
        x,
        b.constant(f"{node.name}:weights", w, quant),
        b.constant(f"{node.name}:bias", bias, bias_quant),
    ]
    if b.operand(node, 2 if op == "conv_transpose2d" else 0).unsigned:
        attrs = {**attrs, "float32_product": True}
    dtype, out_quant = b.kind_of(b.result(node))
    if dtype != b.value(x).dtype:
        raise Refused(f"it reads {b.value(x).dtype} and gives {dtype}")
    out = b.result(node)
    fits = _has_shape_of_result(b, node, op, names, attrs)
    return b.emit(op, names, attrs, node=node.name, quant=out_quant, out=out.name if fits else "")


def _has_shape_of_result(
    b: TfliteBuilder, node: TfliteNode, op: str, names: list[str], attrs: dict[str, Any]
) -> bool:
    """Whether the layer's result is the file's, not one that is still reshaped."""
    if op != "fully_connected":
        return True
    x, w = b.value(names[0]), b.value(names[1])
    return (*x.shape[:-1], w.shape[0]) == b.result(node).shape


def _bias(
    b: TfliteBuilder, node: TfliteNode, x: str, w: Quant | None, channels: int, index: int
) -> tuple[np.ndarray, Quant | None]:
    """The bias of a layer: float32, int32, or int64 where activations are int16 (TFLite's int16
    kernels without a bias compute as with one of int64)."""
    bias, value = b.tensor(node, index), b.value(x)
    wide = value.dtype == "int16"
    absent = "float32" if b.floating else "int64" if wide else "int32"
    data: np.ndarray = np.zeros(channels, absent)
    if bias is not None:
        legal = bias.dtype == "int32" or (wide and bias.dtype == "int64")
        if bias.data is None or not (b.floating or legal):
            kinds = "int32 or int64" if wide else "int32"
            raise Refused(f"its bias is {bias.dtype}, only constant {kinds} is supported")
        if bias.data.size != channels:
            raise invalid(f"'{node.name}': {bias.data.size} biases for {channels} channels")
        data = (reals(bias) if b.floating else bias.data).reshape(-1)
    if value.quant is None or w is None:
        return data, None
    scale = value.quant.scale * w.scale
    if bias is not None and bias.quant is not None:
        scale = bias.quant.scale
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise invalid(f"'{node.name}': its bias scale leaves the range of float32")
    return data, Quant.make(scale, 0, 0 if scale.size > 1 else None)


@handles("CONV_2D")
def conv(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant weights of float32, float16, int8 or int4 (zero point 0), with groups and dilations;
    int8 or int16 activations, with int64 biases for the latter."""
    import tflite

    options = node.options(tflite.Conv2DOptions)
    w, quant = _weights(b, node, 4, 0)
    dilations = dilations_of(node, options)
    attrs = window(b, node, options, list(w.shape[1:3]), dilations)
    channels = b.value(b.x(node)).shape[3]
    if channels % w.shape[3]:
        raise invalid(f"'{node.name}': weights {list(w.shape)} for {channels} channels")
    attrs |= {"dilations": dilations, "groups": channels // w.shape[3], **clamp_of(options)}
    b.take(node, _linear(b, node, "conv2d", b.x(node), (w, quant), attrs))


@handles("DEPTHWISE_CONV_2D")
def depthwise(b: TfliteBuilder, node: TfliteNode) -> None:
    """As CONV_2D, with any depth multiplier."""
    import tflite

    options = node.options(tflite.DepthwiseConv2DOptions)
    w, quant = _weights(b, node, 4, 3)
    if w.shape[0] != 1:
        raise invalid(f"'{node.name}': depthwise weights {list(w.shape)} must begin with 1")
    dilations = dilations_of(node, options)
    attrs = window(b, node, options, list(w.shape[1:3]), dilations)
    attrs |= {"dilations": dilations, **clamp_of(options)}
    moved = None
    if quant is not None:
        moved = Quant(quant.scale, quant.zero_point, None if quant.axis is None else 2)
    b.take(node, _linear(b, node, "depthwise_conv2d", b.x(node), (w[0], moved), attrs))


@handles("TRANSPOSE_CONV")
def transpose_conv(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant output shape and weights as in CONV_2D; the result may be larger than its windows
    reach."""
    import tflite

    options = node.options(tflite.TransposeConvOptions)
    shape = b.integers(node, 0, "output shape")
    w, quant = _weights(b, node, 4, 0)
    x = b.value(b.x(node, 2))
    if len(x.shape) != 4 or len(shape) != 4:
        raise invalid(f"'{node.name}' makes {shape} of {list(x.shape)}, 4 axes are needed")
    kernel = list(w.shape[1:3])
    strides = strides_of(node, options, kernel, [1, 1])
    pads, beyond = [0, 0, 0, 0], [0, 0]
    for i in (0, 1):
        before = 0
        if options.Padding() == SAME:
            before = same_padding(shape[i + 1], kernel[i], strides[i], 1)[0]
        after = (x.shape[i + 1] - 1) * strides[i] + kernel[i] - before - shape[i + 1]
        pads[i], pads[i + 2], beyond[i] = before, max(after, 0), max(-after, 0)
    attrs = {
        "strides": strides,
        "pads": pads,
        "dilations": [1, 1],
        "groups": 1,
        "output_padding": beyond,
        **clamp_attribute(node.option(tflite.TransposeConvOptions, "FusedActivationFunction", 0)),
    }
    b.take(node, _linear(b, node, "conv_transpose2d", b.x(node, 2), (w, quant), attrs, 3))


@handles("FULLY_CONNECTED")
def fully_connected(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant weights as in CONV_2D, per tensor or per channel, and any number of rows; weights
    that are not shuffled."""
    import tflite

    options = node.options(tflite.FullyConnectedOptions)
    if options.WeightsFormat():
        raise Refused("its weights are shuffled")
    w, quant = _weights(b, node, 2, 0)
    x, out = b.x(node), b.result(node)
    value, depth = b.value(x), w.shape[1]
    if value.size % depth:
        raise invalid(f"'{node.name}': weights {list(w.shape)} for {list(value.shape)}")
    rows = value.size // depth
    shape: tuple[int, ...] = (1, rows, depth)
    if rows == 1:
        shape = (1, depth)
    elif out.shape[:1] == (1,) and len(out.shape) > 1 and value.shape[-1] == depth:
        shape = (*out.shape[:-1], depth)
    if value.shape != shape:
        x = b.reshape(x, shape, node=node.name)
    y = _linear(b, node, "fully_connected", x, (w, quant), clamp_of(options))
    if b.value(y).shape != out.shape:
        y = b.reshape(y, out.shape, node=node.name, out=out.name)
    b.take(node, y)


@handles("BATCH_MATMUL")
def batch_matmul(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two activations, or an activation and a constant, of one type; either may be transposed."""
    import tflite

    left, right = b.x(node, 0), b.x(node, 1)
    if node.option(tflite.BatchMatMulOptions, "AdjX", False):
        left = _swapped(b, node, left)
    transposed = bool(node.option(tflite.BatchMatMulOptions, "AdjY", False))
    b.finish(node, "matmul", [left, right], {"transpose_b": transposed})


def _swapped(b: TfliteBuilder, node: TfliteNode, x: str) -> str:
    """`x` with its last two axes exchanged."""
    rank = len(b.value(x).shape)
    if rank < 2:
        raise invalid(f"'{node.name}' ({node.op}) reads {rank} axes, 2 are needed")
    return b.transpose(x, [*range(rank - 2), rank - 1, rank - 2], node=node.name)


@handles("EMBEDDING_LOOKUP")
def embedding_lookup(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant table; int8 tables of a float model become the reals that they stand for."""
    table = b.constant_operand(node, 1, "table")
    if b.floating:
        data = b.constant(f"{node.name}:table", reals(table))
    else:
        if table.quant != b.quant_of(b.result(node)):
            raise Refused("its table and output differ in scale or zero point")
        data = b.x(node, 1)
    b.finish(node, "gather", [data, b.x(node, 0)], {"axis": 0})
