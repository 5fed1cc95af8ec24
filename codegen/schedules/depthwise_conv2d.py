"""depthwise_conv2d: plain loops (c99), columns of int16 pairs for SMLAD (arm_dsp), lanes of the CFU
(rv_cfu).

arm_dsp works channel by channel. The channel's plane is spread into columns of int16 (doubled
where it was int8), so that two vertically adjacent pixels are one word; the taps of a column are
int16 pairs as well, in two versions: for output rows that start on an even input row, and, shifted
by one with a zero in front, for those that start on an odd one. Every product is then an aligned
SMLAD. A channel is read whole before any of it is written, so the layer may run in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import analyse
from codegen.int8 import integers_only
from codegen.kernel import Candidate, Family, KernelSpec, Layer, NotApplicable, Operand
from codegen.overlap import row_steps, sharing, window_steps
from codegen.schedules import _cfu, _float, _requant, _window
from codegen.schedules._int4 import pack_in_order, placeholder, weight_bits

#: Windows of at most so many taps are written out by the portable kernels.
UNROLLED_TAPS = 12


def _params(layer: Layer) -> dict[str, Any]:
    kh, kw, out = layer.inputs[1].shape
    return {**_window.params(layer, (kh, kw)), "O": out, "weight_bits": weight_bits(layer)}


def _operands(layer: Layer, weight_count: int) -> tuple[Operand, ...]:
    return (
        Operand("x", layer.inputs[0].dtype, layer.inputs[0].size, "input"),
        Operand("w", "int8", weight_count, "constant"),
        Operand("rq", "int32", layer.output.shape[-1] * 3, "constant"),
        Operand("y", layer.output.dtype, layer.output.size, "output"),
    )


def _select_c99(layer: Layer) -> Candidate:
    if _float.is_float(layer):
        return _float.select_depthwise(layer)
    channels = analyse(layer)
    taps_first = pack_in_order(np.ascontiguousarray(channels.weights.T), weight_bits(layer))
    p = _params(layer)
    # With padding an output row's input rows are copied before any of it is written.
    rows = _window.padded(p)
    spec = KernelSpec(
        "depthwise_conv2d",
        "c99",
        _operands(layer, taps_first.size),
        {**p, **_requant.params(channels), "right": channels.cheap, "tile": p["OW"] if rows else 1},
    )
    constants = {"w": taps_first, "rq": _requant.portable(channels)}
    of = row_steps if rows else window_steps
    steps = of(spec.params, layer.output.nbytes, layer.output.shape[-1])
    return sharing(Candidate(spec, (layer.inputs[0].name,), constants), steps)


def _schedule_c99(p: dict[str, Any]) -> Any:
    if p.get("float"):
        return _float.schedule_depthwise(p)
    from tvm import s_tir, te, tirx

    kh_count, kw_count = p["kernel"]
    multiplier = p["O"] // p["C"]
    x = te.placeholder((p["H"], p["W"], p["C"]), p["x_dtype"], name="x")
    w, weight = placeholder((kh_count, kw_count, p["O"]), p["weight_bits"])
    rq = te.placeholder((p["O"], 3), "int32", name="rq")
    kh, kw = te.reduce_axis((0, kh_count), "kh"), te.reduce_axis((0, kw_count), "kw")
    # Padding is resolved once per output row, in a copy of the input rows that it reads.
    columns = (p["OW"] - 1) * p["strides"][1] + (kw_count - 1) * p["dilations"][1] + 1
    padded = _window.padded(p)
    outside = tirx.const(p["zx"], p["x_dtype"])

    def copied(oh: Any, kh: Any, i: Any, c: Any) -> Any:
        return _window.pixel(p, x, _window.row(p, oh, kh), i - p["pads"][1], c, outside)

    if padded:
        rows = te.compute((p["OH"], kh_count, columns, p["C"]), copied, name="rows")

    def tap(oh: Any, ow: Any, o: Any) -> Any:
        c, i = o // multiplier, ow * p["strides"][1] + kw * p["dilations"][1]
        value = rows[oh, kh, i, c] if padded else x[_window.row(p, oh, kh), i, c]
        return te.sum(value.astype("int32") * weight(kh, kw, o), axis=[kh, kw])

    acc = te.compute((p["OH"], p["OW"], p["O"]), tap, name="acc")
    y = te.compute(
        acc.shape,
        lambda oh, ow, o: _requant.apply_portable(p, acc[oh, ow, o], rq, o),
        name="y",
    )
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    block = sch.get_sblock("acc")
    row, _, channel = sch.get_loops(sch.get_sblock("y"))
    sch.compute_at(block, channel, preserve_unit_loops=True)
    if padded:
        sch.compute_at(sch.get_sblock("rows"), row, preserve_unit_loops=True)
    reduction = sch.get_loops(block)[-2:]
    sch.decompose_reduction(block, reduction[0])
    if kh_count * kw_count <= UNROLLED_TAPS:
        for loop in reduction:
            sch.unroll(loop)
    return sch


class _Columns:
    """Sizes of the column buffer for parameters `p`."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.stride_h, self.dilation_h = p["strides"][0], p["dilations"][0]
        # Rows that an output reads, first to last; with an odd stride every other output starts on
        # an odd row and needs one more pair.
        self.span = (p["kernel"][0] - 1) * self.dilation_h + 1
        self.parities = 2 if self.stride_h % 2 and p["OH"] > 1 else 1
        self.taps = (self.span + self.parities) // 2
        # Output rows in groups of one row per parity; the last group may be padded.
        self.groups = -(-p["OH"] // self.parities)
        last = (self.groups * self.parities - 1) * self.stride_h
        self.pairs = last // 2 + self.taps
        self.columns = (
            (p["OW"] - 1) * p["strides"][1] + (p["kernel"][1] - 1) * p["dilations"][1] + 1
        )


def _select_arm_dsp(layer: Layer) -> Candidate:
    integers_only(layer)
    channels = analyse(layer)
    packed = pack_in_order(channels.weights, weight_bits(layer))
    spec = KernelSpec(
        "depthwise_conv2d",
        "arm_dsp",
        _operands(layer, packed.size),
        {**_params(layer), **_requant.params(channels), "cheap": channels.cheap},
    )
    constants = {"w": packed, "rq": _requant.dsp(channels)}
    # A channel's plane is read whole before its results are stored, which lie on bytes of that
    # channel alone, whatever the stride.
    x, y = layer.inputs[0], layer.output
    same = (x.shape[-1], x.dtype) == (y.shape[-1], y.dtype)
    return sharing(Candidate(spec, (x.name,), constants), same=same)


def _schedule_arm_dsp(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te, tirx

    from codegen.tensor_intrinsics import smlad
    from codegen.tvm_api import all_of, select

    size = _Columns(p)
    kh_count, kw_count = p["kernel"]
    multiplier = p["O"] // p["C"]
    x = te.placeholder((p["H"], p["W"], p["C"]), p["x_dtype"], name="x")
    w, weight = placeholder((p["O"], kh_count, kw_count), p["weight_bits"])
    rq = te.placeholder((p["O"], 3), "int32", name="rq")
    # int8 is doubled on its way into a column; int16 has no room for that.
    doubled = p["x_dtype"] == "int8"
    two, zero = tirx.const(2, "int16"), tirx.const(0, "int16")

    def column(c: Any, i: Any, j: Any, low: Any) -> Any:
        ih, iw = j * 2 + low - p["pads"][0], i - p["pads"][1]
        rows = 2 * size.pairs
        inside = all_of(
            ih >= 0 if p["pads"][0] else True,
            ih < p["H"] if rows - p["pads"][0] > p["H"] else True,
            iw >= 0 if p["pads"][1] else True,
            iw < p["W"] if size.columns - p["pads"][1] > p["W"] else True,
        )
        value = x[ih, iw, c].astype("int16")
        if inside is not True:
            value = select(inside, value, tirx.const(p["zx"], "int16"))
        return value * two if doubled else value

    def taps(o: Any, parity: Any, kw: Any, j: Any, low: Any) -> Any:
        offset = j * 2 + low - parity
        conditions = [offset >= 0, offset < size.span]
        if size.dilation_h > 1:
            conditions.append(offset % size.dilation_h == 0)
        return select(
            all_of(*conditions), weight(o, offset // size.dilation_h, kw).astype("int16"), zero
        )

    columns = te.compute((p["C"], size.columns, size.pairs, 2), column, name="columns")
    pairs = te.compute((p["O"], size.parities, kw_count, size.taps, 2), taps, name="taps")
    kw, j = te.reduce_axis((0, kw_count), "kw"), te.reduce_axis((0, size.taps), "j")
    low = te.reduce_axis((0, 2), "l")

    def product(c: Any, m: Any, parity: Any, group: Any, ow: Any) -> Any:
        # The first pair of output row group * parities + parity.
        first = group * (size.parities * size.stride_h // 2) + parity * size.stride_h // 2
        iw = ow * p["strides"][1] + kw * p["dilations"][1]
        a = columns[c, iw, first + j, low].astype("int32")
        b = pairs[c * multiplier + m, parity, kw, j, low].astype("int32")
        return te.sum(a * b, axis=[kw, j, low])

    shape = (p["C"], multiplier, size.parities, size.groups, p["OW"])
    acc = te.compute(shape, product, name="acc")

    def result(oh: Any, ow: Any, c: Any, m: Any) -> Any:
        total = acc[c, m, oh % size.parities, oh // size.parities, ow]
        return _requant.apply(p, total, rq, c * multiplier + m, doubled=doubled)

    y = te.compute((p["OH"], p["OW"], p["C"], multiplier), result, name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, w, rq, y]))
    oh, ow, c, m = sch.get_loops(sch.get_sblock("y"))
    group, parity = sch.split(oh, [None, size.parities])
    sch.reorder(c, m, parity, ow, group)
    block = sch.get_sblock("acc")
    sch.compute_at(block, group)
    sch.compute_at(sch.get_sblock("taps"), m)
    sch.compute_at(sch.get_sblock("columns"), c)
    sch.unroll(parity)
    reduction = sch.get_loops(block)[5:]
    sch.decompose_reduction(block, reduction[0])
    for loop in reduction[:-1]:
        sch.unroll(loop)
    sch.tensorize(sch.get_loops(block)[-1], smlad())
    return sch


def _select_rv_cfu(layer: Layer) -> Candidate:
    integers_only(layer)
    p = _params(layer)
    if p["O"] != p["C"] or p["C"] % _cfu.CHANNELS:
        raise NotApplicable(f"{p['C']} to {p['O']} channels, the unit takes fours of as many")
    if p["kernel"] == [1, 1]:
        raise NotApplicable("a window of one pixel, nothing is summed")
    channels = _cfu.analysed(layer)
    taps = channels.weights.reshape(p["O"] // 4, 4, *p["kernel"])
    packed = np.ascontiguousarray(taps.transpose(0, 2, 3, 1))
    tiling = _cfu.Tiling(p, depthwise=True)
    return _cfu.candidate_of(layer, "depthwise_conv2d", tiling, channels, packed)


def _schedule_rv_cfu(p: dict[str, Any]) -> Any:
    return _cfu.schedule_depthwise(p)


FAMILIES = {
    "rv_cfu": Family(_select_rv_cfu, _schedule_rv_cfu),
    "arm_dsp": Family(_select_arm_dsp, _schedule_arm_dsp),
    "c99": Family(_select_c99, _schedule_c99),
}
