"""Rows against weights where there are few results: the items of a group share out the products.

Item l of a group adds up every `lanes`-th input block for one pixel and one output block; one item
for each then adds up their sums.
"""

from __future__ import annotations

from typing import Any

from codegen.gpu.layers import _requant, _shapes
from codegen.gpu.layers._direct import PRODUCTS
from codegen.kernel import NotApplicable

#: Items that share a sum, output blocks of a group, and the fewest input blocks worth sharing.
LANES, DEEP, FEWEST = 16, 4, 8
#: With more pixels than these there is enough to do for all items of a device.
MOST_PIXELS = 4


def tile(p: dict[str, Any]) -> dict[str, Any]:
    """Raises NotApplicable where it does not pay."""
    if p["OH"] * p["OW"] > MOST_PIXELS or p["CB"] < FEWEST or p["H"] > 1 or p["kernel"] != [1, 1]:
        raise NotApplicable("enough to do without shared sums")
    deep = next(n for n in (DEEP, 2, 1) if p["OB"] % n == 0)
    return {"lanes": LANES if p["CB"] >= LANES else FEWEST, "deep": deep}


def schedule(p: dict[str, Any]) -> Any:
    """`p` as for `_direct`, and what `tile` gives."""
    from tvm import s_tir, te, tirx

    from codegen.tvm_api import call, select

    lanes, deep = p["lanes"], p["deep"]
    steps = -(-p["CB"] // lanes)
    x, w, rq = _shapes.operands(p)
    k = te.reduce_axis((0, steps), "k")

    def product(o: Any, q: Any, block: Any) -> Any:
        pair = (x[block, 0, q], w[o, 0, 0, block])
        value = call("int32x4", PRODUCTS[p["product"]], *pair)
        if steps * lanes == p["CB"]:
            return value
        return select(block < p["CB"], value, tirx.const(0, "int32x4"))

    parts = te.compute(
        (p["OB"], p["OW"], lanes),
        lambda o, q, lane: te.sum(product(o, q, k * lanes + lane), axis=k),
        name="parts",
    )
    lane = te.reduce_axis((0, lanes), "l")
    acc = te.compute(
        (p["OB"], p["OH"], p["OW"]),
        lambda o, r, q: te.sum(parts[o, q, lane], axis=lane),
        name="acc",
    )
    y = _requant.result(p, acc, rq)
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    result, total, own = (sch.get_sblock(name) for name in ("y", "acc", "parts"))
    o, r, q = sch.get_loops(result)
    group, item = sch.split(o, [None, deep])
    sch.reorder(q, group, r, item)
    # One of the lanes does the rest.
    _, only = sch.split(r, [None, lanes])
    for loop, axis in ((q, "blockIdx.y"), (group, "blockIdx.x"), (item, "threadIdx.y"),
                       (only, "threadIdx.x")):  # fmt: skip
        sch.bind(loop, axis)
    sch.set_scope(total, 0, "local")
    sch.compute_at(total, item, preserve_unit_loops=True)
    # Each item's sum in registers, then where the others see it.
    shared = sch.cache_write(own, 0, "local")
    sch.set_scope(shared, 0, "shared")
    sch.compute_at(shared, group, preserve_unit_loops=True)
    *_, deep_loop, _, lane_loop = sch.get_loops(shared)
    sch.bind(deep_loop, "threadIdx.y")
    sch.bind(lane_loop, "threadIdx.x")
    sch.compute_at(own, lane_loop, preserve_unit_loops=True)
    sch.decompose_reduction(own, sch.get_loops(own)[-1])
    sch.decompose_reduction(total, sch.get_loops(total)[-1])
    return sch
