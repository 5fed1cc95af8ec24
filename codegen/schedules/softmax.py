"""softmax: exponentials by difference to the maximum, a fixed-point reciprocal.

Rows of more than `DIRECT` elements, and more than `FEW` of them in all, take the exponentials from
a table of 1 KB; for fewer ones computing them costs less flash than it takes time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.int8 import integers_only
from codegen.kernel import Candidate, Family, KernelSpec, Layer, Operand
from codegen.overlap import element_steps, sharing
from edgekit.ops.fixedpoint import TABLE_STEPS
from edgekit.ops.requant import SOFTMAX_SUM_BITS, softmax16_params, softmax_params

#: Elements of a row up to which exponentials are computed.
DIRECT = 32
#: Elements of all rows up to which they are; attention has many short rows.
FEW = 128


def _select(layer: Layer) -> Candidate:
    integers_only(layer)
    if layer.output.dtype == "int16":
        return _select16(layer)
    width = layer.output.shape[-1]
    params = softmax_params(layer.node, list(layer.inputs), layer.output)
    x = Operand("x", "int8", layer.inputs[0].size, "input")
    y = Operand("y", "int8", layer.output.size, "output")
    shape = {"rows": layer.output.size // width, "width": width}
    if width > DIRECT or layer.output.size > FEW:
        table = Operand("table", "int32", 256, "constant")
        spec = KernelSpec("softmax", "c99", (x, table, y), shape)
        return _shared(layer, spec, {"table": params.exp_table})
    numbers = {
        "multiplier": params.multiplier,
        "left_shift": params.left_shift,
        "radius": min(-params.diff_min, 255),
    }
    return _shared(layer, KernelSpec("softmax", "c99", (x, y), {**shape, **numbers}), {})


def _select16(layer: Layer) -> Candidate:
    width = layer.output.shape[-1]
    params = softmax16_params(layer.node, list(layer.inputs), layer.output)
    entries = params.exp_table.size
    spec = KernelSpec(
        "softmax",
        "c99",
        (
            Operand("x", "int16", layer.inputs[0].size, "input"),
            Operand("exponentials", "int16", entries, "constant"),
            Operand("reciprocals", "int16", entries, "constant"),
            Operand("y", "int16", layer.output.size, "output"),
        ),
        {
            "rows": layer.output.size // width,
            "width": width,
            "multiplier": params.multiplier,
            "shift": params.shift,
            **layer.types,
        },
    )
    tables = {"exponentials": params.exp_table, "reciprocals": params.reciprocal_table}
    return _shared(layer, spec, tables)


def _shared(layer: Layer, spec: KernelSpec, tables: dict[str, np.ndarray]) -> Candidate:
    # Maximum and sum of a row are there before its first result, and the result of an element is
    # the last that needs the element.
    read = np.arange(layer.output.size)
    steps = element_steps(read, layer.inputs[0].dtype, layer.output.dtype)
    return sharing(Candidate(spec, (layer.inputs[0].name,), tables), steps)


def _schedule(p: dict[str, Any]) -> Any:
    return _schedule16(p) if p.get("y_dtype") == "int16" else _schedule8(p)


def _rows(sch: Any, names: tuple[str, ...]) -> Any:
    """Everything of a row before its results: `names` last to first."""
    row = sch.get_loops(sch.get_sblock("y"))[0]
    for name in names:
        sch.compute_at(sch.get_sblock(name), row, preserve_unit_loops=True)
    for name in ("total", "largest"):
        block = sch.get_sblock(name)
        sch.decompose_reduction(block, sch.get_loops(block)[-1])
    return sch


def _schedule16(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    from codegen.tvm_api import call, int32

    rows, width = p["rows"], p["width"]
    entries = TABLE_STEPS + 1
    x = te.placeholder((rows, width), "int16", name="x")
    exponentials = te.placeholder((entries,), "int16", name="exponentials")
    reciprocals = te.placeholder((entries,), "int16", name="reciprocals")
    i, j = te.reduce_axis((0, width), "i"), te.reduce_axis((0, width), "j")
    largest = te.compute((rows,), lambda r: te.max(x[r, i].astype("int32"), axis=i), name="largest")

    def at(r: Any, c: Any) -> Any:
        difference = x[r, c].astype("int32") - largest[r]
        return call(
            "int32", "ek_softmax16_at", difference, int32(p["multiplier"]), int32(p["shift"])
        )

    def interpolated(table: Any, place: Any) -> Any:
        entry = (place >> 7) + TABLE_STEPS // 2
        return call("int32", "ek_interpolate", table[entry], table[entry + 1], place & 127)

    place = te.compute((rows, width), at, name="place")
    e = te.compute((rows, width), lambda r, c: interpolated(exponentials, place[r, c]), name="e")
    total = te.compute((rows,), lambda r: te.sum(e[r, j], axis=j), name="total")
    inverse = te.compute(
        (rows,), lambda r: call("int32", "ek_softmax16_inverse_at", total[r]), name="inverse"
    )
    scale = te.compute((rows,), lambda r: interpolated(reciprocals, inverse[r]), name="scale")
    shift = te.compute(
        (rows,), lambda r: call("int32", "ek_softmax16_shift", total[r]), name="shift"
    )
    y = te.compute(
        (rows, width),
        lambda r, c: call("int16", "ek_softmax16_value", e[r, c], scale[r], shift[r]),
        name="y",
    )
    sch = s_tir.Schedule(te.create_prim_func([x, exponentials, reciprocals, y]))
    return _rows(sch, ("shift", "scale", "inverse", "total", "e", "place", "largest"))


def _schedule8(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    from codegen.tvm_api import call, int32

    rows, width = p["rows"], p["width"]
    x = te.placeholder((rows, width), "int8", name="x")
    direct = "radius" in p
    table = te.placeholder((256,), "int32", name="table")
    i, j = te.reduce_axis((0, width), "i"), te.reduce_axis((0, width), "j")
    largest = te.compute((rows,), lambda r: te.max(x[r, i].astype("int32"), axis=i), name="largest")

    def exponential(r: Any, c: Any) -> Any:
        difference = largest[r] - x[r, c].astype("int32")
        if not direct:
            return table[difference]
        numbers = (int32(p[name]) for name in ("multiplier", "left_shift", "radius"))
        return call("int32", "ek_softmax_exp", difference, *numbers)

    e = te.compute((rows, width), exponential, name="e") if direct else None

    def of(r: Any, c: Any) -> Any:
        return exponential(r, c) if e is None else e[r, c]

    def rounded(e: Any) -> Any:
        # Half up, in a form that does not overflow at the largest exponential.
        return (e >> SOFTMAX_SUM_BITS) + ((e >> (SOFTMAX_SUM_BITS - 1)) & 1)

    total = te.compute((rows,), lambda r: te.sum(rounded(of(r, j)), axis=j), name="total")
    scale = te.compute((rows,), lambda r: call("int32", "ek_softmax_scale", total[r]), name="scale")
    shift = te.compute((rows,), lambda r: call("int32", "ek_softmax_shift", total[r]), name="shift")
    y = te.compute(
        (rows, width),
        lambda r, c: call("int8", "ek_softmax_value", of(r, c), scale[r], shift[r]),
        name="y",
    )
    if direct:
        sch = s_tir.Schedule(te.create_prim_func([x, y]))
        return _rows(sch, ("shift", "scale", "total", "e", "largest"))
    sch = s_tir.Schedule(te.create_prim_func([x, table, y]))
    return _rows(sch, ("shift", "scale", "total", "largest"))


FAMILIES = {"c99": Family(_select, _schedule)}
