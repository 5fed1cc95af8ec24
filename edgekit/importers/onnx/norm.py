"""ONNX normalizations."""

from __future__ import annotations

import math

import numpy as np

from edgekit.importers.common import Refused, check_made, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, as_float, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.shape import axis_of


@handles("BatchNormalization")
def batch_normalization(b: OnnxBuilder, node: OnnxNode) -> None:
    """Inference with constant parameters, any number of axes.

    x * scale/sqrt(var + eps) + (bias - mean * that): a mul and an add, which passes fold.
    """
    if node.integer("training_mode", 0) or any(node.outputs[1:]):
        raise Refused("training mode is not supported: export the model in evaluation mode")
    x = b.x(node)
    shape = b.value(x).shape
    if len(shape) < 2:
        raise Refused(f"its operand has {len(shape)} axes, at least 2 are needed")
    names = ("scale", "bias", "mean", "variance")
    p = [b.floats(node, i + 1, n).astype(np.float64) for i, n in enumerate(names)]
    for name, data in zip(names, p, strict=True):
        if data.shape != (shape[1],):
            raise invalid(f"node '{node.name}': {name} {list(data.shape)} for {shape[1]} channels")
    spread = p[3] + node.number("epsilon", 1e-5)
    if not (spread > 0).all():
        raise invalid(f"node '{node.name}' (BatchNormalization): variance below zero")
    factor = p[0] / np.sqrt(spread)
    image = len(shape) in (3, 4)
    along = [-1] if image or len(shape) == 2 else [-1, *[1] * (len(shape) - 2)]
    scale = b.constant(f"{node.name}:scale", as_float(factor, "scale").reshape(along))
    shift = as_float(p[1] - p[2] * factor, "bias").reshape(along)
    if image:
        x, _ = b.image(node)
    y = b.emit("mul", [x, scale], node=node.name)
    out = "" if image else node.outputs[0]
    y = b.emit("add", [y, b.constant(f"{node.name}:shift", shift)], node=node.name, out=out)
    if image:
        b.image_result(node, y)


def _channels_last(b: OnnxBuilder, node: OnnxNode) -> tuple[str, list[int]]:
    """Operand 0 with its second axis behind the others, and the permutation back."""
    x = b.x(node)
    rank = len(b.value(x).shape)
    if rank < 3:
        raise Refused(f"its operand has {rank} axes, at least 3 are needed")
    x = b.transpose(x, (0, *range(2, rank), 1), node=node.name)
    return x, [0, rank - 1, *range(1, rank - 1)]


@handles("InstanceNormalization")
def instance_normalization(b: OnnxBuilder, node: OnnxNode) -> None:
    """Constant scale and bias, any number of spatial axes."""
    inputs = [b.constant(f"{node.name}:{n}", b.floats(node, i, n))
              for i, n in ((1, "scale"), (2, "bias"))]  # fmt: skip
    x, back = _channels_last(b, node)
    attrs = {"epsilon": node.number("epsilon", 1e-5)}
    y = b.emit("instance_norm", [x, *inputs], attrs, node=node.name)
    b.transpose(y, back, node=node.name, out=node.outputs[0])


@handles("GroupNormalization")
def group_normalization(b: OnnxBuilder, node: OnnxNode) -> None:
    """Constant scale and bias, one for each group (opset 18) or channel (21)."""
    shape = b.shape_of(operand(node, 0))
    groups, channels = node.integer("num_groups", 0), shape[1] if len(shape) > 1 else 0
    if groups < 1 or channels % groups:
        raise invalid(f"node '{node.name}': {groups} groups of {channels} channels")
    inputs = []
    for i, name in ((1, "scale"), (2, "bias")):
        data = b.floats(node, i, name)
        if data.size == groups and groups != channels:
            data = np.repeat(data, channels // groups)
        inputs.append(b.constant(f"{node.name}:{name}", data))
    x, back = _channels_last(b, node)
    attrs = {"groups": groups, "epsilon": node.number("epsilon", 1e-5)}
    y = b.emit("group_norm", [x, *inputs], attrs, node=node.name)
    b.transpose(y, back, node=node.name, out=node.outputs[0])


@handles("LayerNormalization", "RMSNormalization")
def layer_normalization(b: OnnxBuilder, node: OnnxNode) -> None:
    """Over the last axes, with constant or computed scale and bias."""
    x = b.x(node)
    shape = b.value(x).shape
    axis = axis_of(node, node.integer("axis", -1), len(shape))
    over = shape[axis:]
    whole = [_full(b, node, i, over) for i in (1, 2)]
    if any(node.outputs[1:]) or (operand(node, 1) and whole[0] is None):
        # The mean is wanted too, or the scale is computed: in parts.
        b.expand(node)
        return
    count = math.prod(over)
    flat = x if len(over) == 1 else b.reshape(x, (*shape[:axis], count), node=node.name)
    gamma = np.ones(count, np.float32) if whole[0] is None else whole[0]
    inputs = [flat, b.constant(f"{node.name}:scale", gamma)]
    op, out = "rms_norm", node.outputs[0]
    if node.op == "LayerNormalization":
        op = "layer_norm"
        beta = np.zeros(count, np.float32) if whole[1] is None else whole[1]
        inputs.append(b.constant(f"{node.name}:bias", beta))
        if operand(node, 2) and whole[1] is None:
            b.expand(node)
            return
    attrs = {"epsilon": node.number("epsilon", 1e-5)}
    y = b.emit(op, inputs, attrs, node=node.name, out=out if len(over) == 1 else "")
    if len(over) > 1:
        b.reshape(y, shape, node=node.name, out=out)


def _full(b: OnnxBuilder, node: OnnxNode, index: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """A constant scale or bias as one number for each normalized one, else None."""
    data = b.const(operand(node, index)) if operand(node, index) else None
    if data is None:
        return None
    data = as_float(data, "scale")
    while data.ndim > len(shape) and data.shape[0] == 1:
        data = data[0]
    try:
        return np.broadcast_to(data, shape).reshape(-1)
    except ValueError:
        return None


@handles("LpNormalization")
def lp_normalization(b: OnnxBuilder, node: OnnxNode) -> None:
    """p of 1 or 2 over any axis."""
    x = b.x(node)
    rank = len(b.value(x).shape)
    axis, p = axis_of(node, node.integer("axis", -1), rank), node.integer("p", 2)
    if p not in (1, 2):
        raise invalid(f"node '{node.name}' (LpNormalization): p is {p}, it is 1 or 2")
    if p == 1:
        size = b.unary(node, x, "abs")
        attrs = {"kind": "sum", "axes": [axis], "keepdims": True}
        size = b.emit("reduce", [size], attrs, node=node.name)
        least = float(np.finfo(np.float32).tiny)  # zeros over zero are zeros
        size = b.emit("clip", [size], {"clamp": [least, None]}, node=node.name)
        b.emit("div", [x, size], node=node.name, out=node.outputs[0])
        return
    swap = list(range(rank))
    swap[axis], swap[-1] = swap[-1], swap[axis]
    moved = b.transpose(x, swap, node=node.name)
    y = b.emit("l2_normalize", [moved], {"epsilon": 0.0}, node=node.name)
    b.transpose(y, swap, node=node.name, out=node.outputs[0])


@handles("MeanVarianceNormalization")
def mean_variance_normalization(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any axes; over all but the channels it is an instance normalization."""
    shape = b.shape_of(operand(node, 0))
    axes = node.integers("axes") or [0, 2, 3]
    over = {axis_of(node, a, len(shape)) for a in axes}
    if len(shape) < 3 or shape[0] != 1 or over | {0} != set(range(len(shape))) - {1}:
        b.expand(node)
        return
    x, back = _channels_last(b, node)
    check_made("number of channels", shape[1])
    inputs = [b.constant(f"{node.name}:{n}", np.full(shape[1], v, np.float32))
              for n, v in (("scale", 1), ("bias", 0))]  # fmt: skip
    y = b.emit("instance_norm", [x, *inputs], {"epsilon": 1e-9}, node=node.name)
    b.transpose(y, back, node=node.name, out=node.outputs[0])


@handles("LRN")
def local_response_normalization(b: OnnxBuilder, node: OnnxNode) -> None:
    """Images [N, C, H, W] or sequences [N, C, L].

    The sum of squares of neighbouring channels is a depthwise convolution along the channels, of
    which alpha / size and bias are weight and bias.
    """
    size = node.integer("size", 0)
    if not 1 <= size <= 1 << 16:
        raise invalid(f"node '{node.name}' (LRN): size is {size}, 1 to 65536 are possible")
    x, value = b.image(node)
    n, height, width, channels = value.shape
    square = b.unary(node, x, "square")
    lines = b.reshape(square, (n, height * width, channels, 1), node=node.name)
    share = np.full((1, size, 1), node.number("alpha", 1e-4) / size, np.float32)
    weights = b.constant(f"{node.name}:weights", share)
    bias = b.constant(f"{node.name}:bias", np.full(1, node.number("bias", 1.0), np.float32))
    attrs = {
        "strides": [1, 1],
        "dilations": [1, 1],
        "pads": [0, (size - 1) // 2, 0, size - 1 - (size - 1) // 2],
    }
    total = b.emit("depthwise_conv2d", [lines, weights, bias], attrs, node=node.name)
    total = b.reshape(total, value.shape, node=node.name)
    factor = b.unary(node, total, "pow", exponent=-node.number("beta", 0.75))
    b.image_result(node, b.emit("mul", [x, factor], node=node.name))
