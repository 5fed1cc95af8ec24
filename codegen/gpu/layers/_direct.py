"""Convolution in registers: an item makes four channels of a few pixels of one row.

It multiplies four input channels by sixteen weights at a time. "mad" spreads each input channel
over four output channels; "dot" adds up four products for each output channel, which devices with a
dot product of bytes do in one instruction.
"""

from __future__ import annotations

from typing import Any

from codegen.gpu.layers import _requant, _shapes

#: Pixels of an item: eight accumulators of four would be more registers than small GPUs have.
PIXELS = 4
#: For devices that spill with so many: half the tile made ExecuTorch's int8 products three times
#: faster on a Mali-G76 (pytorch/executorch, pull request 22909).
FEWER_PIXELS = 2
PRODUCTS = {"mad": "ek_mad4", "dot": "ek_dot4x4"}


def schedule(p: dict[str, Any]) -> Any:
    """`p` as `_shapes.window` and `_requant.params` give it, "pixels" and "product"."""
    from tvm import s_tir, te

    from codegen.tvm_api import call

    n = p["pixels"]
    columns = -(-p["OW"] // n) * n
    (kh, kw), (sh, sw), (dh, dw) = p["kernel"], p["strides"], p["dilations"]
    x, w, rq = _shapes.operands(p)
    xp = _shapes.padded(p, x, columns)
    c, i, j = (te.reduce_axis((0, e), s) for e, s in ((p["CB"], "c"), (kh, "i"), (kw, "j")))
    acc = te.compute(
        (p["OB"], p["OH"], columns),
        lambda o, r, q: te.sum(
            call(
                "int32x4",
                PRODUCTS[p["product"]],
                xp[_shapes.block(p, o, c), r * sh + i * dh, q * sw + j * dw],
                w[o, i, j, c],
            ),
            axis=[i, c, j],
        ),
        name="acc",
    )
    y = _requant.result(p, acc, rq)
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    block = _shapes.sums_of_item(sch, n)
    *_, pixels, i, c, j = sch.get_loops(block)
    sch.reorder(i, c, j, pixels)
    _shapes.rows_of_item(p, sch, c, j)
    sch.compute_at(sch.cache_read(block, 1, "local"), j)
    init = sch.decompose_reduction(block, i)
    sch.unroll(sch.get_loops(init)[-1])
    sch.unroll(pixels)
    return sch
