"""ONNX pooling, over images and sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.importers.common import Refused, check_made, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.windows import ceil_pads, pads_of, pair


def _windows(b: OnnxBuilder, node: OnnxNode) -> tuple[str, dict[str, Any], list[int]]:
    """The operand as an image, the attributes of its windows, and what ceil_mode adds behind."""
    axes = len(b.shape_of(operand(node, 0))) - 2
    x, value = b.image(node)
    kernel = pair(node, "kernel_shape", 0, axes)
    strides = pair(node, "strides", 1, axes)
    dilations = pair(node, "dilations", 1, axes)
    size = (value.shape[1], value.shape[2])
    pads = pads_of(node, size, kernel, strides, dilations, axes)
    extra = [0, 0]
    if node.integer("ceil_mode", 0):
        wider = ceil_pads(size, kernel, strides, dilations, pads)
        extra = [wider[2] - pads[2], wider[3] - pads[3]]
        pads = wider
    for i in (0, 1):
        count = (size[i] + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1
        check_made("set of windows", max(count, 1), kernel[i])
    attrs: dict[str, Any] = {"kernel": kernel, "strides": strides, "pads": pads}
    if dilations != [1, 1]:
        attrs["dilations"] = dilations
    return x, attrs, extra


@handles("MaxPool")
def max_pool(b: OnnxBuilder, node: OnnxNode) -> None:
    """1-D or 2-D, any padding, dilations and ceil_mode; without the second output, the places."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise Refused("its second output, the indices, is not supported")
    x, attrs, _ = _windows(b, node)
    b.image_result(node, b.emit("max_pool2d", [x], attrs, node=node.name))


@handles("AveragePool")
def average_pool(b: OnnxBuilder, node: OnnxNode) -> None:
    """1-D or 2-D, any padding, dilations and ceil_mode, padding counted or not."""
    x, attrs, extra = _windows(b, node)
    if node.integer("count_include_pad", 0) and any(attrs["pads"]):
        attrs["count_include_pad"] = True
        if max(extra) > 0:
            attrs["ceil_pads"] = extra
    b.image_result(node, b.emit("average_pool2d", [x], attrs, node=node.name))


@handles("LpPool")
def lp_pool(b: OnnxBuilder, node: OnnxNode) -> None:
    """1-D or 2-D, any padding, dilations and ceil_mode."""
    p = _exponent(node)
    x, attrs, _ = _windows(b, node)
    x = _power(b, node, x, p)
    kernel, channels = attrs.pop("kernel"), b.value(x).shape[3]
    check_made("window", *kernel, channels)
    ones = np.ones((*kernel, channels), np.float32)
    weights = b.constant(f"{node.name}:weights", ones)
    bias = b.constant(f"{node.name}:bias", np.zeros(channels, np.float32))
    y = b.emit("depthwise_conv2d", [x, weights, bias], attrs, node=node.name)
    b.image_result(node, _root(b, node, y, p))


def _exponent(node: OnnxNode) -> int:
    p = node.integer("p", 2)
    if p < 1:
        raise invalid(f"node '{node.name}' ({node.op}): p is {p}, it is 1 or more")
    return p


def _power(b: OnnxBuilder, node: OnnxNode, x: str, p: int) -> str:
    """abs(x) ** p"""
    if p == 2:
        return b.unary(node, x, "square")
    x = b.unary(node, x, "abs")
    return x if p == 1 else b.unary(node, x, "pow", exponent=float(p))


def _root(b: OnnxBuilder, node: OnnxNode, x: str, p: int) -> str:
    if p == 1:
        return x
    return b.unary(node, x, "sqrt") if p == 2 else b.unary(node, x, "pow", exponent=1 / p)


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any number of spatial axes."""
    rank = len(b.shape_of(operand(node, 0)))
    average = node.op == "GlobalAveragePool"
    if rank not in (3, 4):
        attrs = {"axes": list(range(2, rank)), "keepdims": True}
        attrs["kind"] = "mean" if average else "max"
        b.emit("reduce", [b.x(node)], attrs, node=node.name, out=node.outputs[0])
        return
    x, value = b.image(node)
    kernel = [value.shape[1], value.shape[2]]
    attrs = {"kernel": kernel, "strides": kernel, "pads": [0, 0, 0, 0]}
    op = "average_pool2d" if average else "max_pool2d"
    b.image_result(node, b.emit(op, [x], attrs, node=node.name))


@handles("GlobalLpPool")
def global_lp_pool(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any number of spatial axes."""
    x, p = b.x(node), _exponent(node)
    axes = list(range(2, len(b.value(x).shape)))
    x = b.emit(
        "reduce", [_power(b, node, x, p)], {"kind": "sum", "axes": axes, "keepdims": True},
        node=node.name,
    )  # fmt: skip
    b.rename(node, _root(b, node, x, p))
