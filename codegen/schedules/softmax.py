"""softmax: exponentials from a table by difference to the maximum, a fixed-point reciprocal."""

from __future__ import annotations

from typing import Any

from codegen.kernel import Candidate, Family, KernelSpec, Layer, Operand
from edgekit.ops.requant import SOFTMAX_SUM_BITS, softmax_params


def _select(layer: Layer) -> Candidate:
    width = layer.output.shape[-1]
    params = softmax_params(layer.node, list(layer.inputs), layer.output)
    spec = KernelSpec(
        "softmax",
        "c99",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("table", "int32", 256, "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        {"rows": layer.output.size // width, "width": width},
    )
    return Candidate(spec, (layer.inputs[0].name,), {"table": params.exp_table})


def _schedule(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    from codegen.tvm_api import call

    rows, width = p["rows"], p["width"]
    x = te.placeholder((rows, width), "int8", name="x")
    table = te.placeholder((256,), "int32", name="table")
    i, j = te.reduce_axis((0, width), "i"), te.reduce_axis((0, width), "j")
    largest = te.compute((rows,), lambda r: te.max(x[r, i].astype("int32"), axis=i), name="largest")

    def exponential(r: Any, c: Any) -> Any:
        return table[largest[r] - x[r, c].astype("int32")]

    def rounded(e: Any) -> Any:
        # Half up, in a form that does not overflow at the largest exponential.
        return (e >> SOFTMAX_SUM_BITS) + ((e >> (SOFTMAX_SUM_BITS - 1)) & 1)

    total = te.compute((rows,), lambda r: te.sum(rounded(exponential(r, j)), axis=j), name="total")
    scale = te.compute((rows,), lambda r: call("int32", "ek_softmax_scale", total[r]), name="scale")
    shift = te.compute((rows,), lambda r: call("int32", "ek_softmax_shift", total[r]), name="shift")
    y = te.compute(
        (rows, width),
        lambda r, c: call("int8", "ek_softmax_value", exponential(r, c), scale[r], shift[r]),
        name="y",
    )
    sch = s_tir.Schedule(te.create_prim_func([x, table, y]))
    row = sch.get_loops(sch.get_sblock("y"))[0]
    for name in ("shift", "scale", "total", "largest"):
        sch.compute_at(sch.get_sblock(name), row, preserve_unit_loops=True)
    for name in ("total", "largest"):
        block = sch.get_sblock(name)
        sch.decompose_reduction(block, sch.get_loops(block)[-1])
    return sch


FAMILIES = {"c99": Family(_select, _schedule)}
