"""ONNX operators that compute on integers, read as what they abbreviate.

QLinearConv is DequantizeLinear of its operands, Conv, and QuantizeLinear of the result; each is
imported by the handler of those. MatMulInteger and ConvInteger give sums of integers, which Cast
and Mul turn into reals: with weights of the scale 1 / (scale of the operand) the float product
gives those very sums, and the Mul behind folds into the weights as any other scale does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import HANDLERS, OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.quant import SHIFT
from edgekit.importers.quantized import Grid, grid_of


def _run(
    b: OnnxBuilder,
    node: OnnxNode,
    op: str,
    inputs: list[str],
    out: str,
    attrs: dict[str, Any] | None = None,
) -> str:
    """Import a node that the file does not spell out; returns `out`."""
    from edgekit.importers.onnx.fold import fold

    part = OnnxNode(op, "", node.name, inputs, [out], attrs or {})
    if not fold(b, part):
        if op not in HANDLERS:
            raise Refused(f"its operator, {op}, is not supported")
        HANDLERS[op](b, part)
    return out


def _real(b: OnnxBuilder, node: OnnxNode, at: int, axis: int = 0) -> str:
    """Operand `at` dequantized by the scale and zero point behind it."""
    names = [operand(node, at + i) for i in range(3)]
    if not names[0] or not names[1]:
        raise invalid(f"node '{node.name}' ({node.op}) has no operand {at} or no scale for it")
    return _run(b, node, "DequantizeLinear", names, f"{node.outputs[0]}:real{at}", {"axis": axis})


def _rounded(b: OnnxBuilder, node: OnnxNode, real: str, at: int) -> None:
    """The node's result: `real` quantized by the operands `at` and `at` + 1."""
    names = [real, operand(node, at), operand(node, at + 1)]
    if not names[1]:
        raise invalid(f"node '{node.name}' ({node.op}) has no scale of its result")
    _run(b, node, "QuantizeLinear", names, node.outputs[0])


def _bias(b: OnnxBuilder, node: OnnxNode, at: int, scales: tuple[int, int], factor: float) -> str:
    """An int32 bias whose scale is the product of two others; '' where there is none."""
    if not operand(node, at):
        return ""
    data = b.const_of(node, at, "bias")
    if data.dtype.kind not in "iu":
        raise invalid(f"node '{node.name}' ({node.op}) has a bias of {data.dtype}")
    product = [b.floats(node, i, "scale").astype(np.float64).reshape(-1) for i in scales]
    scale = product[0] * product[1] * factor
    if scale.size not in (1, data.size):
        raise invalid(f"node '{node.name}' ({node.op}): {data.size} biases, {scale.size} scales")
    name = f"{node.outputs[0]}:bias"
    b.data[name] = (data.reshape(-1) * scale).astype(np.float32)
    return name


@handles("QLinearConv")
def qlinear_conv(b: OnnxBuilder, node: OnnxNode) -> None:
    """As Conv on int8, uint8 or int16 with constant scales; weights int8."""
    inputs = [_real(b, node, 0), _real(b, node, 3), _bias(b, node, 8, (1, 4), 1.0)]
    y = _run(b, node, "Conv", inputs, f"{node.outputs[0]}:real", node.attrs)
    _rounded(b, node, y, 6)


@handles("QLinearMatMul")
def qlinear_matmul(b: OnnxBuilder, node: OnnxNode) -> None:
    """As MatMul on int8, uint8 or int16 with constant scales."""
    inputs = [_real(b, node, 0), _real(b, node, 3, -1)]
    _rounded(b, node, _run(b, node, "MatMul", inputs, f"{node.outputs[0]}:real"), 6)


@handles("QGemm")
def qgemm(b: OnnxBuilder, node: OnnxNode) -> None:
    """As Gemm on int8 or uint8 with constant scales and weights."""
    alpha = node.number("alpha", 1.0)
    weights = _real(b, node, 3, 0 if node.integer("transB", 0) else 1)
    inputs = [_real(b, node, 0), weights, _bias(b, node, 6, (1, 4), alpha)]
    real = f"{node.outputs[0]}:real" if operand(node, 7) else node.outputs[0]
    _run(b, node, "Gemm", inputs, real, node.attrs)
    if operand(node, 7):
        _rounded(b, node, real, 7)


@handles("QLinearAdd", "QLinearMul")
def qlinear_binary(b: OnnxBuilder, node: OnnxNode) -> None:
    """As Add or Mul on int8, uint8 or int16 with constant scales."""
    inputs = [_real(b, node, 0), _real(b, node, 3)]
    y = _run(b, node, node.op.removeprefix("QLinear"), inputs, f"{node.outputs[0]}:real")
    _rounded(b, node, y, 6)


@handles(
    "QLinearAveragePool",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearReduceMean",
    "QLinearSigmoid",
    "QLinearSoftmax",
)
def qlinear_unary(b: OnnxBuilder, node: OnnxNode) -> None:
    """As the operator without QLinear, on int8 or uint8 with constant scales."""
    # Operand, its scale and zero point, those of the result.
    if node.integer("channels_last", 0):
        raise Refused("channels_last is not supported")
    real = f"{node.outputs[0]}:real"
    attrs = {k: v for k, v in node.attrs.items() if k not in ("channels_last", "opset")}
    if node.op == "QLinearSoftmax" and node.integer("opset", 13) < 13:
        raise Refused(f"a softmax as of opset {node.integer('opset', 13)} is not supported")
    _run(b, node, node.op.removeprefix("QLinear"), [_real(b, node, 0)], real, attrs)
    _rounded(b, node, real, 3)


@handles("QLinearConcat")
def qlinear_concat(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any number of tensors, each with its own constant scale."""
    # Scale and zero point of the result, then three operands for each part.
    parts = [_real(b, node, at) for at in range(2, len(node.inputs), 3)]
    y = _run(b, node, "Concat", parts, f"{node.outputs[0]}:real", node.attrs)
    _rounded(b, node, y, 0)


# ---- sums that stay integers, scaled by operators of their own


@handles("DynamicQuantizeLinear")
def dynamic_quantize(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any reals: the operand itself stands for its integers, so that the model is a float one."""
    # As integers of scale 1 around 0 sums of it are the real sums.
    b.alias[node.outputs[0]] = b.x(node)
    b.dynamic.add(node.outputs[0])
    for name, value in zip(node.outputs[1:], (np.float32(1), np.uint8(0)), strict=False):
        b.data[name] = np.asarray(value)


def _unscaled_weights(b: OnnxBuilder, node: OnnxNode, axis: int) -> str:
    """Weights of a product of integers such that the float product gives its sums."""
    source = operand(node, 0)
    x = grid_of(b.value(b.x(node)))
    if source in b.dynamic:
        scale = np.float32(1)
    elif source in b.scales:
        scale = np.float32(1) / b.scales[source]
    elif x is not None:
        scale = np.float32(1) / x.scale[0]
    else:
        raise Refused(f"the scale of its operand '{source}' is not known")
    if x is not None:
        _same_zero_point(b, node, x)
    name = f"{node.outputs[0]}:weights"
    zero_point = b.const(operand(node, 3)) if operand(node, 3) else None
    count = 1 if zero_point is None else zero_point.size
    b.data[f"{name}:scale"] = np.full(count, scale) if count > 1 else np.asarray(scale)
    names = [operand(node, 1), f"{name}:scale", operand(node, 3)]
    if b.const(names[0]) is None:
        raise Refused("only products with constant weights are supported")
    return _run(b, node, "DequantizeLinear", names, name, {"axis": axis})


def _same_zero_point(b: OnnxBuilder, node: OnnxNode, x: Grid) -> None:
    """Refuse a product that takes another zero point than its operand was made with."""
    dtype = b.stored.get(operand(node, 0))
    if dtype is None:
        return
    data = b.const_of(node, 2, "zero point") if operand(node, 2) else np.zeros(1, np.uint8)
    zero = int(data.reshape(-1)[0]) + SHIFT[dtype]
    if data.size != 1 or zero != int(x.zero_point[0]):
        raise invalid(
            f"node '{node.name}' ({node.op}) reads '{operand(node, 0)}' with zero point {zero}, it "
            f"was made with {int(x.zero_point[0])} (both signed)"
        )


@handles("ConvInteger")
def conv_integer(b: OnnxBuilder, node: OnnxNode) -> None:
    """As Conv on integers of a constant scale, or of one found at run time (as reals)."""
    inputs = [operand(node, 0), _unscaled_weights(b, node, 0)]
    _run(b, node, "Conv", inputs, node.outputs[0], node.attrs)


@handles("MatMulInteger")
def matmul_integer(b: OnnxBuilder, node: OnnxNode) -> None:
    """As MatMul on integers of a constant scale, or of one found at run time."""
    inputs = [operand(node, 0), _unscaled_weights(b, node, 1)]
    _run(b, node, "MatMul", inputs, node.outputs[0])


@handles("MatMulIntegerToFloat")
def matmul_integer_to_float(b: OnnxBuilder, node: OnnxNode) -> None:
    """As MatMul on integers with constant or run-time scales (ONNX Runtime's fused form)."""
    # Operands A, B, their scales, their zero points, a bias.
    if operand(node, 0) in b.dynamic:
        x = operand(node, 0)
    else:
        names = [operand(node, i) for i in (0, 2, 4)]
        x = _run(b, node, "DequantizeLinear", names, f"{node.outputs[0]}:a")
    _matmul_and_bias(b, node, x, [operand(node, i) for i in (1, 3, 5)], operand(node, 6))


@handles("DynamicQuantizeMatMul")
def dynamic_quantize_matmul(b: OnnxBuilder, node: OnnxNode) -> None:
    """As MatMul of reals with int8 or uint8 weights (ONNX Runtime's fused form)."""
    # Operands A, B, scale and zero point of B, a bias.
    weights = [operand(node, i) for i in (1, 2, 3)]
    _matmul_and_bias(b, node, operand(node, 0), weights, operand(node, 4))


def _matmul_and_bias(b: OnnxBuilder, node: OnnxNode, x: str, weights: list[str], bias: str) -> None:
    out = node.outputs[0]
    if b.const(weights[0]) is None:
        raise Refused("only products with constant weights are supported")
    w = _run(b, node, "DequantizeLinear", weights, f"{out}:b", {"axis": 1})
    if not bias:
        _run(b, node, "MatMul", [x, w], out)
        return
    _run(b, node, "MatMul", [x, w], f"{out}:product")
    _run(b, node, "Add", [f"{out}:product", bias], out)
