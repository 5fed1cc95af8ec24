"""conv2d: plain loops (c99), packed pixel tiles for SMLAD (arm_dsp), tiles for the CFU (rv_cfu)."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import analyse
from codegen.int8 import integers_only
from codegen.kernel import Candidate, Family, KernelSpec, Layer, NotApplicable, Operand
from codegen.overlap import Steps, channel_steps, sharing, tile_steps
from codegen.schedules import _cfu, _float, _gemm, _requant, _sparse, _tiles, _window
from codegen.schedules._int4 import pack_in_order, placeholder, weight_bits


def _params(layer: Layer) -> dict[str, Any]:
    weights = layer.inputs[1]
    return {
        **_window.params(layer, (weights.shape[1], weights.shape[2])),
        "O": weights.shape[0],
        "groups": layer.node.attrs.get("groups", 1),
        "weight_bits": weight_bits(layer),
    }


def select_c99(layer: Layer) -> Candidate:
    if _float.is_float(layer):
        return _float.select_conv(layer)
    return _sparse.smallest(layer, _select_c99)


def _select_c99(layer: Layer) -> Candidate:
    w, channels = layer.inputs[1], analyse(layer)
    p = _params(layer)
    tiles = _tiles.Tiles(p)
    if tiles.applies:
        packed = tiles.pack(channels.weights)
        packed, sparse, note = _sparse.choose(layer, packed, 8, tiled=tiles.patch)
    else:
        packed = pack_in_order(channels.weights, p["weight_bits"])
        packed, sparse, note = _sparse.choose(layer, packed, p["weight_bits"])
    spec = KernelSpec(
        "conv2d",
        "c99",
        (
            Operand("x", layer.inputs[0].dtype, layer.inputs[0].size, "input"),
            Operand("w", "int8", packed.size, "constant"),
            Operand("rq", "int32", w.shape[0] * 3, "constant"),
            Operand("y", layer.output.dtype, layer.output.size, "output"),
        ),
        {
            **p,
            **_requant.params(channels),
            "right": channels.cheap,
            "tiled": tiles.applies,
            **sparse,
            "tile": tiles.pixels if tiles.applies else 1,
        },
    )
    constants = {"w": packed, "rq": _requant.portable(channels)}
    candidate = Candidate(spec, (layer.inputs[0].name,), constants, note=note)
    if not _sparse.single_pass(spec.params):
        return candidate
    steps: Steps
    if not tiles.applies:
        steps = channel_steps(spec.params, layer.output.nbytes, w.shape[0])
    elif tiles.patch:
        steps = tile_steps(spec.params, layer.output.nbytes, tiles.pixels)
    else:
        # Pixels are read anew for every group of channels: the last time, nearly all is written.
        once = np.asarray(tile_steps(spec.params, layer.output.nbytes, tiles.pixels))
        steps = np.repeat(once, 2, axis=0)
    return sharing(candidate, steps)


def schedule_c99(p: dict[str, Any]) -> Any:
    if p.get("float"):
        return _float.schedule_conv(p)
    return _tiles.schedule(p) if p["tiled"] else _schedule_loops(p)


def _schedule_loops(p: dict[str, Any]) -> Any:
    """One result at a time: groups, and four-bit weights."""
    from tvm import s_tir, te

    from codegen.tvm_api import int32

    kh_count, kw_count = p["kernel"]
    per_group, out_per_group = p["C"] // p["groups"], p["O"] // p["groups"]
    x = te.placeholder((p["H"], p["W"], p["C"]), p["x_dtype"], name="x")
    shape = (p["O"], kh_count, kw_count, per_group)
    w, weight = (
        _sparse.placeholder(shape) if "sparse" in p else placeholder(shape, p["weight_bits"])
    )
    rq = te.placeholder((p["O"], 3), "int32", name="rq")
    kh = te.reduce_axis((0, kh_count), "kh")
    kw = te.reduce_axis((0, kw_count), "kw")
    ci = te.reduce_axis((0, per_group), "ci")

    def tap(oh: Any, ow: Any, o: Any) -> Any:
        c = ci if p["groups"] == 1 else o // out_per_group * per_group + ci
        ih, iw = _window.row(p, oh, kh), _window.column(p, ow, kw)
        # In the padding the zero point is read, which the folded bias cancels.
        value = _window.pixel(p, AsInt32(x), ih, iw, c, int32(p["zx"]))
        return te.sum(value * weight(o, kh, kw, ci), axis=[kh, kw, ci])

    acc = te.compute((p["OH"], p["OW"], p["O"]), tap, name="acc")
    y = te.compute(
        acc.shape,
        lambda oh, ow, o: _requant.apply_portable(p, acc[oh, ow, o], rq, o),
        name="y",
    )
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    block = sch.get_sblock("acc")
    cache = _sparse.cache_weights(p, sch, block)
    row, column, channel = sch.get_loops(sch.get_sblock("y"))
    blocks, channel = _sparse.split_rows(p, sch, channel)
    sch.reorder(*blocks, row, column, channel)
    sch.compute_at(block, channel, preserve_unit_loops=True)
    _sparse.decode_at(p, sch, cache, blocks)
    sch.decompose_reduction(block, sch.get_loops(block)[-3])
    return sch


class AsInt32:
    """A tensor whose elements read as int32."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __getitem__(self, index: tuple[Any, ...]) -> Any:
        return self.tensor[index].astype("int32")


def select_arm_dsp(layer: Layer) -> Candidate:
    integers_only(layer)
    return _sparse.smallest(layer, _select_arm_dsp)


def _select_arm_dsp(layer: Layer) -> Candidate:
    p = _params(layer)
    if p["groups"] != 1:
        raise NotApplicable(f"{p['groups']} groups")
    w, channels = layer.inputs[1], analyse(layer)
    if p["weight_bits"] == 4 and channels.bound >= 1 << 26:
        raise NotApplicable(f"int4: an accumulator can reach {channels.bound}, the limit is 2^26")
    p |= layer.types
    gemm = _gemm.Rows(p)
    tile = _gemm.TILE if gemm.tiled else 1
    packed = gemm.pack(channels.weights.reshape(w.shape))
    packed, sparse, note = _sparse.choose(layer, packed, p["weight_bits"], gemm.tiled)
    spec = KernelSpec(
        "conv2d",
        "arm_dsp",
        (
            Operand("x", layer.inputs[0].dtype, layer.inputs[0].size, "input"),
            Operand("w", "int8", packed.size, "constant"),
            Operand("rq", "int32", w.shape[0] * 3, "constant"),
            Operand("y", layer.output.dtype, layer.output.size, "output"),
        ),
        {**p, **_requant.params(channels), "cheap": channels.cheap, **sparse, "tile": tile},
    )
    constants = {"w": packed, "rq": _requant.dsp(channels)}
    candidate = Candidate(spec, (layer.inputs[0].name,), constants, note=note)
    if not _sparse.single_pass(p | sparse):
        return candidate
    return sharing(candidate, tile_steps(p, layer.output.nbytes, tile))


def schedule_arm_dsp(p: dict[str, Any]) -> Any:
    return _gemm.schedule(p)


def select_rv_cfu(layer: Layer) -> Candidate:
    integers_only(layer)
    p = _params(layer)
    if p["groups"] != 1:
        raise NotApplicable(f"{p['groups']} groups")
    w = layer.constants[layer.inputs[1].name]
    channels = _cfu.analysed(layer)
    tiling = _cfu.Tiling(p)
    packed = _cfu.pack(tiling, channels.weights.reshape(w.shape))
    return _cfu.candidate_of(layer, "conv2d", tiling, channels, packed)


def schedule_rv_cfu(p: dict[str, Any]) -> Any:
    return _cfu.schedule(p)


FAMILIES = {
    "rv_cfu": Family(select_rv_cfu, schedule_rv_cfu),
    "arm_dsp": Family(select_arm_dsp, schedule_arm_dsp),
    "c99": Family(select_c99, schedule_c99),
}
