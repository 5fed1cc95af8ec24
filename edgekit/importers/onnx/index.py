"""ONNX operators that pick elements by index.

Where the indices are constants, every operator of this kind comes down to one: a gather from the
flat tensor. Which element goes where is found by running the operator on the elements' places.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.importers.common import Refused, check_made, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, as_graph_data, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.reduce import sliced
from edgekit.importers.onnx.shape import axis_of


def _indices(b: OnnxBuilder, node: OnnxNode, index: int, size: int | None) -> np.ndarray | None:
    """Constant indices as int64 counted from 0, None where they are computed.

    Raises:
        EdgekitError: E103 where they leave an axis of `size` (None: several axes, not checked).
    """
    data = b.const(operand(node, index))
    if data is None:
        return None
    if data.dtype.kind not in "iu":
        raise invalid(f"node '{node.name}' ({node.op}): indices of {data.dtype}")
    wide = data.astype(np.int64)
    if size is None:
        return wide
    if wide.size and not (-size <= wide.min() and wide.max() < size):
        raise invalid(
            f"node '{node.name}' ({node.op}): indices {wide.min()}..{wide.max()} of an axis "
            f"with {size} elements"
        )
    return np.where(wide < 0, wide + size, wide)


@handles("Gather")
def gather(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor along any axis, with constant or computed indices."""
    x = b.tensor(node)
    shape = b.value(x).shape
    axis = axis_of(node, node.integer("axis", 0), len(shape))
    indices = _indices(b, node, 1, shape[axis])
    out = node.outputs[0]
    if indices is None:
        b.emit("gather", [x, b.tensor(node, 1)], {"axis": axis}, node=node.name, out=out)
        return
    wanted = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    flat = indices.reshape(-1)
    step = int(flat[1] - flat[0]) if flat.size > 1 else 1
    if not flat.size:
        raise invalid(f"node '{node.name}' (Gather) picks nothing")
    if step and np.array_equal(flat, flat[0] + step * np.arange(flat.size)):
        stop = int(flat[-1]) + (1 if step > 0 else -1)
        part = (int(flat[0]), stop if 0 <= stop < shape[axis] else None, step)
        y = x if part == (0, None, 1) else sliced(b, node, x, {axis: part})
    else:
        at = b.constant(f"{node.name}:indices", flat.astype(np.int32))
        y = b.emit("gather", [x, at], {"axis": axis}, node=node.name, quant=b.value(x).quant)
    b.reshape(y, wanted, node=node.name, out=out)


@handles("GatherND")
def gather_nd(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with constant or computed indices."""
    attrs = {"batch_dims": node.integer("batch_dims", 0)}
    names = [b.tensor(node, 0), b.tensor(node, 1)]
    b.emit("gather_nd", names, attrs, node=node.name, out=node.outputs[0])


@handles("GatherElements")
def gather_elements(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor with constant indices; computed ones where only the axis differs in size."""
    x = b.tensor(node)
    shape = b.value(x).shape
    axis = axis_of(node, node.integer("axis", 0), len(shape))
    indices = _indices(b, node, 1, shape[axis])
    if len(b.shape_of(operand(node, 1))) != len(shape):
        raise invalid(f"node '{node.name}' (GatherElements): indices "
                      f"{list(b.shape_of(operand(node, 1)))} of {list(shape)}")  # fmt: skip
    if indices is not None:
        check_made("operand", *shape)
        places = np.arange(np.prod(shape)).reshape(shape)
        part = places[tuple(slice(d) if i != axis else slice(None)
                            for i, d in enumerate(indices.shape))]  # fmt: skip
        picked(b, node, x, np.take_along_axis(part, indices, axis), node.outputs[0])
        return
    at = b.tensor(node, 1)
    other = b.value(at).shape
    if (*shape[:axis], *shape[axis + 1 :]) != (*other[:axis], *other[axis + 1 :]):
        raise Refused(f"computed indices {list(other)} do not cover {list(shape)}")
    swap = list(range(len(shape)))
    swap[axis], swap[-1] = swap[-1], swap[axis]
    rows = int(np.prod(shape)) // shape[axis]
    turned = [b.transpose(v, swap, node=node.name) for v in (x, at)]
    moved = b.value(turned[1]).shape
    flat = [b.reshape(v, (rows, d), node=node.name)
            for v, d in zip(turned, (shape[axis], other[axis]), strict=True)]  # fmt: skip
    y = b.emit("gather", flat, {"axis": 1, "batch_dims": 1}, node=node.name)
    y = b.reshape(y, moved, node=node.name)
    b.transpose(y, swap, node=node.name, out=node.outputs[0])


def picked(b: OnnxBuilder, node: OnnxNode, x: str, places: np.ndarray, out: str = "") -> str:
    """Elements of `x` by their places in its flat form, in the shape of `places`."""
    flat = b.reshape(x, (b.value(x).size,), node=node.name)
    at = b.constant(f"{node.name}:places", places.reshape(-1).astype(np.int32))
    y = b.emit("gather", [flat, at], {"axis": 0}, node=node.name, quant=b.value(x).quant)
    return b.reshape(y, places.shape, node=node.name, out=out)


#: What a reduction of Scatter is here.
REDUCTIONS = {"add": "add", "mul": "mul", "max": "maximum", "min": "minimum"}
#: Updates that one place may get.
MAX_UPDATES = 16


@handles("ScatterElements", "Scatter", "ScatterND", "TensorScatter")
def scatter(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensors with constant indices, any reduction; at most 16 updates of one place."""
    x = b.tensor(node, 0)
    shape, size = b.value(x).shape, b.value(x).size
    kind = node.text("reduction", "none")
    check_made("operand", size)
    if node.op == "TensorScatter":
        updates = b.tensor(node, 1)
        check_made("second operand", *b.value(updates).shape)
        place = _tensor_scatter(b, node, shape, b.value(updates).shape)
    else:
        updates = b.tensor(node, 2)
        place = _scatter_places(b, node, shape)
    rows = _rows(node, place, b.value(updates).shape, size)
    flat = b.reshape(updates, (b.value(updates).size,), node=node.name)
    if kind != "none":
        if kind not in REDUCTIONS:
            raise invalid(f"node '{node.name}' ({node.op}): reduction '{kind}'")
        _combined(b, node, x, flat, rows, REDUCTIONS[kind])
        return
    source = np.arange(size)
    source[rows] = size + np.arange(rows.size)
    both = [b.reshape(x, (size,), node=node.name), flat]
    joined = b.emit("concat", both, {"axis": 0}, node=node.name)
    at = b.constant(f"{node.name}:places", source.astype(np.int32))
    y = b.emit("gather", [joined, at], {"axis": 0}, node=node.name)
    b.reshape(y, shape, node=node.name, out=node.outputs[0])


def _rows(node: OnnxNode, place: np.ndarray, updates: tuple[int, ...], size: int) -> np.ndarray:
    """The flat place of every element of the updates, which may be whole rows of the data."""
    count = int(np.prod(updates))
    if place.size != count:
        raise invalid(f"node '{node.name}' ({node.op}): {place.size} places, {count} updates")
    flat = place.reshape(-1)
    if flat.size and not (flat.min() >= 0 and flat.max() < size):
        raise invalid(f"node '{node.name}' ({node.op}) writes behind its {size} elements")
    return flat


def _combined(
    b: OnnxBuilder, node: OnnxNode, x: str, updates: str, rows: np.ndarray, op: str
) -> None:
    """x with the updates worked in: the first of every place, then the second of some, ..."""
    shape, size = b.value(x).shape, b.value(x).size
    order = np.argsort(rows, kind="stable")
    first = np.concatenate([[True], np.diff(rows[order]) != 0])
    starts = np.flatnonzero(first)
    turn = np.arange(rows.size) - np.repeat(starts, np.diff([*starts, rows.size]))
    rounds = int(turn.max()) + 1
    if rounds > MAX_UPDATES:
        raise Refused(f"one place gets {rounds} updates, at most {MAX_UPDATES} are supported")
    y = b.reshape(x, (size,), node=node.name)
    for k in range(rounds):
        chosen = order[turn == k]
        source, mask = np.zeros(size, np.int32), np.zeros(size, np.bool_)
        source[rows[chosen]], mask[rows[chosen]] = chosen, True
        at = b.constant(f"{node.name}:places{k}", source)
        spread = b.emit("gather", [updates, at], {"axis": 0}, node=node.name)
        changed = b.emit(op, [y, spread], node=node.name)
        if mask.all():
            y = changed
            continue
        keep = b.constant(f"{node.name}:mask{k}", mask)
        y = b.emit("where", [keep, changed, y], node=node.name)
    b.reshape(y, shape, node=node.name, out=node.outputs[0])


def _scatter_places(b: OnnxBuilder, node: OnnxNode, shape: tuple[int, ...]) -> np.ndarray:
    """The flat place of every update."""
    try:
        if node.op == "ScatterND":
            indices = _constant_indices(b, node, None)
            places = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)
            return np.asarray(places[tuple(np.moveaxis(indices, -1, 0))])
        axis = axis_of(node, node.integer("axis", 0), len(shape))
        indices = _constant_indices(b, node, shape[axis])
        grid: list[Any] = list(np.indices(indices.shape))
        grid[axis] = indices
        return np.asarray(np.ravel_multi_index(tuple(grid), shape))
    except (IndexError, ValueError) as error:
        raise invalid(f"node '{node.name}' ({node.op}): {error}") from None


def _constant_indices(b: OnnxBuilder, node: OnnxNode, size: int | None) -> np.ndarray:
    indices = _indices(b, node, 1, size)
    if indices is None:
        raise Refused(f"its indices '{operand(node, 1)}' must be a constant")
    return indices


def _tensor_scatter(
    b: OnnxBuilder, node: OnnxNode, shape: tuple[int, ...], updates: tuple[int, ...]
) -> np.ndarray:
    """Places of the rows that are written into a cache, one start for each sample."""
    axis = axis_of(node, node.integer("axis", -2), len(shape))
    starts = b.const_of(node, 2, "write_indices") if operand(node, 2) else np.zeros(shape[0])
    grid = list(np.indices(updates))
    if starts.size != updates[0] or len(updates) != len(shape):
        raise invalid(f"node '{node.name}' (TensorScatter): {starts.size} starts for "
                      f"{list(updates)} in {list(shape)}")  # fmt: skip
    start = starts.astype(np.int64).reshape(-1, *[1] * (len(shape) - 1))
    grid[axis] = grid[axis] + start
    if node.text("mode", "linear") == "circular":
        grid[axis] = grid[axis] % shape[axis]
    try:
        return np.ravel_multi_index(tuple(grid), shape)
    except ValueError:
        raise invalid(f"node '{node.name}' (TensorScatter) writes behind its cache") from None


@handles("ReverseSequence")
def reverse_sequence(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with constant lengths."""
    x = b.tensor(node)
    shape = b.value(x).shape
    check_made("operand", *shape)
    lengths = b.const_of(node, 1, "sequence_lens").astype(np.int64).reshape(-1)
    batch = axis_of(node, node.integer("batch_axis", 1), len(shape))
    time = axis_of(node, node.integer("time_axis", 0), len(shape))
    if lengths.size != shape[batch] or lengths.min() < 0 or lengths.max() > shape[time]:
        raise invalid(f"node '{node.name}' (ReverseSequence): lengths {lengths} of {list(shape)}")
    places = np.moveaxis(np.arange(b.value(x).size).reshape(shape), (batch, time), (0, 1)).copy()
    for row, length in enumerate(lengths):
        places[row, :length] = places[row, :length][::-1].copy()
    picked(b, node, x, np.moveaxis(places, (0, 1), (batch, time)), node.outputs[0])


@handles("Compress")
def compress(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with a constant condition."""
    x = b.tensor(node)
    condition = b.const_of(node, 1, "condition").astype(bool).reshape(-1)
    shape = b.value(x).shape
    check_made("operand", *shape)
    places = np.arange(b.value(x).size).reshape(shape)
    axis = node.attrs.get("axis")
    if axis is None:
        kept = places.reshape(-1)[: condition.size][condition[: places.size]]
    else:
        at = axis_of(node, node.integer("axis", 0), len(shape))
        condition = condition[: shape[at]]
        kept = np.compress(condition, places, axis=at)
    if not kept.size:
        raise invalid(f"node '{node.name}' (Compress) picks nothing")
    picked(b, node, x, kept, node.outputs[0])


@handles("OneHot")
def one_hot(b: OnnxBuilder, node: OnnxNode) -> None:
    """Constant depth and values; indices of any type."""
    x = b.tensor(node)
    if b.value(x).dtype != "int32":
        x = b.emit("cast", [x], {"to": "int32"}, node=node.name)
    depths = b.const_of(node, 1, "depth").reshape(-1)
    depth = int(depths[0]) if depths.size == 1 else 0
    values = b.const_of(node, 2, "values").reshape(-1)
    check_made("depth", max(depth, 1))
    if values.size != 2 or depth < 1:
        raise invalid(f"node '{node.name}' (OneHot): depth {depth}, values {values}")
    rank = len(b.value(x).shape) + 1
    axis = axis_of(node, node.integer("axis", -1), rank)
    maker = b.makers.get(x)
    if maker is not None and maker.op in ("arg", "top_k"):  # indices counted from 0
        whole = values.dtype.kind in "iu"
        attrs = {
            "axis": axis,
            "depth": depth,
            "on": float(values[1]),
            "off": float(values[0]),
            "out_dtype": "bool" if values.dtype == np.bool_ else "int32" if whole else "float32",
        }
        b.emit("one_hot", [x], attrs, node=node.name, out=node.outputs[0])
        return
    # Indices below zero count from the end: either of two numbers is the place.
    shape = b.value(x).shape
    x = b.reshape(x, (*shape[:axis], 1, *shape[axis:]), node=node.name)
    hits = []
    for numbers in (np.arange(depth), np.arange(depth) - depth):
        along = numbers.astype(np.int32).reshape(-1, *[1] * (rank - 1 - axis))
        there = b.constant(f"{node.name}:places", along)
        hits.append(b.emit("compare", [x, there], {"kind": "equal"}, node=node.name))
    hit = b.emit("logical", hits, {"kind": "or"}, node=node.name)
    both = [b.constant(f"{node.name}:values", as_graph_data(values[i : i + 1], "values"))
            for i in (1, 0)]  # fmt: skip
    b.emit("where", [hit, *both], node=node.name, out=node.outputs[0])
