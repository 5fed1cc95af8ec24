"""Convolution in tiles of four inner products, for cores without the DSP extension.

Two pixels meet two output channels at a time (``ek_tile_2x2``), or, where there is one pixel, one
meets four (``ek_tile_1x4``): fewer loads per multiplication, and no bounds in the inner loop. The
taps of a pixel are a row of `Tiles.taps` elements. Where a window is one pixel those lie in the
input; elsewhere they are first gathered into a patch, padding as the zero point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.schedules import _requant, _sparse, _window


class Tiles:
    """How a conv2d with parameters `p` is cut into tiles."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        kh, kw = p["kernel"]
        self.row_taps = kw * p["C"]
        self.taps = kh * self.row_taps
        self.count = p["OH"] * p["OW"]
        self.pixels, self.channels = (1, 4) if self.count == 1 else (2, 2)
        self.groups = -(-p["O"] // self.channels)
        whole = (kh, kw) == (1, 1) and p["strides"] == [1, 1] and not _window.padded(p)
        #: The last pixel of an odd number is computed twice, which takes a patch.
        self.patch = not whole or self.count % self.pixels != 0

    @property
    def applies(self) -> bool:
        """TVM drops loops of one iteration, and the intrinsic with them."""
        return bool(self.p["groups"] == 1 and self.p["weight_bits"] == 8 and self.taps > 1)

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """int8 [O, taps] as the kernel reads it: [groups, channels, taps], zeros at the end."""
        rows = np.zeros((self.groups * self.channels, self.taps), np.int8)
        rows[: len(weights)] = weights
        return rows.reshape(self.groups, self.channels, self.taps)


def schedule(p: dict[str, Any]) -> Any:
    """Schedule of conv2d (c99); `p` as `conv2d._params` and `_requant.params` give it."""
    from tvm import s_tir, te

    from codegen.tile_intrinsic import tile

    size = Tiles(p)
    tiles = -(-size.count // size.pixels)
    # The intrinsic wants two rows where it reads two pixels in place.
    one_axis = size.patch or size.pixels == 1
    shape = (p["H"] * p["W"] * p["C"],) if one_axis else (size.count, size.taps)
    x = te.placeholder(shape, p["x_dtype"], name="x")
    w = te.placeholder((size.groups, size.channels, size.taps), "int8", name="w")
    rq = te.placeholder((p["O"], 3), "int32", name="rq")
    rows = _rows(size, x, tiles)
    k = te.reduce_axis((0, size.taps), "k")
    one = size.pixels == 1

    def product(t: Any, q: Any, *rest: Any) -> Any:
        i, j = (0, *rest) if one else rest
        a = rows(t, i, k).astype("int32")
        return te.sum(a * w[q, j, k].astype("int32"), axis=[k])

    inner = (size.channels,) if one else (size.pixels, size.channels)
    acc = te.compute((tiles, size.groups, *inner), product, name="acc")

    def result(m: Any, o: Any) -> Any:
        at = (o % size.channels,) if one else (m % size.pixels, o % size.channels)
        total = acc[(m // size.pixels, o // size.channels, *at)]
        return _requant.apply_portable(p, total, rq, o)

    y = te.compute((size.count, p["O"]), result, name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    block = sch.get_sblock("acc")
    cache = _sparse.cache_weights(p, sch, block)
    m, o = sch.get_loops(sch.get_sblock("y"))
    pair, pixel = sch.split(m, [None, size.pixels])
    group, channel = sch.split(o, [None, size.channels])
    blocks, group = _sparse.split_rows(p, sch, group)
    sch.reorder(*blocks, pair, group, pixel, channel)
    sch.compute_at(block, group, preserve_unit_loops=True)
    if size.patch:
        _gather_at(size, sch, pair)
    sch.unroll(pixel)
    sch.unroll(channel)
    _sparse.decode_at(p, sch, cache, blocks)
    loop = sch.get_loops(block)[-2 if one else -3]
    init = sch.decompose_reduction(block, loop)
    for inside in sch.get_loops(init)[-1 if one else -2 :]:
        sch.unroll(inside)
    sch.tensorize(loop, tile(size.pixels, size.channels, size.taps, p["x_dtype"]))
    return sch


def _rows(size: Tiles, x: Any, tiles: int) -> Any:
    """How tap `k` of pixel `i` of tile `t` is read."""
    from tvm import te, tirx

    from codegen.tvm_api import all_of, select

    p = size.p
    if not size.patch:
        return lambda t, i, k: x[k] if size.pixels == 1 else x[t * size.pixels + i, k]
    outside = tirx.const(p["zx"], p["x_dtype"])

    def gather(t: Any, i: Any, tap: Any) -> Any:
        pixel = te.min(t * size.pixels + i, size.count - 1)
        oh, ow = pixel // p["OW"], pixel % p["OW"]
        kh, j = tap // size.row_taps, tap % size.row_taps
        ih = _window.row(p, oh, kh)
        if p["dilations"][1] != 1 or p["C"] % 4 == 0:
            iw, c = _window.column(p, ow, j // p["C"]), j % p["C"]
            inside = all_of(_window.row_inside(p, ih), _window.column_inside(p, iw))
            at = (ih * p["W"] + iw) * p["C"] + c
        else:  # a row of taps is one run: no division by the number of channels
            run = _window.column(p, ow, 0) * p["C"] + j
            inside = all_of(_window.row_inside(p, ih), *_window.run_inside(p, run))
            at = ih * p["W"] * p["C"] + run
        return x[at] if inside is True else select(inside, x[at], outside)

    patch = te.compute((tiles, size.pixels, size.taps), gather, name="patch")
    return lambda t, i, k: patch[t, i, k]


def _gather_at(size: Tiles, sch: Any, loop: Any) -> None:
    """Gather the patches of a tile once for all channels."""
    patch = sch.get_sblock("patch")
    sch.compute_at(patch, loop, preserve_unit_loops=True)
    taps = sch.split(sch.get_loops(patch)[-1], [None, size.row_taps])[1]
    if size.p["dilations"][1] != 1 or size.p["C"] % 4 == 0:
        sch.split(taps, [None, size.p["C"]])
