"""ONNX's quantization operators: tensors that are integers in the file get a `Grid` here.

An integer tensor and the real one that it stands for are one value of the graph, a float32 value
with a grid: QuantizeLinear gives its operand a grid (or requantizes it where it has another one),
DequantizeLinear gives that value back. Operators on integers (QLinearConv, MatMulInteger, ...) are
read as what they abbreviate: dequantize, the float operator, quantize. uint8 becomes int8 with the
zero point moved by 128, which changes no real number.

In a model that quantizes its activations at run time (DynamicQuantizeLinear), or not at all, only
the constants are dequantized: what remains is the float network.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx import HANDLERS, OnnxBuilder, handles, operand
from edgekit.importers.onnx_read import OnnxModel, OnnxNode
from edgekit.importers.onnx_shape import axis_of
from edgekit.importers.quantized import Grid, activation_grid, grid_of

#: Activations: dtype in the file to what is added to its zero points to make them int8's. Wider
#: ones are refused here until the operators behind take them.
SHIFT = {"int8": 0, "uint8": -128}
WEIGHTS = ("int4", "uint4", "int8", "uint8", "int32")
CONTRIB = "com.microsoft"
DYNAMIC = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul")
INTEGER_PRODUCTS = ("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")


def is_quantized_operator(node: OnnxNode) -> bool:
    """Whether the node is one of this file's operators, in the domain that ONNX Runtime adds."""
    return node.domain == CONTRIB and (
        node.op in QLINEAR
        or node.op in ("QuantizeLinear", "DequantizeLinear", *DYNAMIC, *INTEGER_PRODUCTS)
    )


def kind_of(model: OnnxModel) -> str:
    """How a model is quantized: "static", "dynamic", "weights" only, or "" for a float model."""
    known = set(model.constants)
    kinds = {""}
    for node in model.nodes:
        if all(i in known for i in node.inputs if i):
            known.update(node.outputs)
            if node.op == "DequantizeLinear":
                kinds.add("weights")
        elif node.op == "QuantizeLinear" or node.op in QLINEAR:
            kinds.add("static")
        elif node.op == "DequantizeLinear":
            kinds.add("static")
        elif node.op in DYNAMIC:
            kinds.add("dynamic")
    return next((k for k in ("static", "dynamic", "weights") if k in kinds), "")


def check_inputs(builder: OnnxBuilder) -> None:
    """Refuse integer inputs that nothing dequantizes (E106)."""
    for name, dtype in builder.model.integer_inputs.items():
        if grid_of(builder.value(name)) is None and not builder.dequantize:
            raise EdgekitError(
                "E106",
                f"input '{name}' is {dtype} without a scale, only float32 or quantized inputs are "
                "taken",
                help="export the float32 model; edgekit quantizes it",
            )


# ---- scale and zero point


def _dtype_of(b: OnnxBuilder, node: OnnxNode, index: int, default: str) -> str:
    zero_point = b.const(operand(node, index)) if operand(node, index) else None
    return default if zero_point is None else str(zero_point.dtype)


def _parameters(
    b: OnnxBuilder, node: OnnxNode, scale: int, zero_point: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Operands `scale` (float32, positive) and `zero_point` (int64, None where absent)."""
    if node.integer("block_size", 0):
        raise Refused(f"scales per block (block_size {node.integer('block_size', 0)}) are not "
                      "supported")  # fmt: skip
    s = b.floats(node, scale, "scale")
    if s.ndim > 1 or not s.size:
        raise Refused(f"its scale has shape {list(s.shape)}, one number or one axis is supported")
    if not (np.isfinite(s).all() and (s > 0).all()):
        raise invalid(f"node '{node.name}' ({node.op}) has a scale that is not positive and finite")
    if not operand(node, zero_point):
        return s, None
    z = b.const_of(node, zero_point, "zero point")
    kind = str(z.dtype)
    if kind.startswith("float"):
        raise EdgekitError(
            "E121",
            f"'{node.name}' ({node.op}) quantizes to {kind}",
            help="quantize to int8 or uint8, or give the float model with --calibration DATA",
        )
    if z.dtype.kind not in "iu" and "int" not in kind:
        raise invalid(f"node '{node.name}' ({node.op}) has a zero point of {kind}")
    if z.size not in (1, s.size):
        raise invalid(f"node '{node.name}' ({node.op}): {z.size} zero points, {s.size} scales")
    return s, z.astype(np.int64)


def _activation(
    b: OnnxBuilder, node: OnnxNode, scale: int, zero_point: int, dtype: str
) -> Grid:
    """The int8 grid of an activation; `dtype` is the file's where no zero point tells.

    Raises:
        EdgekitError: E121 for other widths than 8 bits.
    """
    s, z = _parameters(b, node, scale, zero_point)
    dtype = _dtype_of(b, node, zero_point, dtype)
    if dtype not in SHIFT:
        raise EdgekitError(
            "E121",
            f"'{node.name}' ({node.op}) quantizes an activation to {dtype}, int8 and uint8 are "
            "taken",
            help="quantize activations to 8 bits, or give the float model with --calibration DATA",
        )
    if s.size != 1:
        raise Refused(f"an activation with {s.size} scales is not supported, it has one")
    zero = (0 if z is None else int(z.reshape(-1)[0])) + SHIFT[dtype]
    return activation_grid(s.reshape(-1)[0], zero)


# ---- values with grids


def _on_grid(b: OnnxBuilder, node: OnnxNode, name: str, grid: Grid) -> str:
    """The graph's value `name` rounded to `grid`: itself, or a requantization of it."""
    have = grid_of(b.value(name))
    if have is None:
        _set_grid(b, name, grid)
        return name
    if have == grid:
        return name
    known = b.requantized.get((name, grid))
    if known is None:
        known = b.emit("clip", [name], {"clamp": [None, None]}, node=node.name, quant=grid)
        b.requantized[name, grid] = known
    return known


def _set_grid(b: OnnxBuilder, name: str, grid: Grid) -> None:
    """Give `name` a grid, and everything that it is a mere rearrangement or maximum of."""
    while grid_of(b.value(name)) is None and not b.graph.is_constant(name):
        b.graph.values[name] = replace(b.value(name), quant=grid)
        maker = b.makers.get(name)
        if maker is None or maker.op not in ("reshape", "transpose", "max_pool2d"):
            return
        name = maker.inputs[0]


def _finest(b: OnnxBuilder, node: OnnxNode, grid: Grid) -> Grid:
    """Of all grids to which the operand of this QuantizeLinear is rounded, the finest.

    A value has one grid; the others are requantized from it, which costs least from the finest.
    """
    best = grid
    if b.quantizers is None:
        b.quantizers = defaultdict(list)
        for other in b.model.nodes:
            if other.op == "QuantizeLinear":
                b.quantizers[operand(other, 0)].append(other)
    for other in b.quantizers[operand(node, 0)]:
        if other is node or b.const(operand(other, 1)) is None:
            continue
        candidate = _activation(b, other, 1, 2, _quantized_dtype(other))
        if candidate.scale[0] < best.scale[0]:
            best = candidate
    return best


def _quantized_dtype(node: OnnxNode) -> str:
    """What QuantizeLinear makes where it has no zero point."""
    wanted = node.integer("output_dtype", 0)
    if not wanted:
        return "uint8"
    import onnx

    return str(onnx.helper.tensor_dtype_to_np_dtype(wanted))


@handles("QuantizeLinear")
def quantize(b: OnnxBuilder, node: OnnxNode) -> None:
    out = node.outputs[0]
    data = b.const(operand(node, 0))
    if data is not None:
        b.data[out] = _quantized_constant(b, node, data)
        return
    x = b.x(node)
    if b.dequantize:
        b.scales[out] = _parameters(b, node, 1, 2)[0].reshape(-1)[0]
        b.alias[out] = x
        return
    dtype = _dtype_of(b, node, 2, _quantized_dtype(node))
    grid = _activation(b, node, 1, 2, dtype)
    x = _on_grid(b, node, x, _finest(b, node, grid))
    b.alias[out] = _on_grid(b, node, x, grid)
    b.stored[out], b.scales[out] = dtype, grid.scale[0]


@handles("DequantizeLinear")
def dequantize(b: OnnxBuilder, node: OnnxNode) -> None:
    out, source = node.outputs[0], operand(node, 0)
    data = b.const(source)
    if data is not None:
        _dequantized_constant(b, node, data)
        return
    x = b.x(node)
    if b.dequantize:
        b.alias[out] = x
        return
    have = grid_of(b.value(x))
    if have is not None and not operand(node, 2) and b.stored.get(source) is None:
        # The file's integer type is unknown behind a move; the scale alone can be compared.
        grid = activation_grid(_parameters(b, node, 1, 2)[0].reshape(-1)[0], int(have.zero_point[0]))
    else:
        grid = _activation(b, node, 1, 2, b.stored.get(source, "uint8"))
    if have is not None and have != grid:
        raise invalid(
            f"node '{node.name}' ({node.op}) reads '{source}' with scale {grid.scale[0]:g} and zero "
            f"point {grid.zero_point[0]}, it was made with {have.scale[0]:g} and "
            f"{have.zero_point[0]} (as int8)"
        )
    if have is None:
        _set_grid(b, x, grid)
    b.alias[out] = x


# ---- constants


def _axis(node: OnnxNode, data: np.ndarray, scale: np.ndarray) -> int | None:
    """The axis of the scales, None where there is one."""
    if scale.size == 1:
        return None
    axis = axis_of(node, node.integer("axis", 1), data.ndim)
    if data.shape[axis] != scale.size:
        raise invalid(
            f"node '{node.name}' ({node.op}): {scale.size} scales for axis {axis} of "
            f"{list(data.shape)}"
        )
    return axis


def _along(data: np.ndarray, axis: int | None, vector: np.ndarray) -> np.ndarray:
    shape = [1] * data.ndim
    if axis is not None:
        shape[axis] = -1
    return vector.reshape(shape)


def _quantized_constant(b: OnnxBuilder, node: OnnxNode, data: np.ndarray) -> np.ndarray:
    """QuantizeLinear of a constant: halves to even, saturating."""
    s, z = _parameters(b, node, 1, 2)
    axis = _axis(node, data, s)
    kind = _dtype_of(b, node, 2, _quantized_dtype(node))
    if kind not in WEIGHTS:
        raise Refused(f"it quantizes to {kind}, {', '.join(WEIGHTS)} are supported")
    lo, hi = _limits(kind)
    real = b.floats(node, 0, "operand").astype(np.float32)
    q = np.round(real / _along(data, axis, s))
    if z is not None:
        q = q + _along(data, axis, np.broadcast_to(z.reshape(-1), s.size))
    return np.clip(q, lo, hi).astype(_numpy_dtype(kind))


def _limits(kind: str) -> tuple[int, int]:
    bits = int(kind.lstrip("uint"))
    return (0, (1 << bits) - 1) if kind[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def _numpy_dtype(kind: str) -> Any:
    if not kind.endswith("int4"):
        return np.dtype(kind)
    import onnx

    return onnx.helper.tensor_dtype_to_np_dtype(getattr(onnx.TensorProto, kind.upper()))


def _dequantized_constant(b: OnnxBuilder, node: OnnxNode, data: np.ndarray) -> None:
    """The real numbers of a constant and, for weights, the grid that they lie on."""
    kind = str(data.dtype)
    if kind not in WEIGHTS:
        raise Refused(f"its operand is {kind}, {', '.join(WEIGHTS)} are supported")
    s, z = _parameters(b, node, 1, 2)
    axis = _axis(node, data, s)
    q = data.astype(np.int64)
    zeros = np.zeros(s.size, np.int64) if z is None else np.broadcast_to(z.reshape(-1), s.size)
    centred = q - _along(data, axis, zeros)
    out = node.outputs[0]
    b.data[out] = centred.astype(np.float32) * _along(data, axis, s)
    if not b.dequantize and kind != "int32":
        b.grids[out] = _constant_grid(kind, centred, s.reshape(-1), zeros, axis)


def _constant_grid(
    kind: str, centred: np.ndarray, scale: np.ndarray, zeros: np.ndarray, axis: int | None
) -> Grid:
    """The grid of a constant, by the integers around its zero point.

    As an operand of add or mul it needs its zero point (moved as for activations), as weights it
    is read without one.
    """
    dtype = kind
    if centred.min(initial=0) >= -8 and centred.max(initial=0) <= 7 and kind.endswith("int4"):
        dtype = "int4"
    elif kind in SHIFT or kind.endswith("int4"):
        dtype = "int8"
    moved = zeros + SHIFT.get(kind, 0)
    return Grid(scale.astype(np.float32), moved.astype(np.int32), axis, dtype)


# ---- operators on integers, as what they abbreviate


def _run(
    b: OnnxBuilder,
    node: OnnxNode,
    op: str,
    inputs: list[str],
    out: str,
    attrs: dict[str, Any] | None = None,
) -> str:
    """Import a node that the file does not spell out; returns `out`."""
    from edgekit.importers.onnx_fold import fold

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
    inputs = [_real(b, node, 0), _real(b, node, 3), _bias(b, node, 8, (1, 4), 1.0)]
    y = _run(b, node, "Conv", inputs, f"{node.outputs[0]}:real", node.attrs)
    _rounded(b, node, y, 6)


@handles("QLinearMatMul")
def qlinear_matmul(b: OnnxBuilder, node: OnnxNode) -> None:
    inputs = [_real(b, node, 0), _real(b, node, 3, -1)]
    _rounded(b, node, _run(b, node, "MatMul", inputs, f"{node.outputs[0]}:real"), 6)


@handles("QGemm")
def qgemm(b: OnnxBuilder, node: OnnxNode) -> None:
    alpha = node.number("alpha", 1.0)
    weights = _real(b, node, 3, 0 if node.integer("transB", 0) else 1)
    inputs = [_real(b, node, 0), weights, _bias(b, node, 6, (1, 4), alpha)]
    real = f"{node.outputs[0]}:real" if operand(node, 7) else node.outputs[0]
    _run(b, node, "Gemm", inputs, real, node.attrs)
    if operand(node, 7):
        _rounded(b, node, real, 7)


@handles("QLinearAdd", "QLinearMul")
def qlinear_binary(b: OnnxBuilder, node: OnnxNode) -> None:
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
    """Operand, its scale and zero point, those of the result."""
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
    """Scale and zero point of the result, then three operands for each part."""
    parts = [_real(b, node, at) for at in range(2, len(node.inputs), 3)]
    y = _run(b, node, "Concat", parts, f"{node.outputs[0]}:real", node.attrs)
    _rounded(b, node, y, 0)


# ---- sums that stay integers, scaled by operators of their own


@handles("DynamicQuantizeLinear")
def dynamic_quantize(b: OnnxBuilder, node: OnnxNode) -> None:
    """The operand itself, as integers of scale 1 around 0: its reals are what the sums stand for."""
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
    elif source in b.scales or x is not None:
        scale = np.float32(1) / (b.scales[source] if source in b.scales else x.scale[0])
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
            f"was made with {int(x.zero_point[0])} (as int8)"
        )


@handles("ConvInteger")
def conv_integer(b: OnnxBuilder, node: OnnxNode) -> None:
    inputs = [operand(node, 0), _unscaled_weights(b, node, 0)]
    _run(b, node, "Conv", inputs, node.outputs[0], node.attrs)


@handles("MatMulInteger")
def matmul_integer(b: OnnxBuilder, node: OnnxNode) -> None:
    inputs = [operand(node, 0), _unscaled_weights(b, node, 1)]
    _run(b, node, "MatMul", inputs, node.outputs[0])


@handles("MatMulIntegerToFloat")
def matmul_integer_to_float(b: OnnxBuilder, node: OnnxNode) -> None:
    """Operands A, B, their scales, their zero points, a bias: ONNX Runtime's fused form."""
    if operand(node, 0) in b.dynamic:
        x = operand(node, 0)
    else:
        names = [operand(node, i) for i in (0, 2, 4)]
        x = _run(b, node, "DequantizeLinear", names, f"{node.outputs[0]}:a")
    _matmul_and_bias(b, node, x, [operand(node, i) for i in (1, 3, 5)], operand(node, 6))


@handles("DynamicQuantizeMatMul")
def dynamic_quantize_matmul(b: OnnxBuilder, node: OnnxNode) -> None:
    """Operands A, B, scale and zero point of B, a bias: ONNX Runtime's fused form."""
    weights = [operand(node, i) for i in (1, 2, 3)]
    _matmul_and_bias(b, node, operand(node, 0), weights, operand(node, 4))


def _matmul_and_bias(
    b: OnnxBuilder, node: OnnxNode, x: str, weights: list[str], bias: str
) -> None:
    out = node.outputs[0]
    if b.const(weights[0]) is None:
        raise Refused("only products with constant weights are supported")
    w = _run(b, node, "DequantizeLinear", weights, f"{out}:b", {"axis": 1})
    if not bias:
        _run(b, node, "MatMul", [x, w], out)
        return
    _run(b, node, "MatMul", [x, w], f"{out}:product")
    _run(b, node, "Add", [f"{out}:product", bias], out)


QLINEAR = tuple(op for op in HANDLERS if op.startswith("QLinear")) + ("QGemm",)
