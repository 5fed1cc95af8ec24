"""Five pixels against one channel at a time, where output rows are whole tiles: strips of rows.

Where the output's width is a multiple of five, the taps that a tile takes from one input row are
the same for every output row that reads it. So a strip of input rows is packed once, row by row,
and the window of an output row is a run of packed rows: the inner product is that of
`codegen.thumb.rows_5x1` at another place of the same buffer. This is the form for tall kernels of
few channels, such as the first layer of keyword spotting (10x4 taps of one channel, stride 2).

Each row's taps are rounded up to whole words. Rows are copied to a padded row first, so that
nothing outside x is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Template, Written
from codegen.thumb.layers import candidate, channels_of, params, part_of
from codegen.thumb.packing import pack_tile
from codegen.thumb.routine import Routine
from codegen.thumb.rows_5x1 import TILE, UNROLLED, pack_constants, rows, table_bytes
from codegen.thumb.scaled import scaled

#: Output rows of a strip: more pack fewer rows twice, and take more scratch.
STRIP = 5


class _Shape:
    """Sizes that follow from a layer's parameters."""

    def __init__(self, p: dict[str, Any]) -> None:
        kh, kw = p["kernel"]
        self.tiles = p["OW"] // TILE
        #: Words of a row's taps, and of a tile's packed row.
        self.words = -(-kw * p["C"] // 4)
        self.packed = 2 * TILE * self.words
        self.taps = 4 * kh * self.words
        self.strip = min(STRIP, p["OH"])
        self.strips = -(-p["OH"] // self.strip)
        self.rows = (self.strip - 1) * p["strides"][0] + kh
        self.start = p["pads"][1] * p["C"]
        read = (p["OW"] - 1) * p["strides"][1] * p["C"] + 4 * self.words
        self.row_bytes = -(-max(read, self.start + p["W"] * p["C"]) // 8) * 8
        self.a_bytes = 4 * self.packed * self.rows * self.tiles


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    kh, kw = p["kernel"]
    if p["OW"] % TILE:
        raise NotApplicable(f"{p['OW']} columns are not whole tiles")
    if p["dilations"] != [1, 1]:
        raise NotApplicable("dilations")
    if kh <= p["strides"][0]:
        raise NotApplicable("no row is read twice")
    shape = _Shape(p)
    channels, flat = channels_of(layer, kh * kw * p["C"])
    weights = np.zeros((p["O"], kh, 4 * shape.words), np.int8)
    weights[:, :, : kw * p["C"]] = flat.reshape(p["O"], kh, -1)
    constants = scaled(channels, weights.reshape(p["O"], -1))
    p |= {"template": "rows_strip", "form": constants.form}
    p |= {"zx": channels.input_zero_point, "zy": constants.zero_point}
    tile = shape.strip * p["OW"]  # a strip's rows are packed before its first result is stored
    return [candidate(layer, p, pack_constants(constants), cost(p), tile=tile)]


def _routine(p: dict[str, Any], shape: _Shape) -> Routine:
    part = part_of(shape.taps, UNROLLED)
    return rows(p["form"], TILE, part, part < shape.taps)


def cost(p: dict[str, Any]) -> Cost:
    """Of the whole layer; what the compiler makes of the driver is estimated."""
    shape = _Shape(p)
    parts = shape.taps // part_of(shape.taps, UNROLLED)
    tile = _routine(p, shape).cost(channels=p["O"], parts=parts) + Cost(6, 10)
    pack = pack_tile("scaled", TILE).cost(words=shape.words) + Cost(4, 7)
    copy = 2 * (p["W"] * p["C"] // 4 + 2)
    row = Cost(copy + 4, 2 * copy + 8) + pack * shape.tiles
    return Cost(40, 60) + tile * shape.tiles * p["OH"] + row * shape.rows * shape.strips


def write(spec: KernelSpec) -> Written:
    p = spec.params
    shape = _Shape(p)
    routine, pack = _routine(p, shape), pack_tile("scaled", TILE)
    sh, sw = p["strides"]
    c, row = p["C"], p["W"] * p["C"]
    tile_words = shape.packed * shape.rows
    at = f"row + {shape.start}" if shape.start else "row"
    each = f"for (uint32_t t = 0; t < {shape.tiles}u; t++) "
    table = f"{p['O']}, {table_bytes(p['O'])}, {p['zy']}, {2 * shape.taps}, 0, 0"
    tile = f"row + t * {TILE * sw * c}u, to + t * {tile_words}u"
    text = f"""\
void {spec.name}(const int8_t *x, const int8_t *restrict w, int8_t *y, void *restrict scratch)
{{
    static const int32_t table[] = {{{table}}};
    int32_t *const a = scratch;
    int8_t *const row = (int8_t *)scratch + {shape.a_bytes};
    memset(row, {p["zx"]}, {shape.row_bytes}u);
    for (int32_t oy = 0; oy < {p["OH"]}; oy += {shape.strip}) {{
        int32_t *to = a;
        const int32_t first = oy * {sh} - {p["pads"][0]};
        for (int32_t iy = first; iy < first + {shape.rows}; iy++) {{
            if ((uint32_t)iy < {p["H"]}u) {{
                memcpy({at}, x + iy * {row}, {row}u);
            }} else {{
                memset({at}, {p["zx"]}, {row}u);
            }}
            {each}{{
                {pack.name}({tile}, {sw * c}, {shape.words});
            }}
            to += {shape.packed};
        }}
        const int32_t *from = a;
        for (int32_t i = oy; i < oy + {shape.strip} && i < {p["OH"]}; i++) {{
            {each}{{
                {routine.name}(from + t * {tile_words}u, w, y, table);
                y += {TILE * p["O"]};
            }}
            from += {sh * shape.packed};
        }}
    }}
}}
"""
    parts = {routine.name: routine.text(), pack.name: pack.text()}
    return Written(text, parts, shape.a_bytes + shape.row_bytes)


TEMPLATES = (Template("rows_strip", ("conv2d",), candidates, write),)
