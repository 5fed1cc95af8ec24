"""Shapes of convolutions on blocks of four channels, their weights, and their padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.gpu.layers._cells import CELLS
from codegen.gpu.layout import BLOCK
from codegen.kernel import Layer, NotApplicable
from codegen.schedules import _window

#: What a copy of windows depends on.
SHAPE = (*("H", "W", "XB", "CB", "OH", "OW", "OB", "kernel", "strides", "dilations", "pads", "zx"),)
#: Columns of a window that are unrolled.
MOST_UNROLLED = 5


def require_int8(layer: Layer) -> None:
    """NotApplicable for all but int8 activations and weights."""
    for value in (layer.inputs[0], layer.output):
        if value.dtype != "int8":
            raise NotApplicable(f"{value.name} is {value.dtype}")


def window(layer: Layer, kernel: tuple[int, int]) -> dict[str, Any]:
    """Shapes and attributes; a layer that looks at one pixel at a time is one long row."""
    p = _window.params(layer, kernel)
    if kernel == (1, 1) and p["strides"] == [1, 1] and not any(p["pads"]):
        pixels = p["H"] * p["W"]
        p |= {"H": 1, "W": pixels, "OH": 1, "OW": pixels}
    return p


def row(pixels: int, channels: int) -> dict[str, Any]:
    """Shapes of a layer that looks at one of so many pixels at a time."""
    shape = {"H": 1, "W": pixels, "OH": 1, "OW": pixels, "C": channels, "groups": 1}
    return shape | {"kernel": [1, 1], "strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4}


def blocks(channels: int) -> int:
    return -(-channels // BLOCK)


def dense(weights: np.ndarray, channels: int, groups: int) -> np.ndarray:
    """[O, KH, KW, C / groups] as [O, KH, KW, C]: zeros for the channels of other groups."""
    out, kh, kw, own = weights.shape
    full = np.zeros((out, kh, kw, channels), weights.dtype)
    for o in range(out):
        first = o // (out // groups) * own
        full[o, ..., first : first + own] = weights[o]
    return full


def pack(weights: np.ndarray, *, dot: bool) -> np.ndarray:
    """int8 [O, KH, KW, C] as [ceil(O / 4), KH, KW, ceil(C / 4), 16].

    The sixteen are [input channel][output channel], or the other way round for `dot`; gaps are 0.
    """
    out, kh, kw, channels = weights.shape
    padded = np.zeros((blocks(out) * BLOCK, kh, kw, blocks(channels) * BLOCK), np.int8)
    padded[:out, ..., :channels] = weights
    split = padded.reshape(-1, BLOCK, kh, kw, blocks(channels), BLOCK)
    order = (0, 2, 3, 4, 1, 5) if dot else (0, 2, 3, 4, 5, 1)
    return np.ascontiguousarray(split.transpose(order)).reshape(-1, kh, kw, blocks(channels), 16)


def in_blocks(p: dict[str, Any], weights: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """`p` with the blocks of all inputs (XB), of an output's inputs (CB) and of outputs (OB).

    Groups of whole blocks stay; weights of others get zeros for the channels of other groups.
    """
    groups = p["groups"]
    if groups > 1 and (p["C"] // groups % BLOCK or p["O"] // groups % BLOCK):
        weights, groups = dense(weights, p["C"], groups), 1
    sizes = {"XB": blocks(p["C"]), "CB": blocks(weights.shape[3]), "OB": blocks(p["O"])}
    return p | sizes | {"groups": groups}, weights


def block(p: dict[str, Any], o: Any, c: Any) -> Any:
    """The input block that is number `c` of those that output block `o` reads."""
    return c if p["groups"] == 1 else o // (p["OB"] // p["groups"]) * p["CB"] + c


def row_is_shared(p: dict[str, Any]) -> bool:
    """Whether windows of the pixels of an item overlap enough to load their row once."""
    span = (p["pixels"] - 1) * p["strides"][1] + (p["kernel"][1] - 1) * p["dilations"][1] + 1
    return bool(span < p["pixels"] * p["kernel"][1] and p["kernel"][1] <= MOST_UNROLLED)


def operands(p: dict[str, Any]) -> tuple[Any, Any, Any]:
    """TE: input, weights and the table of `_requant`."""
    from tvm import te

    x = te.placeholder((p["XB"], p["H"], p["W"]), "int8x4", name="x")
    w = te.placeholder((p["OB"], *p["kernel"], p["CB"]), "int8x16", name="w")
    return x, w, te.placeholder((p["OB"], 3), "int32x4", name="rq")


def padded(p: dict[str, Any], x: Any, columns: int, rows: int = 0) -> Any:
    """TE: x with its padding, [blocks, rows, columns], for so many columns and rows of the result
    or more."""
    from tvm import te, tirx

    from codegen.tvm_api import all_of, select

    (kh, kw), (sh, sw), (dh, dw) = p["kernel"], p["strides"], p["dilations"]
    top, left, _, _ = p["pads"]
    height = (max(rows, p["OH"]) - 1) * sh + (kh - 1) * dh + 1
    width = (columns - 1) * sw + (kw - 1) * dw + 1
    cell = CELLS[p.get("dtype", "int8")]
    zero = tirx.const(p.get("zx", 0), cell.vector)

    def pixel(c: Any, row: Any, column: Any) -> Any:
        ih, iw = row - top, column - left
        inside = all_of(
            *([ih >= 0] if top else []),
            *([ih < p["H"]] if height - top > p["H"] else []),
            *([iw >= 0] if left else []),
            *([iw < p["W"]] if width - left > p["W"] else []),
        )
        value = cell.load(x[c, ih, iw])
        return value if inside is True else select(inside, value, zero)

    return te.compute((p["XB"], height, width), pixel, name="xp")


def sums_of_item(sch: Any, pixels: int) -> Any:
    """Bind the result's loops: an item makes so many `pixels` of a row. Returns the block of their
    sums, which each item keeps for itself."""
    block = sch.get_sblock("acc")
    sch.set_scope(block, 0, "local")
    o, r, q = sch.get_loops(sch.get_sblock("y"))
    tile, pixel = sch.split(q, [None, pixels])
    for loop, axis in ((o, "z"), (r, "y"), (tile, "x")):
        sch.bind(loop, f"blockIdx.{axis}")
    sch.unroll(pixel)
    sch.compute_at(block, tile, preserve_unit_loops=True)
    return block


def rows_of_item(p: dict[str, Any], sch: Any, row: Any, columns: Any) -> None:
    """Schedule `padded`: where windows overlap, the pixels of one iteration of the loop `row` are
    loaded once, and its loop over `columns` of the window is unrolled."""
    stage = sch.get_sblock("xp")
    if not row_is_shared(p):
        sch.compute_inline(stage)
        return
    sch.set_scope(stage, 0, "local")
    sch.compute_at(stage, row)
    sch.unroll(sch.get_loops(stage)[-1])
    sch.unroll(columns)
