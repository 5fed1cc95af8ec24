"""ONNX's quantization operators: tensors that are integers in the file get a `Grid` here.

An integer tensor and the real one that it stands for are one value of the graph, a float32 value
with a grid: QuantizeLinear gives its operand a grid (or requantizes it where it has another one),
DequantizeLinear gives that value back. uint8 becomes int8 with the zero point moved by 128, which
changes no real number.

In a model that quantizes its activations at run time (DynamicQuantizeLinear), or not at all, only
the constants are dequantized: what remains is the float network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Node
from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.read import OnnxModel
from edgekit.importers.onnx.shape import axis_of
from edgekit.importers.quantized import Grid, activation_grid, grid_of
from edgekit.ops import operator

#: Activations: dtype in the file to what is added to its zero points to make them signed.
SHIFT = {"int8": 0, "uint8": -128, "int16": 0, "uint16": -32768}
SIGNED = {"int8": "int8", "uint8": "int8", "int16": "int16", "uint16": "int16"}
CONSTANTS = ("int4", "uint4", "int8", "uint8", "int16", "int32")
CONTRIB = "com.microsoft"
DYNAMIC = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul")


def is_quantized_operator(node: OnnxNode) -> bool:
    """Whether the node is a quantized operator in the domain that ONNX Runtime adds."""
    known = ("QuantizeLinear", "DequantizeLinear", "MatMulIntegerToFloat", *DYNAMIC)
    return node.domain == CONTRIB and (_is_qlinear(node) or node.op in known)


def _is_qlinear(node: OnnxNode) -> bool:
    return node.op.startswith("QLinear") or node.op == "QGemm"


def kind_of(model: OnnxModel) -> str:
    """How a model is quantized: "static", "dynamic", "weights" only, or "" for a float model."""
    known = set(model.constants)
    kinds = {""}
    for node in model.nodes:
        if all(i in known for i in node.inputs if i):
            known.update(node.outputs)
            if node.op == "DequantizeLinear":
                kinds.add("weights")
        elif node.op in ("QuantizeLinear", "DequantizeLinear") or _is_qlinear(node):
            kinds.add("static")
        elif node.op in DYNAMIC:
            kinds.add("dynamic")
    return next((k for k in ("static", "dynamic", "weights") if k in kinds), "")


#: What may read integers without dequantizing them: it hands them on, or has scales of its own.
MOVES = ("Clip", "Flatten", "GlobalMaxPool", "Identity", "MaxPool", "ReduceMax", "Reshape",
         "Squeeze", "Transpose", "Unsqueeze")  # fmt: skip
READERS = ("Cast", "DequantizeLinear", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat",
           "Shape", "Size")  # fmt: skip


def check_integers(b: OnnxBuilder, node: OnnxNode) -> None:
    """Refuse nodes that compute on a tensor's integers, where the graph has its reals.

    Raises:
        Refused: such a node; EdgekitError (E106) where the integers are an input of the model.
    """
    if node.op in (*MOVES, *READERS) or _is_qlinear(node):
        return
    for name in node.inputs:
        if name in b.model.integer_inputs:
            raise _integer_input(name, b.model.integer_inputs[name])
        if name in b.stored or name in b.dynamic:
            raise Refused(f"it computes on the integers of '{name}' without their scale")


def move_integers(b: OnnxBuilder, node: OnnxNode) -> None:
    """Note that the result of a move holds the integers of its operand."""
    source, out = operand(node, 0), node.outputs[0]
    if node.op not in MOVES or out in b.data:
        return
    if source in b.stored:
        b.stored[out] = b.stored[source]
    if source in b.scales:
        b.scales[out] = b.scales[source]
    if source in b.dynamic:
        b.dynamic.add(out)


def check_inputs(b: OnnxBuilder) -> None:
    """Refuse integer inputs that nothing dequantizes (E106)."""
    for name, dtype in b.model.integer_inputs.items():
        if name not in b.scaled_inputs:
            raise _integer_input(name, dtype)


def _integer_input(name: str, dtype: str) -> EdgekitError:
    return EdgekitError(
        "E106",
        f"input '{name}' is {dtype} without a scale, only float32 or quantized inputs are taken",
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


def _activation(b: OnnxBuilder, node: OnnxNode, scale: int, zero_point: int, dtype: str) -> Grid:
    """The int8 or int16 grid of an activation; `dtype` is the file's where no zero point tells.

    Raises:
        EdgekitError: E121 for other types, and for int16 that does not lie around 0.
    """
    s, z = _parameters(b, node, scale, zero_point)
    dtype = _dtype_of(b, node, zero_point, dtype)
    if dtype not in SHIFT:
        raise EdgekitError(
            "E121",
            f"'{node.name}' ({node.op}) quantizes an activation to {dtype}, "
            f"{', '.join(SHIFT)} are taken",
            help="quantize to these, or give --calibration DATA for scales of edgekit's own",
        )
    if s.size != 1:
        raise Refused(f"an activation with {s.size} scales is not supported, it has one")
    zero = (0 if z is None else int(z.reshape(-1)[0])) + SHIFT[dtype]
    if SIGNED[dtype] == "int16" and zero:
        # Sums of numbers that far from zero leave 32 bits.
        raise EdgekitError(
            "E121",
            f"'{node.name}' ({node.op}) quantizes to {dtype} with zero point "
            f"{zero - SHIFT[dtype]}, {-SHIFT[dtype]} is needed",
            help="quantize 16-bit activations symmetrically (onnxruntime: ActivationSymmetric), or "
            "give --calibration DATA for scales of edgekit's own",
        )
    return activation_grid(s.reshape(-1)[0], zero, SIGNED[dtype])


# ---- values with grids


def _on_grid(b: OnnxBuilder, node: OnnxNode, name: str, grid: Grid) -> str:
    """The graph's value `name` rounded to `grid`: itself, or a requantization of it."""
    have = grid_of(b.value(name))
    if have == grid:
        return name
    known = b.requantized.get((name, grid))
    if known is None:
        known = b.emit("clip", [name], {"clamp": [None, None]}, node=node.name, quant=grid)
        b.requantized[name, grid] = known
    return known


def _set_grid(b: OnnxBuilder, name: str, grid: Grid) -> None:
    """Give `name` a grid, and what it alone is a rearrangement or maximum of."""
    while grid_of(b.value(name)) is None and not b.graph.is_constant(name):
        b.graph.values[name] = replace(b.value(name), quant=grid)
        maker = b.makers.get(name)
        if maker is None or not _keeps_numbers(maker):
            return
        name = maker.inputs[0]
        if len(b.readers(name)) > 1:
            return


def _keeps_numbers(node: Node) -> bool:
    """Whether the results of a node are numbers of its first operand."""
    averages = ("average_pool2d", "resize")
    return len(node.outputs) == 1 and (
        node.op == "transpose"
        or node.op == "reshape"
        or (operator(node.op).grid_for(node) == "operand" and node.op not in averages)
    )


def _grid_in_place(b: OnnxBuilder, node: OnnxNode, name: str, grid: Grid) -> Grid | None:
    """The grid that a value may take which is real so far, `grid` being that of one reader.

    With several readers that is the finest of their grids where it reaches as far as the others,
    which then are requantized from it; None where the value has to stay real for some of them. An
    input takes the grid that reaches farthest.
    """
    readers = b.readers(operand(node, 0))
    grids = [
        _activation(b, r, 1, 2, _quantized_dtype(r))
        for r in readers
        if r is not None and r.op == "QuantizeLinear" and b.const(operand(r, 1)) is not None
    ]
    if name in b.graph.inputs:
        return max([grid, *grids], key=lambda g: _reach(g)[1] - _reach(g)[0])
    if len(readers) <= 1:
        return grid
    finest = min([grid, *grids], key=lambda g: float(g.scale[0]))
    (lo, hi), step = _reach(finest), float(finest.scale[0])
    covered = all(lo - step <= _reach(g)[0] and _reach(g)[1] <= hi + step for g in grids)
    return finest if len(grids) == len(readers) and covered else None


def _reach(grid: Grid) -> tuple[float, float]:
    """The least and the greatest real number on an activation's grid."""
    info = np.iinfo(grid.dtype)
    scale, zero_point = float(grid.scale[0]), int(grid.zero_point[0])
    return scale * (info.min - zero_point), scale * (info.max - zero_point)


def _quantized_dtype(node: OnnxNode) -> str:
    """What QuantizeLinear makes where it has no zero point."""
    wanted = node.integer("output_dtype", 0)
    if not wanted:
        return "uint8"
    import onnx

    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(wanted))
    except (KeyError, ValueError):
        raise invalid(f"node '{node.name}' ({node.op}): output_dtype {wanted}") from None


@handles("QuantizeLinear")
def quantize(b: OnnxBuilder, node: OnnxNode) -> None:
    """To int8, uint8, int16 or uint16 with a constant scale; the result is a rounded tensor."""
    out = node.outputs[0]
    data = b.const(operand(node, 0))
    if data is not None:
        b.data[out] = _quantized_constant(b, node, data)
        return
    x = b.x(node)
    dtype = _dtype_of(b, node, 2, _quantized_dtype(node))
    if b.dequantize:
        b.stored[out], b.scales[out] = dtype, _parameters(b, node, 1, 2)[0].reshape(-1)[0]
        b.alias[out] = x
        return
    grid = _activation(b, node, 1, 2, dtype)
    if grid_of(b.value(x)) is None:
        first = _grid_in_place(b, node, x, grid)
        if first is not None:
            _set_grid(b, x, first)
    b.alias[out] = _on_grid(b, node, x, grid)
    b.stored[out], b.scales[out] = dtype, grid.scale[0]


@handles("DequantizeLinear")
def dequantize(b: OnnxBuilder, node: OnnxNode) -> None:
    """From integers with constant scales, per channel for constants, blocks refused."""
    out, source = node.outputs[0], operand(node, 0)
    data = b.const(source)
    if data is not None:
        _dequantized_constant(b, node, data)
        return
    x = b.x(node)
    b.scaled_inputs.add(x)
    if b.dequantize:
        b.alias[out] = x
        return
    have = grid_of(b.value(x))
    if have is not None and not operand(node, 2) and b.stored.get(source) is None:
        # The file's integer type is unknown behind a move; the scale alone can be compared.
        grid = activation_grid(
            _parameters(b, node, 1, 2)[0].reshape(-1)[0], int(have.zero_point[0])
        )
    else:
        grid = _activation(b, node, 1, 2, b.stored.get(source, "uint8"))
    if have is not None and have != grid:
        raise invalid(
            f"node '{node.name}' ({node.op}) reads '{source}' with scale {grid.scale[0]:g} and "
            f"zero point {grid.zero_point[0]}, it was made with {have.scale[0]:g} and "
            f"{have.zero_point[0]} (both signed)"
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
    if kind not in CONSTANTS:
        raise Refused(f"it quantizes to {kind}, {', '.join(CONSTANTS)} are supported")
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
    if kind not in CONSTANTS:
        raise Refused(f"its operand is {kind}, {', '.join(CONSTANTS)} are supported")
    s, z = _parameters(b, node, 1, 2)
    axis = _axis(node, data, s)
    q = data.astype(np.int64)
    zeros = np.zeros(s.size, np.int64) if z is None else np.broadcast_to(z.reshape(-1), s.size)
    centred = q - _along(data, axis, zeros)
    out = node.outputs[0]
    with np.errstate(over="ignore"):  # infinities are refused where they enter the graph
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
    elif kind.endswith("int4"):
        dtype = "int8"
    else:
        dtype = SIGNED[kind]
    moved = zeros + SHIFT.get(kind, 0)
    return Grid(scale.astype(np.float32), moved.astype(np.int32), axis, dtype)
