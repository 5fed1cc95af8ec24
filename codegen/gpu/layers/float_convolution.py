"""conv2d, depthwise_conv2d and fully_connected in float32, or with half in memory.

An item makes four channels of a few pixels of a row. Products are added one after the other in the
order of docs/SPEC.md, "float32 layers": rows, columns, channels.
"""

from __future__ import annotations

import math
from math import prod
from typing import Any

import numpy as np

from codegen.gpu.emit import launch
from codegen.gpu.kernel import Maker, Place, Variant
from codegen.gpu.layers import _shapes
from codegen.gpu.layers._cells import CELLS, cell_of_activations
from codegen.gpu.layers.elements import FLOATS, clamped
from codegen.gpu.layout import BLOCK
from codegen.kernel import Layer
from edgekit.ops.base import clamp_of

#: Pixels of an item, for each variant.
PIXELS = {"direct": 4, "pixel": 1}
ARGUMENTS = (
    Place("input"),
    Place("constant", name="w"),
    Place("constant", name="bias"),
    Place("output"),
)


def variants(layer: Layer) -> list[Variant]:
    dtype = cell_of_activations(layer, *FLOATS)
    low, high = clamp_of(layer.node)
    w = layer.constants[layer.inputs[1].name]
    own: dict[str, Any] = {
        "dtype": dtype,
        "clamp": [None if math.isinf(low) else low, None if math.isinf(high) else high],
    }
    if layer.node.op == "fully_connected":
        x = layer.inputs[0]
        p = _shapes.row(prod(x.shape[:-1]), x.shape[-1])
        weights = w[:, None, None, :]
    elif layer.node.op == "conv2d":
        p = _shapes.window(layer, (w.shape[1], w.shape[2]))
        p["groups"] = layer.node.attrs.get("groups", 1)
        weights = w
    else:
        p = _shapes.window(layer, (w.shape[0], w.shape[1]))
        p["groups"] = p["C"]
        weights = w.transpose(2, 0, 1)[..., None]
    p |= own | {"O": len(weights)}
    by_channel = layer.node.op == "depthwise_conv2d" and p["C"] == p["O"]
    if by_channel:
        p |= {"XB": _shapes.blocks(p["C"]), "OB": _shapes.blocks(p["O"]), "CB": 0}
        packed = _by_channel(weights[..., 0])
    else:
        p, weights = _shapes.in_blocks(p, weights)
        packed = _dense(weights)
    bias = np.zeros((p["OB"] * BLOCK,), np.float32)
    bias[: p["O"]] = layer.constants[layer.inputs[2].name]
    if dtype == "float16":
        packed = packed.astype(np.float16).view(np.uint16)
    constants = {"w": packed, "bias": bias}
    found = []
    for name, pixels in PIXELS.items():
        if pixels == 1 or p["OW"] > 1:
            numbers = {**p, "pixels": min(pixels, p["OW"])}
            algorithm = f"{layer.node.op}_float"
            found.append(
                Variant(name, (launch(algorithm, schedule, numbers, ARGUMENTS),), constants)
            )
    return found


def _by_channel(weights: np.ndarray) -> np.ndarray:
    """[C, KH, KW] as float32 [ceil(C / 4), KH, KW, 4]; the gap is 0."""
    padded = np.zeros((_shapes.blocks(len(weights)) * BLOCK, *weights.shape[1:]), np.float32)
    padded[: len(weights)] = weights
    split = padded.reshape(-1, BLOCK, *weights.shape[1:])
    return np.ascontiguousarray(split.transpose(0, 2, 3, 1))


def _dense(weights: np.ndarray) -> np.ndarray:
    """[O, KH, KW, C] as float32 [ceil(O / 4), KH, KW, ceil(C / 4), input channel 4, output 4]."""
    out, kh, kw, channels = weights.shape
    inputs = _shapes.blocks(channels)
    padded = np.zeros((_shapes.blocks(out) * BLOCK, kh, kw, inputs * BLOCK), np.float32)
    padded[:out, ..., :channels] = weights
    split = padded.reshape(-1, BLOCK, kh, kw, inputs, BLOCK)
    return np.ascontiguousarray(split.transpose(0, 2, 3, 4, 5, 1))


def schedule(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te, tirx

    from codegen.tvm_api import call

    cell, n = CELLS[p["dtype"]], p["pixels"]
    columns = -(-p["OW"] // n) * n
    (kh, kw), (sh, sw), (dh, dw) = p["kernel"], p["strides"], p["dilations"]
    x = te.placeholder((p["XB"], p["H"], p["W"]), cell.memory, name="x")
    inputs = (p["CB"], BLOCK) if p["CB"] else ()
    w = te.placeholder((p["OB"], kh, kw, *inputs), cell.memory, name="w")
    bias = te.placeholder((p["OB"],), "float32x4", name="bias")
    xp = _shapes.padded(p, x, columns)
    i, j = te.reduce_axis((0, kh), "i"), te.reduce_axis((0, kw), "j")
    c, lane = te.reduce_axis((0, max(p["CB"], 1)), "c"), te.reduce_axis((0, BLOCK), "lane")

    def tap(o: Any, r: Any, q: Any) -> Any:
        at = (r * sh + i * dh, q * sw + j * dw)
        if not p["CB"]:
            return te.sum(xp[(o, *at)] * cell.load(w[o, i, j]), axis=[i, j])
        value = call("float32", "ek_lanef", xp[(_shapes.block(p, o, c), *at)], lane)
        weights = cell.load(w[o, i, j, c, lane])
        return te.sum(tirx.Broadcast(value, BLOCK) * weights, axis=[i, j, c, lane])

    acc = te.compute((p["OB"], p["OH"], columns), tap, name="acc")

    def finished(o: Any, r: Any, q: Any) -> Any:
        value = clamped(p["clamp"], acc[o, r, q] + bias[o])
        return cell.lanes(cell.store(value), o, p["O"])

    y = te.compute((p["OB"], p["OH"], p["OW"]), finished, name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, w, bias, y]))
    block = _shapes.sums_of_item(sch, n)
    sch.compute_inline(sch.get_sblock("xp"))
    order = sch.get_loops(block)[3:]
    pixels, taps = order[2], order[3:]
    sch.reorder(*taps, pixels)
    init = sch.decompose_reduction(block, taps[0])
    sch.unroll(sch.get_loops(init)[-1])
    sch.unroll(pixels)
    if p["CB"]:
        sch.unroll(taps[-1])
    return sch


MAKERS = (Maker("float_convolution", ("conv2d", "depthwise_conv2d", "fully_connected"), variants),)
