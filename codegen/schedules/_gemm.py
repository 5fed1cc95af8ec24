"""Convolution as a matrix product over packed pixels, for SMLAD.

The taps of one pixel are `K` numbers: kernel rows one after the other, each kernel_width * C of
them rounded up to a multiple of four (the gap has zero weights). int8 is widened once to int16
pairs, doubled (`codegen.tensor_intrinsics.pack4`), int16 is copied to pairs as it is; the pairs
then meet the weights of every output channel:

* five pixels against one channel at a time (`dot_5x1`) where there are five pixels or more;
* one pixel against four channels at a time (`dot_1x4`) elsewhere, fully connected included.

Where windows reach into padding or rows are not word-sized, the taps of a pixel are first gathered
into a patch; otherwise they are read in place.

SXTB16 widens the bytes 0 and 2 of a word, then 1 and 3. So a pair of int8 activations is made of
taps 0 and 2; pairs of int16 keep the order of taps, and their weights are stored as 0, 2, 1, 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.schedules import _requant, _sparse, _window
from codegen.schedules._int4 import pack_nibbles

TILE = 5


class Rows:
    """How the taps of a pixel are laid out for parameters `p` of a conv2d."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        kh, kw = p["kernel"]
        self.row_taps = kw * p["C"]
        self.wide = p["x_dtype"] == "int16"
        # At least two steps in all: TVM drops loops of one step, and intrinsics with them.
        per_step = self.weights_per_step = 8 if p["weight_bits"] == 4 else 4
        rows = max(-(-self.row_taps // per_step), 2 if kh == 1 else 1)
        self.row_bytes = rows * per_step
        self.bytes = kh * self.row_bytes
        self.words = self.bytes // 4
        self.steps = self.bytes // per_step
        self.pixels = p["OH"] * p["OW"]
        self.tiled = self.pixels >= TILE
        self.aligned = p["C"] % 4 == 0
        self.patch = _window.padded(p) or not self.aligned or self.row_bytes != self.row_taps

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """int8 [O, KH, KW, C] as the kernel reads it: [O, K], or [O/4, K/4, 4, 4] untiled.

        Four-bit weights go eight to a word: weight 4 + j above weight j in byte j.
        """
        out, kh, _, _ = weights.shape
        rows = np.zeros((out, kh, self.row_bytes), np.int8)
        rows[:, :, : self.row_taps] = weights.reshape(out, kh, -1)
        if self.wide:
            rows = rows.reshape(out, -1, 4)[:, :, [0, 2, 1, 3]]
        words = rows.reshape(out, self.steps, -1)
        if self.weights_per_step == 8:
            words = pack_nibbles(words[..., :4], words[..., 4:])
        if self.tiled:
            return np.ascontiguousarray(words.reshape(out, -1))
        quads = np.zeros((-(-out // 4) * 4, self.steps, 4), np.int8)
        quads[:out] = words
        packed: np.ndarray = quads.reshape(-1, 4, self.steps, 4).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(packed)


def schedule(p: dict[str, Any]) -> Any:
    """Schedule of conv2d (arm_dsp); `p` as `conv2d._params` and `_requant.params` give it."""
    return _tiled(p, Rows(p)) if Rows(p).tiled else _single(p, Rows(p))


def _locate(p: dict[str, Any], rows: Rows, pixel: Any, byte: Any) -> tuple[Any, Any]:
    """TE expressions: where byte `byte` of the taps of `pixel` lies in x, and whether it does."""
    from codegen.tvm_api import all_of

    oh, ow = pixel // p["OW"], pixel % p["OW"]
    kh, j = byte // rows.row_bytes, byte % rows.row_bytes
    ih = _window.row(p, oh, kh)
    row_length = p["W"] * p["C"]
    gap = True if rows.row_bytes == rows.row_taps else j < rows.row_taps
    if rows.aligned or p["dilations"][1] != 1:
        iw = _window.column(p, ow, j // p["C"])
        inside = all_of(_window.row_inside(p, ih), _window.column_inside(p, iw), gap)
        return ih * row_length + iw * p["C"] + j % p["C"], inside
    # A row of taps is one run of bytes: no division by the number of channels.
    run = _window.column(p, ow, 0) * p["C"] + j
    inside = all_of(_window.row_inside(p, ih), *_window.run_inside(p, run), gap)
    return ih * row_length + run, inside


def _stages(p: dict[str, Any], rows: Rows, pixel_of: Any, tiles: int, tile: int) -> Any:
    """Placeholders and the packing stages; `pixel_of(t, i)` is pixel i of tile t."""
    from tvm import te, tirx

    from codegen.tvm_api import select

    x = te.placeholder((p["H"] * p["W"] * p["C"],), p["x_dtype"], name="x")
    rq = te.placeholder((p["O"], 3), "int32", name="rq")
    two = tirx.const(2, "int16")
    outside = tirx.const(p["zx"], p["x_dtype"])

    def gather(t: Any, i: Any, byte: Any) -> Any:
        index, inside = _locate(p, rows, pixel_of(t, i), byte)
        return x[index] if inside is True else select(inside, x[index], outside)

    def in_place(t: Any, i: Any, k: Any, byte: Any) -> Any:
        return x[_locate(p, rows, pixel_of(t, i), k * 4)[0] + byte]

    if rows.patch:
        patch = te.compute((tiles, tile, rows.bytes), gather, name="patch")

    def pair(t: Any, i: Any, k: Any, h: Any, low: Any) -> Any:
        tap = h * 2 + low if rows.wide else low * 2 + h
        value = patch[t, i, k * 4 + tap] if rows.patch else in_place(t, i, k, tap)
        return value if rows.wide else value.astype("int16") * two

    if tile == 1:
        pairs = te.compute(
            (tiles, rows.words, 2, 2), lambda t, k, h, low: pair(t, 0, k, h, low), name="pairs"
        )
    else:
        pairs = te.compute(
            (tiles, rows.words, tile, 2, 2),
            lambda t, k, i, h, low: pair(t, i, k, h, low),
            name="pairs",
        )
    return x, rq, pairs


def _dot(rows: Rows, pair: Any, byte: Any) -> Any:
    """TE sum over all taps: `pair(word, h, low)` is an activation, `byte(step, index)` weights."""
    from tvm import te

    from codegen.tvm_api import call

    k, h, low = (te.reduce_axis((0, n), s) for n, s in ((rows.steps, "k"), (2, "h"), (2, "l")))
    if rows.weights_per_step == 4:
        product = pair(k, h, low).astype("int32") * byte(k, low * 2 + h).astype("int32")
        return te.sum(product, axis=[k, h, low])
    s = te.reduce_axis((0, 2), "s")
    weight = call("int32", "ek_int4", byte(k, low * 2 + h).astype("int32"), s)
    product = pair(k * 2 + s, h, low).astype("int32") * weight
    return te.sum(product, axis=[k, s, h, low])


def _tiled(p: dict[str, Any], rows: Rows) -> Any:
    from tvm import s_tir, te

    from codegen.tensor_intrinsics import dot_5x1, dot_5x1_w4

    tiles = -(-rows.pixels // TILE)
    x, rq, pairs = _stages(p, rows, lambda t, i: te.min(t * TILE + i, rows.pixels - 1), tiles, TILE)
    w = te.placeholder((p["O"], rows.steps, 4), "int8", name="w")
    acc = te.compute(
        (tiles, p["O"], TILE),
        lambda t, o, i: _dot(
            rows,
            lambda k, h, low: pairs[t, k, i, h, low],
            lambda k, byte: w[o, k, byte],
        ),
        name="acc",
    )
    y = te.compute(
        (rows.pixels, p["O"]),
        lambda m, o: _requant.apply(p, acc[m // TILE, o, m % TILE], rq, o, doubled=not rows.wide),
        name="y",
    )
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    block = sch.get_sblock("acc")
    cache = _sparse.cache_weights(p, sch, block)
    m, o = sch.get_loops(sch.get_sblock("y"))
    tile, pixel = sch.split(m, [None, TILE])
    blocks, o = _sparse.split_rows(p, sch, o)
    sch.reorder(*blocks, tile, o, pixel)
    sch.compute_at(block, o)
    _pack_at(sch, rows, tile)
    sch.unroll(pixel)
    _sparse.decode_at(p, sch, cache, blocks)
    _tensorize_dot(
        sch,
        block,
        2 + len(blocks),
        (dot_5x1_w4 if rows.weights_per_step == 8 else dot_5x1)(rows.steps),
    )
    return sch


def _single(p: dict[str, Any], rows: Rows) -> Any:
    from tvm import s_tir, te

    from codegen.tensor_intrinsics import dot_1x4, dot_1x4_w4

    x, rq, pairs = _stages(p, rows, lambda t, i: t + i, rows.pixels, 1)
    quads = -(-p["O"] // 4)
    w = te.placeholder((quads, rows.steps, 4, 4), "int8", name="w")
    acc = te.compute(
        (rows.pixels, quads, 4),
        lambda t, q, n: _dot(
            rows,
            lambda k, h, low: pairs[t, k, h, low],
            lambda k, byte: w[q, k, n, byte],
        ),
        name="acc",
    )
    y = te.compute(
        (rows.pixels, p["O"]),
        lambda m, o: _requant.apply(p, acc[m, o // 4, o % 4], rq, o, doubled=not rows.wide),
        name="y",
    )
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    block = sch.get_sblock("acc")
    cache = _sparse.cache_weights(p, sch, block)
    m, o = sch.get_loops(sch.get_sblock("y"))
    quad, n = sch.split(o, [None, 4])
    blocks, quad = _sparse.split_rows(p, sch, quad)
    sch.reorder(*blocks, m, quad, n)
    sch.compute_at(block, quad)
    _pack_at(sch, rows, m)
    sch.unroll(n)
    _sparse.decode_at(p, sch, cache, blocks)
    _tensorize_dot(
        sch,
        block,
        2 + len(blocks),
        (dot_1x4_w4 if rows.weights_per_step == 8 else dot_1x4)(rows.steps),
    )
    return sch


def _pack_at(sch: Any, rows: Rows, loop: Any) -> None:
    """Pack (and gather) once per iteration of `loop`, four bytes at a time."""
    from codegen.tensor_intrinsics import pack4

    pairs = sch.get_sblock("pairs")
    sch.compute_at(pairs, loop, preserve_unit_loops=True)
    k, *pixel, h, _ = sch.get_loops(pairs)[-4 if rows.tiled else -3 :]
    if pixel:
        sch.reorder(pixel[0], k)
    if rows.patch:
        patch = sch.get_sblock("patch")
        sch.compute_at(patch, pixel[0] if pixel else loop, preserve_unit_loops=True)
        taps = sch.split(sch.get_loops(patch)[-1], [None, rows.row_bytes])[1]
        if rows.aligned:
            sch.split(taps, [None, rows.p["C"]])
    else:
        taps = sch.split(k, [None, rows.row_bytes // 4])[1]
        sch.split(taps, [None, rows.p["C"] // 4])
    if rows.wide:
        sch.vectorize(sch.get_loops(pairs)[-1])
    else:
        sch.tensorize(h, pack4())


def _tensorize_dot(sch: Any, block: Any, depth: int, intrinsic: str) -> None:
    """Replace the loops of `block` below `depth` by a dot-product intrinsic."""
    loop = sch.get_loops(block)[depth]
    init = sch.decompose_reduction(block, loop)
    for inner in sch.get_loops(init)[depth:]:
        sch.unroll(inner)
    sch.tensorize(loop, intrinsic)
