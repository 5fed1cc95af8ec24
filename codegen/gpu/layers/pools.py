"""Pooling: a window per item, or for pools over a whole image a group for four channels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from codegen.gpu.emit import launch
from codegen.gpu.kernel import Maker, Place, Variant
from codegen.gpu.layers._cells import CELLS, Cell, cell_of, layout_of
from codegen.gpu.layers.elements import FLOATS, bind_pixels, clamped
from codegen.kernel import Layer
from codegen.schedules import _window
from edgekit.ops import windows as win
from edgekit.ops.average_pool2d import divisors
from edgekit.ops.base import clamp_of
from edgekit.ops.requant import clamp_of_output, require_same_quant, tensor_quant

#: Items of a group that share out an image, and the fewest pixels for which they pay.
ITEMS, FEWEST = 64, 32


def variants(layer: Layer) -> list[Variant]:
    node, x, out = layer.node, layer.inputs[0], layer.output
    dtype = cell_of(layer, *CELLS)
    p: dict[str, Any] = {
        "mean": node.op == "average_pool2d",
        "dtype": dtype,
        **_window.params(layer, win.pair(node, "kernel")),
        "blocks": layout_of(x).blocks,
    }
    constants: dict[str, np.ndarray] = {}
    if dtype in FLOATS:
        low, high = clamp_of(node)
        p["clamp"] = [None if math.isinf(low) else low, None if math.isinf(high) else high]
    else:
        require_same_quant(node, list(layer.inputs), out)
        p["clamp"] = list(clamp_of_output(node, out))
    if p["mean"]:
        real, counted = (d.reshape(-1) for d in divisors(node, x.shape))
        if dtype in FLOATS:
            each = np.float32(1) / counted.astype(np.float32)
        else:
            # Padding that counts adds the zero point, which is real zero.
            more = (counted - real) * tensor_quant(x)[1]
            each = np.stack([counted, more], -1).astype(np.int32)
        if (each == each[0]).all():
            p["divisor"] = each[0].tolist()
        else:
            constants["divisors"] = each
    arguments = (
        Place("input"),
        *(Place("constant", name=name) for name in constants),
        Place("output"),
    )
    found = []
    if _whole(p) and dtype == "int8":
        runs = (launch("pool_local", in_a_group, p, arguments),)
        found.append(Variant("local", runs, constants))
    runs = (launch("pool_direct", direct, p, arguments),)
    return [*found, Variant("direct", runs, constants)]


def _whole(p: dict[str, Any]) -> bool:
    """Whether the one window is the image, which is large enough to be shared out."""
    return (
        p["kernel"] == [p["H"], p["W"]]
        and not any(p["pads"])
        and (p["OH"], p["OW"]) == (1, 1)
        and p["dilations"] == [1, 1]
        and p["H"] * p["W"] >= FEWEST
    )


def _reducer(p: dict[str, Any]) -> tuple[Any, str, float | int]:
    """How two values of a window become one, their dtype, and what leaves the other as it is."""
    from tvm import te, tirx

    from codegen.tvm_api import call

    vector = CELLS[p["dtype"]].vector
    if p["mean"]:
        dtype = "float32x4" if p["dtype"] in FLOATS else "int32x4"
        return (lambda value, axes: te.sum(value, axis=axes)), dtype, 0
    if p["dtype"] in FLOATS:
        lowest: float | int = float(np.finfo(np.float32).min)
        larger = te.comm_reducer(
            lambda a, b: call(vector, "ek_maxf4", b, a), lambda t: tirx.const(lowest, t)
        )
    else:
        lowest = -128
        larger = te.comm_reducer(
            lambda a, b: call(vector, "max", a, b), lambda t: tirx.const(lowest, t)
        )
    return (lambda value, axes: larger(value, axis=axes)), vector, lowest


def _finish(p: dict[str, Any], cell: Cell, acc: Any, divisors: Any, pixel: Any, block: Any) -> Any:
    """TE expression: a block of the result as memory holds it."""
    from codegen.tvm_api import call, float32, int32

    if p["dtype"] in FLOATS:
        if p["mean"]:
            acc = acc * _broadcast(
                float32(p["divisor"]) if "divisor" in p else divisors[pixel], "float32x4"
            )
        return cell.lanes(cell.store(clamped(p["clamp"], acc)), block, p["C"])
    if p["mean"]:
        count, more = (
            map(int32, p["divisor"]) if "divisor" in p else (divisors[pixel, 0], divisors[pixel, 1])
        )
        acc = call("int32x4", "ek_average4", acc + _broadcast(more, "int32x4"), count)
    else:
        acc = acc.astype("int32x4")
    return cell.lanes(call("int8x4", "ek_clamp4", acc, *map(int32, p["clamp"])), block, p["C"])


def _broadcast(value: Any, dtype: str) -> Any:
    from tvm import tirx

    return tirx.Broadcast(value, int(dtype.rpartition("x")[2]))


def _divisors(p: dict[str, Any]) -> list[Any]:
    """The placeholder of a divisor per pixel, where they differ."""
    from tvm import te

    if not p["mean"] or "divisor" in p:
        return []
    pixels = p["OH"] * p["OW"]
    if p["dtype"] in FLOATS:
        return [te.placeholder((pixels,), "float32", name="divisors")]
    return [te.placeholder((pixels, 2), "int32", name="divisors")]


def direct(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te, tirx

    from codegen.tvm_api import all_of, select

    cell = CELLS[p["dtype"]]
    reduce, dtype, outside = _reducer(p)
    x = te.placeholder((p["blocks"], p["H"], p["W"]), cell.memory, name="x")
    kh = te.reduce_axis((0, p["kernel"][0]), "kh")
    kw = te.reduce_axis((0, p["kernel"][1]), "kw")
    columns = p["OW"]

    def window(b: Any, pixel: Any) -> Any:
        ih = _window.row(p, pixel // columns if columns > 1 else pixel, kh)
        iw = _window.column(p, pixel % columns if columns > 1 else 0, kw)
        inside = all_of(_window.row_inside(p, ih), _window.column_inside(p, iw))
        value = cell.load(x[b, ih, iw])
        value = value if cell.vector == dtype else value.astype(dtype)
        return reduce(
            value if inside is True else select(inside, value, tirx.const(outside, dtype)),
            [kh, kw],
        )

    acc = te.compute((p["blocks"], p["OH"] * p["OW"]), window, name="acc")
    tables = _divisors(p)
    y = te.compute(
        acc.shape,
        lambda b, q: _finish(p, cell, acc[b, q], tables[0] if tables else None, q, b),
        name="y",
    )
    sch = s_tir.Schedule(te.create_prim_func([x, *tables, y]))
    block = sch.get_sblock("acc")
    sch.set_scope(block, 0, "local")
    sch.compute_at(block, sch.get_loops(sch.get_sblock("y"))[1], preserve_unit_loops=True)
    bind_pixels(sch, 1)
    sch.decompose_reduction(block, sch.get_loops(block)[-2])
    return sch


def in_a_group(p: dict[str, Any]) -> Any:
    """Each item takes every `ITEMS`-th pixel of four channels, one of them all that they found."""
    from tvm import s_tir, te, tirx

    from codegen.tvm_api import select

    cell = CELLS[p["dtype"]]
    reduce, dtype, outside = _reducer(p)
    pixels = p["H"] * p["W"]
    rounds = -(-pixels // ITEMS)
    x = te.placeholder((p["blocks"], pixels), cell.memory, name="x")
    k, item = te.reduce_axis((0, rounds), "k"), te.reduce_axis((0, ITEMS), "item")

    def share(b: Any, i: Any) -> Any:
        at = k * ITEMS + i
        value = cell.load(x[b, at])
        value = value if cell.vector == dtype else value.astype(dtype)
        if pixels % ITEMS:
            value = select(at < pixels, value, tirx.const(outside, dtype))
        return reduce(value, [k])

    part = te.compute((p["blocks"], ITEMS), share, name="part")
    acc = te.compute((p["blocks"], 1), lambda b, q: reduce(part[b, item], [item]), name="acc")
    y = te.compute(acc.shape, lambda b, q: _finish(p, cell, acc[b, q], None, q, b), name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    b, q = sch.get_loops(sch.get_sblock("y"))
    q, first = sch.split(q, [None, ITEMS])
    sch.bind(b, "blockIdx.x")
    sch.bind(first, "threadIdx.x")
    acc_block, part_block = sch.get_sblock("acc"), sch.get_sblock("part")
    sch.set_scope(acc_block, 0, "local")
    shared = sch.cache_write(part_block, 0, "local")
    sch.set_scope(shared, 0, "shared")
    sch.compute_at(acc_block, first, preserve_unit_loops=True)
    sch.compute_at(shared, b, preserve_unit_loops=True)
    item = sch.get_loops(shared)[-1]
    sch.bind(item, "threadIdx.x")
    sch.compute_at(part_block, item, preserve_unit_loops=True)
    for block in (acc_block, part_block):
        sch.decompose_reduction(block, sch.get_loops(block)[-1])
    return sch


MAKERS = (Maker("pools", ("average_pool2d", "max_pool2d"), variants),)
