"""Convolutions in tiles of up to eight pixels and four channels, for the custom function unit.

The unit multiplies words of four taps. What a pixel's window reads of one input row is a run of
bytes; where channels come in fours and no window reaches into padding, the run lies in the input.
Elsewhere the rows that an output row needs are copied first, padding as the zero point and channels
filled up to fours, or, where there are one or two channels, window by window.
A 1x1 convolution's pixels are copied in blocks, before any of their results is stored.

Loops, from outside: bands of output rows, groups of four channels, rows, tiles of a row. A 1x1
convolution's pixels are one row, which goes in blocks. All tiles are whole. A row's last one reads
copied columns beyond the row, whose results are not stored; where nothing is copied it starts
further left, and pixels are made twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import Channels, analyse
from codegen.kernel import Candidate, KernelSpec, Layer, NotApplicable, Operand
from codegen.overlap import row_steps, sharing, tile_steps
from codegen.schedules import _requant, _window
from targets.cfu.isa import CHANNELS, PIXELS, output

#: Bytes of pixels, and of rows, that pass under all channels together: half of VexRiscv's data
#: cache, and all of it.
BLOCK_BYTES, ROWS_BYTES = 2048, 4096


class Tiling:
    """How a conv2d or depthwise_conv2d with parameters `p` is cut into tiles and read."""

    def __init__(self, p: dict[str, Any], depthwise: bool = False) -> None:
        self.p = p
        self.kh, self.kw = p["kernel"]
        whole_words = p["C"] % CHANNELS == 0
        self.padded = _window.padded(p)
        #: A 1x1 convolution: the image is one row of pixels.
        self.flat = (
            not depthwise
            and (self.kh, self.kw) == (1, 1)
            and p["strides"] == [1, 1]
            and not self.padded
            and whole_words
        )
        self.rows: int
        self.width: int
        self.rows, self.width = (1, p["OH"] * p["OW"]) if self.flat else (p["OH"], p["OW"])
        #: What a tile reads lies in scratch. Pixels in a row are copied so that the output may lie
        #: where the input was.
        self.copied = self.padded or not whole_words or (self.flat and self.width > 1)
        #: Windows are copied one by one; rows of a window are then neighbours.
        self.patches = p["C"] < 3 and not depthwise
        self.channels = -(-p["C"] // CHANNELS) * CHANNELS
        self.dilated = p["dilations"][1] != 1 and self.kw > 1
        stride = p["strides"][1]
        if self.patches:
            self.run = -(-self.kw * p["C"] // CHANNELS) * CHANNELS
            #: Bytes of a column, columns from a pixel to the next, words of a run of taps.
            self.bytes, self.stride, self.steps = self.kh * self.run, 1, self.kh * self.run // 4
            self.outer = (1, 1)
        else:
            self.bytes, self.stride = self.channels, stride
            #: Runs of a window: rows, and columns where those are not neighbours.
            self.outer = (self.kh, self.kw if self.dilated else 1)
            self.steps = (1 if self.dilated else self.kw) * self.channels // 4
        self.groups = -(-p["O"] // CHANNELS)
        self.pixels = min(range(1, PIXELS + 1), key=self._cost)
        self.tiles = -(-self.width // self.pixels)
        #: Columns that the tiles of a row reach into; those of a last tile that is not whole too.
        self.columns = self.tiles * self.pixels
        reach = (self.kw - 1) * p["dilations"][1]
        self.span = (self.columns - 1) * stride + reach + 1
        if not self.patches:
            self.columns = self.span
        self.block = self.tiles
        if self.flat:
            self.block = min(max(BLOCK_BYTES // (self.pixels * p["C"]), 1), self.tiles)
        even = max(n for n in range(1, self.block + 1) if self.tiles % n == 0)
        #: Results go straight to where they belong, which takes whole tiles in whole blocks.
        self.direct = (
            self.width % self.pixels == 0
            and p["O"] % CHANNELS == 0
            and (even == self.block or 2 * even > self.block)
        )
        if self.direct:
            self.block = even
        self.band = self._band() if self.copied and not self.flat else 1

    def _cost(self, pixels: int) -> float:
        """Instructions for a row of the image, per step of a group."""
        if pixels > self.width:
            return float("inf")
        tiles = -(-self.width // pixels)
        return tiles * (4 + 3 + 5 * pixels) + (0 if self.width % pixels == 0 else 0.01)

    def _band(self) -> int:
        """Output rows whose input is copied at once: rows that several of them read are then copied
        once, and each group's weights and parameters are read once."""

        def nbytes(band: int) -> int:
            if self.patches:
                return band * self.columns * self.bytes
            rows = (band - 1) * self.p["strides"][0] + (self.kh - 1) * self.p["dilations"][0] + 1
            return rows * self.columns * self.channels

        fits = [
            n for n in range(1, self.rows + 1) if self.rows % n == 0 and nbytes(n) <= ROWS_BYTES
        ]
        return max(fits, default=1)

    def start(self, tile: Any) -> Any:
        """The first pixel of a tile in its row."""
        from tvm import te

        first = tile * self.pixels
        if self.copied or self.width % self.pixels == 0:
            return first
        return te.min(first, self.width - self.pixels)

    @property
    def at_once(self) -> int:
        """Pixels that are read before any of them is written, or, where nothing is copied, a row's
        that are read and written in turns."""
        return self.block * self.pixels if self.flat else self.band * self.width

    def sharing(self, candidate: Candidate, out_bytes: int) -> Candidate:
        """`candidate` with where its output may lie over its input."""
        p = {**self.p, "x_dtype": "int8"}
        if self.flat:
            steps = np.asarray(tile_steps(p, out_bytes, self.at_once))
        else:
            rows = np.asarray(row_steps(p, out_bytes, p["O"]))
            steps = np.stack([rows[:: self.band, 0], rows[self.band - 1 :: self.band, 1]], 1)
        # What is not copied is read until nearly all of a row's results are written.
        return sharing(candidate, steps if self.copied else np.repeat(steps, 2, axis=0))


def analysed(layer: Layer) -> Channels:
    """The layer's integers.

    Raises:
        NotApplicable: where the unit has no form for them.
    """
    for value in (layer.inputs[0], layer.output):
        if value.dtype != "int8":
            raise NotApplicable(f"'{value.name}' is {value.dtype}, the unit has int8 only")
    if layer.node.attrs.get("weight_bits", 8) != 8:
        raise NotApplicable(f"int{layer.node.attrs['weight_bits']} weights")
    channels = analyse(layer)
    if (channels.shift > 0).any():
        raise NotApplicable(f"a left shift of {int(channels.shift.max())}, the unit has none")
    return channels


def parameters(channels: Channels) -> np.ndarray:
    """int32 [groups * 4, 3]: bias, multiplier and right shift, zeros at the end."""
    table = _requant.general(channels)
    table[:, 2] = -table[:, 2]
    rows = np.zeros((-(-len(table) // CHANNELS) * CHANNELS, 3), np.int32)
    rows[: len(table)] = table
    return rows


def candidate_of(
    layer: Layer, op: str, tiling: Tiling, channels: Channels, packed: np.ndarray
) -> Candidate:
    x, y = layer.inputs[0], layer.output
    rq = parameters(channels)
    spec = KernelSpec(
        op,
        "rv_cfu",
        (
            Operand("x", x.dtype, x.size, "input"),
            Operand("w", "int8", packed.size, "constant"),
            Operand("rq", "int32", rq.size, "constant"),
            Operand("y", y.dtype, y.size, "output"),
        ),
        {
            **tiling.p,
            **_requant.params(channels),
            "tile": tiling.at_once,
        },
    )
    made = Candidate(spec, (x.name,), {"w": packed, "rq": rq})
    return tiling.sharing(made, y.nbytes)


def pack(tiling: Tiling, weights: np.ndarray) -> np.ndarray:
    """int8 [O, KH, KW, C] as the kernel reads it: [groups, words, 4 channels, 4 taps]."""
    out, kh, kw, c = weights.shape
    if tiling.patches:
        rows = np.zeros((tiling.groups * CHANNELS, kh, tiling.run), np.int8)
        rows[:out, :, : kw * c] = weights.reshape(out, kh, -1)
    else:
        rows = np.zeros((tiling.groups * CHANNELS, kh, kw, tiling.channels), np.int8)
        rows[:out, ..., :c] = weights
    packed: np.ndarray = rows.reshape(tiling.groups, CHANNELS, -1, 4).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(packed)


def schedule(p: dict[str, Any]) -> Any:
    """Schedule of conv2d; `p` as `candidate_of` puts it together."""
    from tvm import te

    size = Tiling(p)
    x, row = _source(size, p)
    words = size.outer[0] * size.outer[1] * size.steps
    w = te.placeholder((size.groups, words, 4, 4), "int8", name="w")
    extents = {"kh": size.outer[0], "kw": size.outer[1], "k": size.steps, "b": 4}
    kh, kw, k, b = (_reduce(extent, name) for name, extent in extents.items())
    axes = [axis for axis in (kh, kw, k, b) if not isinstance(axis, int)]
    words_of_column = size.bytes // 4

    def product(index: _Index) -> Any:
        column = (size.start(index.tile) + index.pixel) * size.stride + kw * p["dilations"][1]
        if size.steps > words_of_column:
            value = row(index.row, kh, column + k // words_of_column, k % words_of_column * 4 + b)
        else:
            value = row(index.row, kh, column, k * 4 + b)
        word = (kh * size.outer[1] + kw) * size.steps + k
        weight = w[index.group, word, index.channel, b]
        return te.sum(value.astype("int32") * weight.astype("int32"), axis=axes)

    from codegen.cfu_intrinsics import dot

    return _tiles(size, x, w, product, sum(extent > 1 for extent in size.outer),
                  dot(size.pixels, size.stride, size.bytes, size.steps))  # fmt: skip


def schedule_depthwise(p: dict[str, Any]) -> Any:
    """Schedule of depthwise_conv2d; `p` as `candidate_of` puts it together."""
    from tvm import te

    from codegen.cfu_intrinsics import lanes

    size = Tiling(p, depthwise=True)
    x, row = _source(size, p)
    w = te.placeholder((size.groups, size.kh, size.kw, 4), "int8", name="w")
    kh, kw = _reduce(size.kh, "kh"), _reduce(size.kw, "kw")
    axes = [axis for axis in (kh, kw) if not isinstance(axis, int)]
    stride, dilation = p["strides"][1], p["dilations"][1]

    def product(index: _Index) -> Any:
        column = (size.start(index.tile) + index.pixel) * stride + kw * dilation
        value = row(index.row, kh, column, index.group * 4 + index.channel).astype("int32")
        value = value * w[index.group, kh, kw, index.channel].astype("int32")
        return te.sum(value, axis=axes)

    return _tiles(size, x, w, product, 1 if size.kh > 1 else 0,
                  lanes(size.pixels, stride, size.kw, dilation))  # fmt: skip


class _Index:
    """The indices of an accumulator; axes of one iteration are the number 0."""

    def __init__(self, size: Tiling, indices: tuple[Any, ...]) -> None:
        given = iter(indices)

        def next_or_zero(extent: int) -> Any:
            return next(given) if extent > 1 else 0

        self.row = next(given)
        self.tile, self.group = next(given), next(given)
        self.pixel = next_or_zero(size.pixels)
        self.channel = next(given)


def _reduce(extent: int, name: str) -> Any:
    from tvm import te

    return te.reduce_axis((0, extent), name) if extent > 1 else 0


def _source(size: Tiling, p: dict[str, Any]) -> tuple[Any, Any]:
    """The placeholder of the input, and ``row(oh, kh, column, byte)``, how a window is read."""
    from tvm import te, tirx

    from codegen.tvm_api import all_of, select

    def input_row(oh: Any, kh: Any) -> Any:
        return oh * p["strides"][0] + kh * p["dilations"][0] - p["pads"][0]

    height, width = (1, size.width) if size.flat else (p["H"], p["W"])
    x = te.placeholder((height, width, p["C"]), "int8", name="x")
    if not size.copied:
        return x, lambda oh, kh, *at: x[(input_row(oh, kh), *at)]
    outside = tirx.const(p["zx"], "int8")

    def padded(ih: Any, iw: Any, c: Any) -> Any:
        inside = all_of(
            _window.row_inside(p, ih),
            iw >= 0 if p["pads"][1] else True,
            iw < p["W"] if size.span - p["pads"][1] > p["W"] else True,
        )
        return x[ih, iw, c] if inside is True else select(inside, x[ih, iw, c], outside)

    def copy(row: Any, column: Any, c: Any) -> Any:
        # Channels beyond the last one meet zeros: any byte will do.
        c = te.min(c, p["C"] - 1) if p["C"] % CHANNELS else c
        if size.flat:
            return x[row, te.min(column, size.width - 1), c]
        return padded(row - p["pads"][0], column - p["pads"][1], c)

    def patch(oh: Any, column: Any, at: Any) -> Any:
        c = te.min(at % size.run, size.kw * p["C"] - 1)
        iw = _window.column(p, column, c // p["C"])
        return padded(input_row(oh, at // size.run), iw, c % p["C"])

    if size.patches:
        rows = te.compute((size.rows, size.columns, size.bytes), patch, name="rows")
        return x, lambda oh, kh, *at: rows[(oh, *at)]
    reach = (size.rows - 1) * p["strides"][0] + (size.kh - 1) * p["dilations"][0] + 1
    rows = te.compute((reach, size.columns, size.channels), copy, name="rows")
    return x, lambda oh, kh, *at: rows[
        (oh * p["strides"][0] + kh * p["dilations"][0] if size.rows > 1 or size.kh > 1 else 0, *at)
    ]


def _tiles(size: Tiling, x: Any, w: Any, product: Any, outer: int, intrinsic: str) -> Any:
    """The nest of loops around a tile; `outer` reduction loops stay outside of `intrinsic`."""
    from tvm import s_tir, te

    from codegen.cfu_intrinsics import channels, clear, results
    from codegen.tvm_api import call

    p = size.p
    many = size.pixels > 1
    rq = te.placeholder((size.groups * CHANNELS, 3), "int32", name="rq")
    tile = (size.pixels, CHANNELS) if many else (CHANNELS,)
    shape = (size.rows, size.tiles, size.groups, *tile)
    acc = te.compute(shape, lambda *at: product(_Index(size, at)), name="acc")
    table = te.compute((size.groups, CHANNELS, 3), lambda g, j, n: rq[g * CHANNELS + j, n],
                       name="parameters")  # fmt: skip

    def result(*at: Any) -> Any:
        group, j = at[2], at[-1]
        values = [table[group, j, n] for n in range(3)]
        return _requant.requantized(
            "int8", acc[at] + values[0], values[1], 0 - values[2], p["zy"], *p["clamp"]
        )

    def of_pixel(make: Any) -> Any:
        def at(oh: Any, ow: Any, o: Any) -> Any:
            t = ow // size.pixels
            if not many:
                inside: tuple[Any, ...] = ()
            elif size.copied or size.width % size.pixels == 0:
                inside = (ow % size.pixels,)
            else:  # a call, so that TVM takes it for any pixel of the tile
                inside = (call("int32", "ek_cfu_pixel", ow, size.start(t)),)
            return make(oh, t, o // CHANNELS, *inside, o % CHANNELS)

        return at

    image = (size.rows, size.width, p["O"])
    if size.direct:
        made = y = te.compute(image, of_pixel(result), name="y")
    else:
        made = te.compute(shape, result, name="bytes")
        y = te.compute(image, of_pixel(lambda *at: made[at]), name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    oh, ow, o = sch.get_loops(sch.get_sblock("y"))
    block, ti, i = sch.split(ow, [None, size.block, size.pixels])
    g, j = sch.split(o, [None, CHANNELS])
    band, row = sch.split(oh, [None, size.band])
    sch.reorder(band, block, g, row, ti, i, j)
    if not size.direct:
        sch.compute_at(sch.get_sblock("bytes"), ti, preserve_unit_loops=True)
        if p["O"] % CHANNELS == 0:
            sch.vectorize(j)
    sums = sch.get_sblock("acc")
    sch.compute_at(sums, ti, preserve_unit_loops=True)
    sch.compute_at(sch.get_sblock("parameters"), g, preserve_unit_loops=True)
    if size.copied:
        _copy_at(size, sch, block)
    encoded = output(p["zy"], *p["clamp"])
    inside = len(tile)
    _tensorize_sums(sch, sums, inside, outer, intrinsic, clear(size.pixels))
    sch.tensorize(sch.get_loops(sch.get_sblock("parameters"))[-2], channels(encoded))
    last = sch.get_loops(sch.get_sblock(made.op.name))[-inside]
    sch.tensorize(last, results(size.pixels, p["zy"], p["clamp"][0], p["clamp"][1], encoded))
    return sch


def _tensorize_sums(
    sch: Any, sums: Any, inside: int, outer: int, intrinsic: str, clear: str
) -> None:
    """`inside` loops over the tile, then the reductions, of which `outer` stay loops."""
    axes = sch.get(sums).iter_vars
    count = sum(1 for axis in axes if int(axis.iter_type) == 2)
    loops = sch.get_loops(sums)
    tile = loops[len(loops) - count - inside : len(loops) - count]
    reductions = loops[len(loops) - count :]
    sch.reorder(*reductions[:outer], *tile, *reductions[outer:])
    init = sch.decompose_reduction(sums, reductions[0] if outer else tile[0])
    sch.tensorize(sch.get_loops(init)[-inside], clear)
    sch.tensorize(tile[0], intrinsic)


def _copy_at(size: Tiling, sch: Any, loop: Any) -> None:
    """Copy the input rows of an output row, in words where channels come in fours."""
    rows = sch.get_sblock("rows")
    sch.compute_at(rows, loop, preserve_unit_loops=True)
    last = sch.get_loops(rows)[-1]
    if size.patches:
        sch.split(last, [None, size.run])
        return
    lanes = sch.split(last, [None, CHANNELS])[1]
    if size.p["C"] % CHANNELS == 0:
        sch.vectorize(lanes)
    else:
        sch.unroll(lanes)
