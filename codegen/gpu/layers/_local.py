"""Convolution with tiles of the input and of the weights in local memory.

The items of a group make a block of pixels for several blocks of output channels. They load what
they all read, a few input blocks at a time, into local memory, wait for each other, and multiply
from there.
"""

from __future__ import annotations

from typing import Any

from codegen.gpu.layers import _requant, _shapes
from codegen.gpu.layers._direct import PRODUCTS
from codegen.gpu.layout import BLOCK
from codegen.kernel import NotApplicable

#: Items of a group, and the most of them along a row and over output blocks.
ITEMS, ALONG, DEEP = 64, 8, 8
#: Local memory that a tile may take: half of what the smallest devices have, for two groups.
MOST_BYTES = 16384


def tile(p: dict[str, Any]) -> dict[str, Any]:
    """The group's shape: "items" along a row, over rows and over blocks, and "chunk" input blocks.

    Raises:
        NotApplicable: where a tile would be larger than the local memory.
    """
    if p["groups"] > 1:
        raise NotApplicable(f"{p['groups']} groups")
    own = items(p)
    for chunk in (8, 4, 2, 1):
        if p["CB"] % chunk == 0 and local_bytes(p, own, chunk) <= MOST_BYTES:
            return {"items": own, "chunk": chunk}
    raise NotApplicable(f"a tile takes more than {MOST_BYTES} B of local memory")


def items(p: dict[str, Any]) -> list[int]:
    """Items of a group along a row, over rows, and over output blocks, of which it makes all."""
    along = _power_of_two(whole(p["OW"], p["pixels"]) // p["pixels"], ALONG)
    deep = next(n for n in (DEEP, 4, 2, 1) if p["OB"] % n == 0)
    return [along, _power_of_two(p["OH"], ITEMS // (along * deep)), deep]


def whole(count: int, step: int) -> int:
    """`count` rounded up to a multiple of `step`."""
    return -(-count // step) * step


def _power_of_two(count: int, most: int) -> int:
    """The least that is not below `count`, or the greatest up to `most`."""
    return min(1 << (count - 1).bit_length(), 1 << (most.bit_length() - 1))


def patch(p: dict[str, Any], items: list[int]) -> tuple[int, int]:
    """Rows and columns of the input that a group reads."""
    rows = (items[1] - 1) * p["strides"][0] + (p["kernel"][0] - 1) * p["dilations"][0] + 1
    columns = items[0] * p["pixels"] - 1
    return rows, columns * p["strides"][1] + (p["kernel"][1] - 1) * p["dilations"][1] + 1


def patch_bytes(p: dict[str, Any], items: list[int]) -> int:
    """Local memory for one input block of it."""
    rows, columns = patch(p, items)
    return rows * columns * BLOCK


def local_bytes(p: dict[str, Any], items: list[int], chunk: int) -> int:
    weights = items[2] * p["kernel"][0] * p["kernel"][1] * BLOCK * BLOCK
    return chunk * (patch_bytes(p, items) + weights)


def schedule(p: dict[str, Any]) -> Any:
    """`p` as for `_direct`, and what `tile` gives."""
    from tvm import s_tir, te

    from codegen.tvm_api import call

    n, (along, high, _) = p["pixels"], p["items"]
    columns, rows = whole(p["OW"], n * along), whole(p["OH"], high)
    (kh, kw), (sh, sw), (dh, dw) = p["kernel"], p["strides"], p["dilations"]
    x, w, rq = _shapes.operands(p)
    xp = _shapes.padded(p, x, columns, rows)
    c, i, j = (te.reduce_axis((0, e), s) for e, s in ((p["CB"], "c"), (kh, "i"), (kw, "j")))
    # Tails included: items of a group that wait for each other do all the same.
    acc = te.compute(
        (p["OB"], rows, columns),
        lambda o, r, q: te.sum(
            call(
                "int32x4",
                PRODUCTS[p["product"]],
                xp[c, r * sh + i * dh, q * sw + j * dw],
                w[o, i, j, c],
            ),
            axis=[c, i, j],
        ),
        name="acc",
    )
    y = _requant.result(p, acc, rq)
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    item = bind_tile(sch, p["items"], n)
    block = sch.get_sblock("acc")
    sch.set_scope(block, 0, "local")
    sch.compute_at(block, item, preserve_unit_loops=True)
    *_, pixels, c, i, j = sch.get_loops(block)
    outer, inner = sch.split(c, [None, p["chunk"]])
    sch.reorder(outer, i, j, inner, pixels)
    stage = sch.get_sblock("xp")
    sch.set_scope(stage, 0, "shared")
    weights = sch.cache_read(block, 1, "shared")
    for shared in (stage, weights):
        sch.compute_at(shared, outer, preserve_unit_loops=True)
        load_together(sch, shared, len(sch.get_loops(block)) - 4, p["items"])
    sch.compute_at(sch.cache_read(block, 1, "local"), inner)
    init = sch.decompose_reduction(block, outer)
    sch.unroll(sch.get_loops(init)[-1])
    sch.unroll(pixels)
    return sch


def bind_tile(sch: Any, items: list[int], pixels: int) -> Any:
    """Share out the result's loops among groups and items; returns the innermost loop of an item,
    around its pixels."""
    along, high, deep = items
    o, r, q = sch.get_loops(sch.get_sblock("y"))
    (oo, oi), (ro, ri) = sch.split(o, [None, deep]), sch.split(r, [None, high])
    qo, qi, pixel = sch.split(q, [None, along, pixels])
    sch.reorder(oo, ro, qo, oi, ri, qi, pixel)
    for axis, group, item in (("z", oo, oi), ("y", ro, ri), ("x", qo, qi)):
        sch.bind(group, f"blockIdx.{axis}")
        sch.bind(item, f"threadIdx.{axis}")
    sch.unroll(pixel)
    return qi


def load_together(sch: Any, block: Any, depth: int, items: list[int]) -> None:
    """Let all items of the group share a copy into local memory, whose own loops are below `depth`
    others; neighbours copy neighbours."""
    along, high, deep = items
    own = sch.fuse(*sch.get_loops(block)[depth:])
    _, z, y, x = sch.split(own, [None, deep, high, along])
    for axis, loop in (("z", z), ("y", y), ("x", x)):
        sch.bind(loop, f"threadIdx.{axis}")
