"""Nodes whose operands are all known at import time: shape arithmetic and constant tensors.

Exporters compute shapes with Shape, Gather and Concat. Shapes are static here, so these nodes are
evaluated by ONNX's own reference implementation and never reach the graph. A file may state sizes
that no memory holds: the size of a result is inferred before it is computed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.importers.common import Refused, check_size, invalid
from edgekit.importers.onnx.builder import HANDLERS, OnnxBuilder, handles, widened
from edgekit.importers.onnx.infer import check_node
from edgekit.importers.onnx.node import Body, OnnxNode, operand
from edgekit.importers.onnx.unsupported import REASONS

#: Operators that are taken with constant operands only.
FOLDED_ONLY = (
    "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "BlackmanWindow",
    "ConstantOfShape", "Det", "HammingWindow", "HannWindow", "MelWeightMatrix", "NonZero", "Range",
    "Unique",
)  # fmt: skip
#: Operators that a handler evaluates itself, or that have no value of their own.
NOT_FOLDED = (
    "Constant", "DequantizeLinear", "DynamicQuantizeLinear", "GRU", "If", "LSTM", "Loop",
    "QuantizeLinear", "RNN", "Scan", "Shape", "Size",
)  # fmt: skip
#: Reshuffling a constant moves its scales with it.
_MOVES = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
#: Work that folding may cost, in elements of operands and results.
MAX_FOLDED = 1 << 22


@handles(*FOLDED_ONLY)
def constants_only(b: OnnxBuilder, node: OnnxNode) -> None:
    """Constant operands only."""
    raise Refused(REASONS.get(node.op, "its operands must be constants"))


@handles("Constant")
def constant(b: OnnxBuilder, node: OnnxNode) -> None:
    """Dense tensors of numbers."""
    b.data[node.outputs[0]] = widened(_constant(node))


@handles("Shape", "Size")
def shape(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor: shapes are static."""
    if not operand(node, 0):
        raise invalid(f"node '{node.name}' ({node.op}) has no operand")
    found = b.shape_of(node.inputs[0])
    if node.op == "Shape":
        found = found[node.integer("start", 0) : node.integer("end", len(found))]
    data = np.asarray(found if node.op == "Shape" else math.prod(found), np.int64)
    b.data[node.outputs[0]] = data


def folds(op: str) -> bool:
    """Whether an operator is evaluated where its operands are constants."""
    return op in HANDLERS and op not in NOT_FOLDED and "QLinear" not in op and "Integer" not in op


def fold(builder: OnnxBuilder, node: OnnxNode) -> bool:
    """Evaluate the node where that is possible; says whether it did.

    Raises:
        EdgekitError: E103 where its operands do not fit together, E107 for absurd sizes.
    """
    if node.domain or not folds(node.op):
        return False
    operands = [builder.const(i) for i in node.inputs if i]
    if not operands or any(o is None for o in operands):
        return False
    arrays = [o for o in operands if o is not None]
    if any(a.dtype.kind == "O" for a in arrays) or not _affordable(node, arrays):
        return False
    results = evaluate(node, arrays)
    for name, result in zip(node.outputs, results, strict=False):
        if name:
            builder.data[name] = widened(result)
    _carry_grid(builder, node, arrays)
    return True


def _model(node: OnnxNode, arrays: list[np.ndarray]) -> Any:
    """A model of the node alone, its operands as initializers."""
    from onnx import helper, numpy_helper

    names = [f"i{k}" if name else "" for k, name in enumerate(node.inputs)]
    outs = [f"o{k}" if name else "" for k, name in enumerate(node.outputs)]
    attrs = {
        k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v
        for k, v in node.attrs.items()
        if v is not None and not isinstance(v, Body)
    }
    initializers = [
        numpy_helper.from_array(np.asarray(a), n)
        for n, a in zip(filter(None, names), arrays, strict=True)
    ]
    results = [helper.make_empty_tensor_value_info(o) for o in outs if o]
    graph = helper.make_graph(
        [helper.make_node(node.op, names, outs, **attrs)], "fold", [], results, initializers
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)])


def _affordable(node: OnnxNode, arrays: list[np.ndarray]) -> bool:
    """Whether operands and results are small enough to be computed here.

    Raises:
        EdgekitError: E107 for a result that no target can hold.
    """
    import onnx

    held = sum(a.size for a in arrays)
    if held > MAX_FOLDED:
        return node.op in _MOVES
    if node.op in ("Range", "ConstantOfShape", "Expand", "Tile"):
        check_size(f"'{node.outputs[0]}'", [max(1, d) for d in _stated(node, arrays)])
    small = _model(node, arrays)
    try:
        check_node(small, small.graph.node[0])
        done = onnx.shape_inference.infer_shapes(small, data_prop=True)
    except Exception:  # what contradicts itself is found when it is evaluated
        return held <= 1 << 16
    for v in done.graph.output:
        dims = [d.dim_value or 1 for d in v.type.tensor_type.shape.dim]
        check_size(f"'{node.outputs[0]}'", dims)
        held += math.prod(dims)
    return held <= MAX_FOLDED


def _stated(node: OnnxNode, arrays: list[np.ndarray]) -> list[int]:
    """The result's shape where it is an operand's content."""
    if len(arrays) < {"Range": 3, "ConstantOfShape": 1}.get(node.op, 2):
        raise invalid(f"node '{node.name}' ({node.op}) has {len(arrays)} operands")
    if node.op == "Range":
        if any(not a.size for a in arrays):
            raise invalid(f"node '{node.name}' (Range) has an empty operand")
        first, last, step = (float(a.reshape(-1)[0]) for a in arrays[:3])
        if not step:
            raise invalid(f"node '{node.name}' (Range) has a step of 0")
        return [math.ceil(max(0.0, (last - first) / step))]
    stated = [int(d) for d in arrays[-1].reshape(-1)]
    if node.op == "Tile":
        return [d * r for d, r in zip(arrays[0].shape, stated, strict=False)]
    return stated


def evaluate(node: OnnxNode, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Every result of a node on constants.

    Raises:
        EdgekitError: E103 where the operands do not fit the operator.
    """
    if node.op == "Div" and arrays[0].dtype.kind in "iu" and not np.all(arrays[1]):
        raise invalid(f"node '{node.name}' (Div): integer division by zero")
    from onnx.reference import ReferenceEvaluator

    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(_model(node, arrays)).run(None, {})
    except EdgekitError:
        raise
    except Exception as error:  # whatever the file provokes in the evaluator
        raise invalid(f"node '{node.name}' ({node.op}): {_first_line(error)}") from None
    by_name = iter(results)
    return [np.asarray(next(by_name)) if o else np.empty(0) for o in node.outputs]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _carry_grid(builder: OnnxBuilder, node: OnnxNode, arrays: list[np.ndarray]) -> None:
    """What moves the numbers of a constant moves its scales with them.

    The channel of every number is sent the same way; where that leaves each channel in a slice of
    its own in the order of the scales, the scales lie along that axis.
    """
    grid = builder.grids.get(node.inputs[0])
    if grid is None or node.op not in _MOVES:
        return
    out = node.outputs[0]
    if node.op == "Cast" and builder.data[out].dtype.kind != "f":
        return
    if grid.axis is None or node.op in ("Cast", "Identity"):
        builder.grids[out] = grid
        return
    x = arrays[0]
    shape = [1] * x.ndim
    shape[grid.axis] = -1
    channels = np.arange(grid.scale.size)
    sent = np.ascontiguousarray(np.broadcast_to(channels.reshape(shape), x.shape))
    [moved] = evaluate(node, [sent, *arrays[1:]])
    for axis in range(moved.ndim):
        along = np.moveaxis(moved, axis, -1)
        if moved.shape[axis] == channels.size and np.array_equal(
            along, np.broadcast_to(channels, along.shape)
        ):
            builder.grids[out] = replace(grid, axis=axis)
            return


def _constant(node: OnnxNode) -> np.ndarray:
    kinds: dict[str, Any] = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_string": object,
        "value_strings": object,
    }
    value = node.attrs.get("value")
    if isinstance(value, np.ndarray):
        return value
    for key, dtype in kinds.items():
        if node.attrs.get(key) is not None:
            return np.asarray(node.attrs[key], dtype)
    raise invalid(f"node '{node.name}' (Constant) holds no dense tensor")
