"""im2col: the windows of all pixels as columns of a matrix, in blocks of four channels.

Kernel row, kernel column and input block together are the blocks of the columns, so that what is
left is a convolution that looks at one pixel at a time (`_direct`), with the same weights.
"""

from __future__ import annotations

from typing import Any

from codegen.gpu.layout import BLOCK

#: Pixels that an item copies.
PIXELS = 4


def blocks(p: dict[str, Any]) -> int:
    """Blocks of a column."""
    return int(p["kernel"][0] * p["kernel"][1] * p["XB"])


def scratch_bytes(p: dict[str, Any]) -> int:
    return int(blocks(p) * BLOCK * p["OH"] * p["OW"])


def schedule(p: dict[str, Any]) -> Any:
    """The copy; `p` as for `_direct`."""
    from tvm import s_tir, te

    from codegen.gpu.layers import _shapes

    (_, kw), (sh, sw), (dh, dw) = p["kernel"], p["strides"], p["dilations"]
    x = _shapes.operands(p)[0]
    xp = _shapes.padded(p, x, p["OW"])

    def pixel(k: Any, m: Any) -> Any:
        i, j, c = k // (kw * p["XB"]), k // p["XB"] % kw, k % p["XB"]
        row, column = m // p["OW"], m % p["OW"]
        return xp[c, row * sh + i * dh, column * sw + j * dw]

    y = te.compute((blocks(p), p["OH"] * p["OW"]), pixel, name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, y]))
    sch.compute_inline(sch.get_sblock("xp"))
    k, m = sch.get_loops(sch.get_sblock("y"))
    sch.bind(k, "blockIdx.y")
    sch.bind(m, "blockIdx.x")
    return sch
