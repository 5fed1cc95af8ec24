"""depthwise_conv2d: four channels of a few pixels of one row in the registers of an item.

Where an input channel has several results, the layer is a convolution with groups of one channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import analyse
from codegen.gpu.emit import launch
from codegen.gpu.kernel import Maker, Variant
from codegen.gpu.layers import _convolution, _local, _requant, _shapes
from codegen.gpu.layout import BLOCK
from codegen.kernel import Layer

#: Pixels of an item.
PIXELS = 4


def variants(layer: Layer) -> list[Variant]:
    _shapes.require_int8(layer)
    w = layer.constants[layer.inputs[1].name]
    kernel, outputs = (w.shape[0], w.shape[1]), w.shape[2]
    channels = analyse(layer)
    weights = channels.weights.reshape(outputs, *kernel)
    p = _shapes.window(layer, kernel)
    if p["C"] != outputs:
        return _convolution.variants(p | {"groups": p["C"]}, channels, weights[..., None])
    p |= _requant.params(channels) | {"OB": _shapes.blocks(outputs), "XB": _shapes.blocks(outputs)}
    p |= {"pixels": min(PIXELS, p["OW"])}
    constants = {"w": _pack(weights), "rq": _requant.table(channels)}
    run = launch("depthwise_direct", direct, p, _convolution.ARGUMENTS)
    found = [Variant("direct", (run,), constants)]
    items = _local.items(p)
    if _local.patch_bytes(p, items) * items[2] <= _local.MOST_BYTES:
        run = launch("depthwise_local", local, p | {"items": items}, _convolution.ARGUMENTS)
        found.append(Variant("local", (run,), constants))
    return found


def _pack(weights: np.ndarray) -> np.ndarray:
    """int8 [C, KH, KW] as [ceil(C / 4), KH, KW, 4]; the gap is 0."""
    channels, *kernel = weights.shape
    padded = np.zeros((_shapes.blocks(channels) * BLOCK, *kernel), np.int8)
    padded[:channels] = weights
    return np.ascontiguousarray(padded.reshape(-1, BLOCK, *kernel).transpose(0, 2, 3, 1))


def direct(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    n = p["pixels"]
    y = _computed(p, -(-p["OW"] // n) * n, p["OH"])
    sch = s_tir.Schedule(te.create_prim_func(y))
    block = _shapes.sums_of_item(sch, n)
    *_, pixels, i, j = sch.get_loops(block)
    sch.reorder(i, j, pixels)
    _shapes.rows_of_item(p, sch, i, j)
    sch.compute_at(sch.cache_read(block, 1, "local"), j)
    init = sch.decompose_reduction(block, i)
    sch.unroll(sch.get_loops(init)[-1])
    sch.unroll(pixels)
    return sch


def local(p: dict[str, Any]) -> Any:
    """The same where a group first loads what its windows cover into local memory."""
    from tvm import s_tir, te

    along, high, _ = p["items"]
    y = _computed(p, _local.whole(p["OW"], p["pixels"] * along), _local.whole(p["OH"], high))
    sch = s_tir.Schedule(te.create_prim_func(y))
    item = _local.bind_tile(sch, p["items"], p["pixels"])
    stage, block = sch.get_sblock("xp"), sch.get_sblock("acc")
    sch.set_scope(block, 0, "local")
    sch.compute_at(block, item, preserve_unit_loops=True)
    sch.set_scope(stage, 0, "shared")
    sch.compute_at(stage, item, preserve_unit_loops=True)
    _local.load_together(sch, stage, len(sch.get_loops(block)) - 5, p["items"])
    *_, pixels, i, j = sch.get_loops(block)
    sch.reorder(i, j, pixels)
    sch.compute_at(sch.cache_read(block, 1, "local"), j)
    init = sch.decompose_reduction(block, i)
    sch.unroll(sch.get_loops(init)[-1])
    sch.unroll(pixels)
    return sch


def _computed(p: dict[str, Any], columns: int, rows: int) -> list[Any]:
    """TE: the operands and the result, whose accumulators have so many columns and rows."""
    from tvm import te

    from codegen.tvm_api import call

    (kh, kw), (sh, sw), (dh, dw) = p["kernel"], p["strides"], p["dilations"]
    x = te.placeholder((p["XB"], p["H"], p["W"]), "int8x4", name="x")
    w = te.placeholder((p["OB"], kh, kw), "int8x4", name="w")
    rq = te.placeholder((p["OB"], 3), "int32x4", name="rq")
    xp = _shapes.padded(p, x, columns, rows)
    i, j = te.reduce_axis((0, kh), "i"), te.reduce_axis((0, kw), "j")
    acc = te.compute(
        (p["OB"], rows, columns),
        lambda o, r, q: te.sum(
            call("int32x4", "ek_mul4", xp[o, r * sh + i * dh, q * sw + j * dw], w[o, i, j]),
            axis=[i, j],
        ),
        name="acc",
    )
    return [x, w, rq, _requant.result(p, acc, rq)]


MAKERS = (Maker("depthwise_conv2d", ("depthwise_conv2d",), variants),)
