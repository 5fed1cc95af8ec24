"""softmax over channels: an item makes four channels of a pixel, and the sum of all for itself.

That is more work than sharing the sum out, and needs no barrier: there are few channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.gpu.emit import launch
from codegen.gpu.kernel import Maker, Place, Variant
from codegen.gpu.layers._cells import CELLS, cell_of, layout_of
from codegen.gpu.layers.elements import FLOATS
from codegen.gpu.layout import BLOCK
from codegen.kernel import Layer
from edgekit.ops.requant import softmax_params


def variants(layer: Layer) -> list[Variant]:
    dtype = cell_of(layer, *CELLS)
    layout = layout_of(layer.inputs[0])
    p: dict[str, Any] = {
        "dtype": dtype,
        "C": layout.channels,
        "blocks": layout.blocks,
        "P": layout.pixels,
    }
    if dtype in FLOATS:
        p["beta"] = float(np.float32(layer.node.attrs.get("beta", 1.0)))
        run = launch("softmax_float", of_floats, p, (Place("input"), Place("output")))
        return [Variant("direct", (run,))]
    table = softmax_params(layer.node, list(layer.inputs), layer.output).exp_table
    arguments = (Place("input"), Place("constant", name="table"), Place("output"))
    run = launch("softmax_direct", of_integers, p, arguments)
    return [Variant("direct", (run,), {"table": table.astype(np.int32)})]


def of_integers(p: dict[str, Any]) -> Any:
    from tvm import te

    from codegen.tvm_api import call

    x = te.placeholder((p["blocks"], p["P"], BLOCK), "int8", name="x")
    table = te.placeholder((256,), "int32", name="table")
    largest = _over_channels(
        p, "largest", "int32", lambda b, q, i: x[b, q, i].astype("int32"), te.max
    )

    def exponential(b: Any, q: Any, of: Any, i: Any) -> Any:
        # The gap of the last block is no channel: its difference may be any.
        difference = largest[of, q] - x[b, q, i].astype("int32")
        return table[te.max(difference, 0) if p["C"] % BLOCK else difference]

    total = _over_channels(
        p, "total", "int32",
        lambda b, q, i, of: call("int32", "ek_softmax_term", exponential(b, q, of, i)), te.sum,
    )  # fmt: skip
    shape = (p["blocks"], p["P"])

    def of_total(name: str) -> Any:
        def number(b: Any, q: Any) -> Any:
            return call("int32", f"ek_softmax_{name}", total[b, q])

        return te.compute(shape, number, name=name)

    scale, shift = of_total("scale"), of_total("shift")

    def block(b: Any, q: Any) -> Any:
        shares = (
            call("int8", "ek_softmax_value", exponential(b, q, b, i), scale[b, q], shift[b, q])
            for i in range(BLOCK)
        )
        cell = CELLS["int8"]
        return cell.lanes(cell.of_scalars(*shares), b, p["C"])

    y = te.compute(shape, block, name="y")
    return _scheduled([x, table, y], ("shift", "scale", "total", "largest"))


def of_floats(p: dict[str, Any]) -> Any:
    from tvm import te

    from codegen.tvm_api import call, float32

    cell = CELLS[p["dtype"]]
    x = te.placeholder((p["blocks"], p["P"], BLOCK), cell.scalar, name="x")

    def scaled(b: Any, q: Any, i: Any) -> Any:
        value = x[b, q, i]
        if p["dtype"] == "float16":
            value = call("float32", "ek_from_half", value)
        return value if p["beta"] == 1.0 else value * float32(p["beta"])

    largest = _over_channels(p, "largest", "float32", scaled, te.max)

    def exponential(b: Any, q: Any, of: Any, i: Any) -> Any:
        return call("float32", "ek_expf", scaled(b, q, i) - largest[of, q])

    total = _over_channels(
        p, "total", "float32", lambda b, q, i, of: exponential(b, q, of, i), te.sum
    )
    shape = (p["blocks"], p["P"])
    inverse = te.compute(shape, lambda b, q: float32(1.0) / total[b, q], name="inverse")

    def block(b: Any, q: Any) -> Any:
        shares = (exponential(b, q, b, i) * inverse[b, q] for i in range(BLOCK))
        return cell.lanes(cell.store(call("float32x4", "ek_float4", *shares)), b, p["C"])

    y = te.compute(shape, block, name="y")
    return _scheduled([x, y], ("inverse", "total", "largest"))


def _over_channels(p: dict[str, Any], name: str, dtype: str, value: Any, reduce: Any) -> Any:
    """A number for each item: `value(block, pixel, lane[, own block])` over all channels."""
    from tvm import te

    c = te.reduce_axis((0, p["C"]), f"c_{name}")

    def over(b: Any, q: Any) -> Any:
        places = (c // BLOCK, q, c % BLOCK)
        return reduce(value(*places, b) if name == "total" else value(*places), axis=[c])

    return te.compute((p["blocks"], p["P"]), over, name=name)


def _scheduled(tensors: list[Any], names: tuple[str, ...]) -> Any:
    """All numbers in registers; `names` are stages, last to first."""
    from tvm import s_tir, te

    sch = s_tir.Schedule(te.create_prim_func(tensors))
    b, q = sch.get_loops(sch.get_sblock("y"))
    for name in names:
        block = sch.get_sblock(name)
        sch.set_scope(block, 0, "local")
        sch.compute_at(block, q, preserve_unit_loops=True)
    sch.bind(b, "blockIdx.y")
    sch.bind(q, "blockIdx.x")
    for name in ("largest", "total"):
        block = sch.get_sblock(name)
        sch.decompose_reduction(block, sch.get_loops(block)[-1])
    return sch


MAKERS = (Maker("softmax", ("softmax",), variants),)
