"""Nodes whose operands are all known at import time: shape arithmetic and constant tensors.

Exporters compute shapes with Shape, Gather and Concat. Shapes are static here, so these nodes are
evaluated with numpy and never reach the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.importers.common import check_size, invalid
from edgekit.importers.onnx_builder import OnnxBuilder
from edgekit.importers.onnx_node import OnnxNode, operand

Evaluate = Callable[[OnnxNode, list[np.ndarray]], Any]


def fold(builder: OnnxBuilder, node: OnnxNode) -> bool:
    """Evaluate the node where that is possible; says whether it did.

    Raises:
        EdgekitError: E103 where its operands do not fit together.
    """
    if node.op == "Constant":
        builder.data[node.outputs[0]] = _constant(node)
        return True
    if node.op == "Shape" and operand(node, 0):
        shape = builder.shape_of(node.inputs[0])
        part = shape[node.integer("start", 0) : node.integer("end", len(shape))]
        builder.data[node.outputs[0]] = np.asarray(part, np.int64)
        return True
    evaluate = EVALUATE.get(node.op)
    if evaluate is None or not node.inputs:
        return False
    operands = [builder.const(i) for i in node.inputs if i]
    if any(o is None for o in operands):
        return False
    arrays = [o for o in operands if o is not None]
    if node.op in _BROADCAST:
        try:
            check_size(f"'{node.outputs[0]}'", np.broadcast_shapes(*(a.shape for a in arrays)))
        except ValueError:
            raise invalid(f"node '{node.name}' ({node.op}): operands do not broadcast") from None
    try:
        with np.errstate(all="ignore"):
            builder.data[node.outputs[0]] = np.asarray(evaluate(node, arrays))
            _carry_grid(builder, node, evaluate, arrays)
    except (ValueError, IndexError, TypeError, KeyError, OverflowError) as error:
        raise invalid(f"node '{node.name}' ({node.op}): {error}") from None
    return True


def _carry_grid(
    builder: OnnxBuilder, node: OnnxNode, evaluate: Evaluate, arrays: list[np.ndarray]
) -> None:
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
    moved = np.asarray(
        evaluate(node, [np.broadcast_to(channels.reshape(shape), x.shape), *arrays[1:]])
    )
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
    }
    value = node.attrs.get("value")
    if isinstance(value, np.ndarray):
        return value
    for key, dtype in kinds.items():
        if node.attrs.get(key) is not None:
            return np.asarray(node.attrs[key], dtype)
    raise invalid(f"node '{node.name}' (Constant) holds no tensor")


def _axes(node: OnnxNode, a: list[np.ndarray]) -> tuple[int, ...] | None:
    axes = a[1] if len(a) > 1 else node.integers("axes")
    return None if axes is None else tuple(int(i) for i in np.asarray(axes).reshape(-1))


def _slice(node: OnnxNode, a: list[np.ndarray]) -> np.ndarray:
    at = node.attrs
    if len(a) == 1:
        starts, ends, axes, steps = at["starts"], at["ends"], at.get("axes"), None
    else:
        starts, ends = a[1].tolist(), a[2].tolist()
        axes = a[3].tolist() if len(a) > 3 else None
        steps = a[4].tolist() if len(a) > 4 else None
    index = [slice(None)] * a[0].ndim
    for i, axis in enumerate(axes if axes is not None else range(len(starts))):
        index[axis] = slice(starts[i], ends[i], steps[i] if steps else None)
    return a[0][tuple(index)]


def _cast(node: OnnxNode, a: list[np.ndarray]) -> np.ndarray:
    import onnx

    return a[0].astype(onnx.helper.tensor_dtype_to_np_dtype(node.attrs["to"]))


def _gather(node: OnnxNode, a: list[np.ndarray]) -> np.ndarray:
    axis = node.integer("axis", 0)
    check_size(f"'{node.outputs[0]}'", [max(1, a[1].size), max(1, a[0].size // a[0].shape[axis])])
    return np.take(a[0], a[1], axis=axis)


def _fill(node: OnnxNode, a: list[np.ndarray]) -> np.ndarray:
    shape = tuple(int(d) for d in a[0].reshape(-1))
    check_size(f"'{node.outputs[0]}'", [d or 1 for d in shape])
    value = node.attrs.get("value")
    return np.full(shape, np.float32(0) if value is None else value.reshape(-1)[0])


def _reshape(node: OnnxNode, a: list[np.ndarray]) -> np.ndarray:
    shape = [int(d) for d in a[1].reshape(-1)]
    if not node.integer("allowzero", 0):
        shape = [a[0].shape[i] if d == 0 else d for i, d in enumerate(shape)]
    return a[0].reshape(shape)


def _divide(node: OnnxNode, a: list[np.ndarray]) -> np.ndarray:
    if a[0].dtype.kind == "f":
        return a[0] / a[1]
    if not np.all(a[1]):
        raise ValueError("integer division by zero")
    return np.trunc(a[0] / a[1]).astype(a[0].dtype)


def _unsqueeze(node: OnnxNode, a: list[np.ndarray]) -> np.ndarray:
    return np.expand_dims(a[0], _axes(node, a) or ())


def _clip(node: OnnxNode, a: list[np.ndarray]) -> np.ndarray:
    """Bounds as operands, either of which may be absent."""
    bounds: list[Any] = [None, None]
    rest = iter(a[1:])
    for i in (0, 1):
        if operand(node, i + 1):
            bounds[i] = next(rest)
    lo = node.attrs.get("min") if bounds[0] is None else bounds[0]
    hi = node.attrs.get("max") if bounds[1] is None else bounds[1]
    if a[0].dtype.kind not in "iuf":
        raise TypeError(f"its operand is {a[0].dtype}")
    return np.clip(a[0], lo, hi).astype(a[0].dtype)


_MOVES = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_BROADCAST = ("Add", "Sub", "Mul", "Div", "Max", "Min")
EVALUATE: dict[str, Evaluate] = {
    "Add": lambda n, a: a[0] + a[1],
    "Sub": lambda n, a: a[0] - a[1],
    "Mul": lambda n, a: a[0] * a[1],
    "Div": _divide,
    "Neg": lambda n, a: -a[0],
    "Sqrt": lambda n, a: np.sqrt(a[0]),
    "Cast": _cast,
    "Clip": _clip,
    "Identity": lambda n, a: a[0],
    "Gather": _gather,
    "Concat": lambda n, a: np.concatenate(a, axis=n.integer("axis", 0)),
    "Slice": _slice,
    "Squeeze": lambda n, a: np.squeeze(a[0], _axes(n, a)),
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Transpose": lambda n, a: np.transpose(a[0], n.integers("perm")),
    "ConstantOfShape": _fill,
    "Shape": lambda n, a: np.asarray(a[0].shape, np.int64),
}
