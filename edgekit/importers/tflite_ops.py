"""One handler per TFLite operator."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.graph import Quant
from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite import TfliteBuilder, handles, reals
from edgekit.importers.tflite_read import Tensor, TfliteNode

#: ActivationFunctionType of the schema.
CLAMPS: dict[int, list[float | None] | None] = {
    0: None,
    1: [0.0, None],
    2: [-1.0, 1.0],
    3: [0.0, 6.0],
}
SAME, VALID = 0, 1


def _clamp(options: Any) -> dict[str, Any]:
    """The fused activation as an attribute, empty where there is none."""
    kind = options.FusedActivationFunction()
    if kind not in CLAMPS:
        raise Refused(f"its fused activation {kind} is not supported")
    return {} if CLAMPS[kind] is None else {"clamp": CLAMPS[kind]}


def _window(
    b: TfliteBuilder, node: TfliteNode, options: Any, kernel: list[int], dilations: list[int]
) -> dict[str, Any]:
    """`strides` and `pads`; SAME pads as TFLite's ComputePadding does, the odd row behind."""
    strides = [int(options.StrideH()), int(options.StrideW())]
    if min(strides + kernel + dilations) < 1:
        raise invalid(f"'{node.name}': kernel {kernel}, strides {strides}, dilations {dilations}")
    if options.Padding() not in (SAME, VALID):
        raise invalid(f"'{node.name}' ({node.op}) has padding {options.Padding()}")
    shape = b.value(b.x(node)).shape
    if len(shape) != 4:
        raise invalid(f"'{node.name}' ({node.op}) reads {list(shape)}, 4 axes are needed")
    pads = [0, 0, 0, 0]
    for i in (0, 1):
        if options.Padding() == SAME:
            reach = dilations[i] * (kernel[i] - 1) + 1
            total = max((-(-shape[i + 1] // strides[i]) - 1) * strides[i] + reach - shape[i + 1], 0)
            pads[i], pads[i + 2] = total // 2, total - total // 2
    return {"strides": strides, "pads": pads}


def _weights(
    b: TfliteBuilder, node: TfliteNode, axes: int, axis: int
) -> tuple[Tensor, Quant | None]:
    """Constant weights: int8, symmetric, per tensor or per channel along `axis`; float32 reals and
    no quantization in a float model."""
    w = b.constant_operand(node, 1, "weights")
    if b.floating:
        w = replace(w, data=reals(w), dtype="float32", quant=None)
        if len(w.shape) != axes:
            raise invalid(f"'{node.name}' ({node.op}): weights {list(w.shape)} need {axes} axes")
        return w, None
    if w.dtype != "int8" or w.quant is None:
        raise Refused(f"its weights are {w.dtype}, only quantized int8 is supported")
    if len(w.shape) != axes:
        raise invalid(f"'{node.name}' ({node.op}): weights {list(w.shape)} need {axes} axes")
    if w.quant.axis not in (None, axis):
        raise Refused(f"its weights are quantized along axis {w.quant.axis}, {axis} is supported")
    if w.quant.zero_point.any():
        raise Refused("its weights are asymmetric (a zero point other than 0)")
    return w, w.quant


def _linear(
    b: TfliteBuilder,
    node: TfliteNode,
    op: str,
    x: str,
    weights: tuple[np.ndarray, Quant | None],
    attrs: dict[str, Any],
    finish: bool = True,
) -> str:
    """Emit a conv-like node with its bias, zeros where the file has none."""
    w, quant = weights
    channels = w.shape[-1] if op == "depthwise_conv2d" else w.shape[0]
    bias, bias_quant = _bias(b, node, b.value(x).quant, quant, channels)
    names = [
        x,
        b.constant(f"{node.name}:weights", w, quant),
        b.constant(f"{node.name}:bias", bias, bias_quant),
    ]
    out = b.result(node)
    if finish:
        b.finish(node, op, names, attrs)
        return out.name
    return b.emit(op, names, attrs, node=node.name, quant=b.quant_of(out))


def _bias(
    b: TfliteBuilder, node: TfliteNode, x: Quant | None, w: Quant | None, channels: int
) -> tuple[np.ndarray, Quant | None]:
    """The bias of a layer whose operand is quantized by `x` and its weights by `w`."""
    bias = b.tensor(node, 2)
    data: np.ndarray = np.zeros(channels, np.float32 if b.floating else np.int32)
    if bias is not None:
        if bias.data is None or (bias.dtype != "int32" and not b.floating):
            raise Refused(f"its bias is {bias.dtype}, only constant int32 is supported")
        if bias.data.size != channels:
            raise invalid(f"'{node.name}': {bias.data.size} biases for {channels} channels")
        data = (reals(bias) if b.floating else bias.data).reshape(-1)
    if x is None or w is None:
        return data, None
    scale = x.scale * w.scale
    if bias is not None and bias.quant is not None:
        scale = bias.quant.scale
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise invalid(f"'{node.name}': its bias scale leaves the range of float32")
    return data, Quant.make(scale, 0, 0 if scale.size > 1 else None)


@handles("CONV_2D")
def conv(b: TfliteBuilder, node: TfliteNode) -> None:
    import tflite

    options = node.options(tflite.Conv2DOptions)
    w, quant = _weights(b, node, 4, 0)
    assert w.data is not None
    dilations = [int(options.DilationHFactor()), int(options.DilationWFactor())]
    attrs = _window(b, node, options, list(w.shape[1:3]), dilations)
    channels = b.value(b.x(node)).shape[3]
    if channels % w.shape[3]:
        raise invalid(f"'{node.name}': weights {list(w.shape)} for {channels} channels")
    attrs |= {"dilations": dilations, "groups": channels // w.shape[3], **_clamp(options)}
    _linear(b, node, "conv2d", b.x(node), (w.data, quant), attrs)


@handles("DEPTHWISE_CONV_2D")
def depthwise(b: TfliteBuilder, node: TfliteNode) -> None:
    import tflite

    options = node.options(tflite.DepthwiseConv2DOptions)
    w, quant = _weights(b, node, 4, 3)
    assert w.data is not None
    if w.shape[0] != 1:
        raise invalid(f"'{node.name}': depthwise weights {list(w.shape)} must begin with 1")
    dilations = [int(options.DilationHFactor()), int(options.DilationWFactor())]
    attrs = _window(b, node, options, list(w.shape[1:3]), dilations)
    attrs |= {"dilations": dilations, **_clamp(options)}
    moved = None
    if quant is not None:
        moved = Quant(quant.scale, quant.zero_point, None if quant.axis is None else 2)
    _linear(b, node, "depthwise_conv2d", b.x(node), (w.data[0], moved), attrs)


@handles("FULLY_CONNECTED")
def fully_connected(b: TfliteBuilder, node: TfliteNode) -> None:
    """TFLite flattens its operand to [rows, K] by itself."""
    import tflite

    options = node.options(tflite.FullyConnectedOptions)
    if options.WeightsFormat():
        raise Refused("its weights are shuffled")
    w, quant = _weights(b, node, 2, 0)
    assert w.data is not None
    x = b.x(node)
    value, out = b.value(x), b.result(node)
    if value.size != w.shape[1]:
        if value.size % w.shape[1]:
            raise invalid(f"'{node.name}': weights {list(w.shape)} for {list(value.shape)}")
        raise Refused(f"it has {value.size // w.shape[1]} rows, 1 is supported")
    if len(value.shape) != 2:
        x = b.reshape(x, (1, w.shape[1]), node=node.name)
    if len(out.shape) == 2:
        _linear(b, node, "fully_connected", x, (w.data, quant), _clamp(options))
        return
    y = _linear(b, node, "fully_connected", x, (w.data, quant), _clamp(options), finish=False)
    b.finish(node, "reshape", [y], {"shape": list(out.shape)})


@handles("AVERAGE_POOL_2D", "MAX_POOL_2D")
def pool(b: TfliteBuilder, node: TfliteNode) -> None:
    import tflite

    options = node.options(tflite.Pool2DOptions)
    b.same_quant(node)
    kernel = [int(options.FilterHeight()), int(options.FilterWidth())]
    attrs = {"kernel": kernel, **_window(b, node, options, kernel, [1, 1]), **_clamp(options)}
    op = "average_pool2d" if node.op == "AVERAGE_POOL_2D" else "max_pool2d"
    b.finish(node, op, [b.x(node)], attrs)


@handles("ADD", "MUL")
def binary(b: TfliteBuilder, node: TfliteNode) -> None:
    import tflite

    options = node.options(tflite.AddOptions if node.op == "ADD" else tflite.MulOptions)
    left, right = b.x(node, 0), b.x(node, 1)
    if b.graph.is_constant(left):
        left, right = right, left  # both operators are symmetric, in integers too
    b.finish(node, node.op.lower(), [left, right], _clamp(options))


@handles("RELU", "RELU6", "RELU_N1_TO_1")
def relu(b: TfliteBuilder, node: TfliteNode) -> None:
    kind = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[node.op]
    b.finish(node, "clip", [b.x(node)], {"clamp": CLAMPS[kind]})


@handles("QUANTIZE")
def requantize(b: TfliteBuilder, node: TfliteNode) -> None:
    """int8 to int8 of another scale: a clip that is open on both sides."""
    if b.floating:
        raise Refused("it quantizes in the middle of a model that computes in float32")
    b.finish(node, "clip", [b.x(node)], {"clamp": [None, None]})


@handles("DEQUANTIZE")
def dequantize(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant stored as float16 or int8; at an output it has vanished before."""
    source = b.tensor(node, 0)
    if not b.floating or source is None or source.data is None:
        raise Refused("a float32 tensor in the middle of an int8 model is not supported")
    out = b.result(node)
    if out.shape != source.shape:
        raise invalid(f"'{node.name}' and '{source.name}' differ in shape")
    b.tensors[node.outputs[0]] = replace(out, data=reals(source), dtype="float32", quant=None)


@handles("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(b: TfliteBuilder, node: TfliteNode) -> None:
    """The shape is that of the result: shapes in the file are static."""
    b.same_quant(node)
    x, out = b.value(b.x(node)), b.result(node)
    if math.prod(out.shape) != x.size:
        raise invalid(f"'{node.name}' reshapes {list(x.shape)} to {list(out.shape)}")
    if not out.shape:
        raise Refused("its result is a scalar")
    b.finish(node, "reshape", [b.x(node)], {"shape": list(out.shape)})


@handles("SOFTMAX")
def softmax(b: TfliteBuilder, node: TfliteNode) -> None:
    import tflite

    options = node.options(tflite.SoftmaxOptions)
    quant = b.quant_of(b.result(node))
    if quant is not None and (quant.scale[0] != 1 / 256 or quant.zero_point[0] != -128):
        raise Refused("its output must have scale 1/256 and zero point -128")
    b.finish(node, "softmax", [b.x(node)], {"beta": float(options.Beta())})
