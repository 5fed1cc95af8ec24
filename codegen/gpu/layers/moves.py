"""Operators that only move elements: where each block of four comes from, by formula or table.

The places come from the numpy reference, which moves the numbers of the operands' elements instead
of elements. Blocks that stay together move as vectors, others byte by byte.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from codegen.gpu.emit import launch
from codegen.gpu.kernel import Maker, Place, Variant
from codegen.gpu.layers._cells import CELLS, cell_of, layout_of
from codegen.gpu.layers.elements import bind_pixels
from codegen.gpu.layout import BLOCK, blocked, pack
from codegen.kernel import Layer, NotApplicable
from edgekit.graph import Node, Value
from edgekit.ops import operator
from edgekit.ops.pad import mode_of, pad_value

OPS = (
    *("reshape", "transpose", "concat", "concat_rows", "slice", "slice_rows", "pad", "tile"),
    *("expand", "pixel_shuffle", "copy"),
)
#: Entries of a table that are no element: padding, and the gap of the last block.
PADDING, GAP = -1, -2


def variants(layer: Layer) -> list[Variant]:
    dtype = cell_of(layer, *CELLS)
    constants = {v.name for v in layer.inputs} & set(layer.constants)
    if constants:
        raise NotApplicable(f"'{min(constants)}' is constant")
    if dtype == "int8" and any(v.quant != layer.output.quant for v in layer.inputs):
        raise NotApplicable("an operand has another scale than the result")
    places = sources(layer)
    out = layout_of(layer.output)
    p: dict[str, Any] = {
        "dtype": dtype,
        "C": out.channels,
        "blocks": out.blocks,
        "P": out.pixels,
        "counts": [layout_of(v).count for v in layer.inputs],
        "padding": _padding(layer) if (places == PADDING).any() else 0,
    }
    inputs = tuple(Place("input", i) for i in range(len(layer.inputs)))
    table = _of_blocks(layer, places)
    if table is not None:
        found = []
        if (axes := _formula(table)) is not None:
            run = launch("move_direct", direct, {**p, "axes": axes}, (*inputs, Place("output")))
            found.append(Variant("direct", (run,)))
        return [*found, _by_table("blocks", p, inputs, table)]
    return [_by_table("elements", p, inputs, places)]


def _by_table(
    name: str, p: dict[str, Any], inputs: tuple[Place, ...], table: np.ndarray
) -> Variant:
    arguments = (*inputs, Place("constant", name="table"), Place("output"))
    run = launch(f"move_{name}", by_table, {**p, "vectors": name == "blocks"}, arguments)
    return Variant(name, (run,), {"table": table})


def sources(layer: Layer) -> np.ndarray:
    """int32 [blocks, pixels, 4]: for each element of the result as it lies on a device, which one
    of the operands', one behind the other as they lie there, or `PADDING` or `GAP`."""
    arrays, first = [], 0
    for value in layer.inputs:
        layout = layout_of(value)
        at = np.arange(layout.count, dtype=np.int32).reshape(layout.blocks, layout.pixels, BLOCK)
        rows = at.transpose(1, 0, 2).reshape(layout.pixels, -1)[:, : layout.channels]
        arrays.append((rows + first + 1).reshape(value.shape).astype(np.int32))
        first += layout.count
    node = layer.node
    if node.op == "pad" and mode_of(node) == "constant":
        node = Node(node.op, node.inputs, node.outputs, {**node.attrs, "value": 0}, node.name)
    moved = operator(node.op).reference_float(node, arrays)
    out = layout_of(layer.output)
    flat = np.asarray(moved, np.int32).reshape(layer.output.shape) - 1  # padding was 0
    layout = blocked(layer.output.shape, "int32")
    gap = pack(np.ones(layer.output.shape, np.int32), layout) == 0
    places = np.where(gap, GAP, pack(flat, layout))
    return np.asarray(places, np.int32).reshape(out.blocks, out.pixels, BLOCK)


def _padding(layer: Layer) -> float | int:
    """What stands in the padding, as memory holds it."""
    value: Value = layer.inputs[0]
    if value.dtype == "int8":
        return int(pad_value(layer.node, value))
    real = np.float32(layer.node.attrs.get("value", 0))
    return float(real) if value.dtype == "float32" else int(np.float16(real).view(np.uint16))


def _of_blocks(layer: Layer, places: np.ndarray) -> np.ndarray | None:
    """int32 [blocks, pixels]: the block that each one of the result is, None where they are not.

    A gap may only be the operand's gap, which holds zeros, or behind padding.
    """
    first = places[..., 0]
    lanes = np.arange(BLOCK)
    whole = (first >= 0) & (first % BLOCK == 0)
    alike = (places == first[..., None] + lanes) | (places == GAP)
    padding = (first == PADDING) & ((places == PADDING) | (places == GAP)).all(-1)
    if not ((whole & alike.all(-1)) | padding).all():
        return None
    gap = np.concatenate(
        [pack(np.ones(v.shape, np.int32), blocked(v.shape, "int32")) == 0 for v in layer.inputs]
    )
    for lane in range(1, BLOCK):
        to_gap = (places[..., lane] == GAP) & whole
        if not gap[first[to_gap] + lane].all():
            return None
    return np.where(whole, first // BLOCK, PADDING).astype(np.int32)


def _formula(table: np.ndarray) -> dict[str, Any] | None:
    """First block and [size, step] of the result's block and of axes of its pixels, outermost
    first, where sums of steps give the table."""
    flat: np.ndarray = table.reshape(-1).astype(np.int64)
    if (flat < 0).any():
        return None
    axes: list[list[int]] = []
    start, size = int(flat[0]), flat.size
    while size > 1:
        step = int(flat[1] - flat[0])
        breaks = np.flatnonzero(np.diff(flat) != step)
        run = int(breaks[0]) + 1 if breaks.size else size
        if size % run or run == 1:
            return None
        axes.append([run, step])
        flat = flat.reshape(-1, run)
        if not (flat == flat[:, :1] + step * np.arange(run)).all():
            return None
        flat, size = flat[:, 0], size // run
    return {"start": start, "axes": axes[::-1]}


def _joined(p: dict[str, Any], tensors: list[Any], at: Any, unit: int) -> Any:
    """TE expression: element `at` of the operands, one behind the other."""
    from codegen.tvm_api import select

    first = sum(p["counts"][:-1]) // unit
    value = tensors[-1][at - first if first else at]
    for i in reversed(range(len(tensors) - 1)):
        end = sum(p["counts"][: i + 1]) // unit
        begin = end - p["counts"][i] // unit
        value = select(at < end, tensors[i][at - begin if begin else at], value)
    return value


def _operands(p: dict[str, Any], dtype: str, unit: int) -> list[Any]:
    from tvm import te

    return [te.placeholder((n // unit,), dtype, name=f"x{i}") for i, n in enumerate(p["counts"])]


def direct(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    cell = CELLS[p["dtype"]]
    tensors = _operands(p, cell.memory, BLOCK)
    axes = p["axes"]["axes"]
    inner = [prod(size for size, _ in axes[k + 1 :]) for k in range(len(axes))]

    def block(b: Any, q: Any) -> Any:
        at = b * p["P"] + q
        source = p["axes"]["start"]
        for k, ((size, step), below) in enumerate(zip(axes, inner, strict=True)):
            index = at // below if below > 1 else at
            source = source + (index % size if k else index) * step
        return _joined(p, tensors, source, BLOCK)

    y = te.compute((p["blocks"], p["P"]), block, name="y")
    sch = s_tir.Schedule(te.create_prim_func([*tensors, y]))
    bind_pixels(sch, 1)
    return sch


def by_table(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te, tirx

    from codegen.tvm_api import select

    cell = CELLS[p["dtype"]]
    unit, dtype = (BLOCK, cell.memory) if p["vectors"] else (1, cell.scalar)
    tensors = _operands(p, dtype, unit)
    lanes = () if p["vectors"] else (BLOCK,)
    table = te.placeholder((p["blocks"], p["P"], *lanes), "int32", name="table")

    def element(at: Any) -> Any:
        padding = tirx.const(p["padding"], dtype)
        return select(at >= 0, _joined(p, tensors, at, unit), padding)

    def block(b: Any, q: Any) -> Any:
        if p["vectors"]:
            return cell.lanes(element(table[b, q]), b, p["C"])
        elements = (element(table[b, q, i]) for i in range(BLOCK))
        return cell.lanes(cell.of_scalars(*elements), b, p["C"])

    y = te.compute((p["blocks"], p["P"]), block, name="y")
    sch = s_tir.Schedule(te.create_prim_func([*tensors, table, y]))
    bind_pixels(sch, 1)
    return sch


MAKERS = (Maker("moves", OPS, variants),)
