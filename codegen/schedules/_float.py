"""Layers that stay in float32: plain loops with conversions at both ends (SPEC "float32 layers").

An integer operand becomes float32 once per pixel, before it meets the weights; a result becomes an
integer as it is stored. Products are added one after the other, in the order of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.kernel import Candidate, KernelSpec, Layer, Operand
from codegen.overlap import Steps, sharing, tile_steps, window_steps
from codegen.schedules import _window
from edgekit.graph import Value
from edgekit.ops.base import clamp_of
from edgekit.ops.requant import tensor_quant


def is_float(layer: Layer) -> bool:
    return bool(layer.node.attrs.get("float"))


def _format(value: Value) -> list[Any]:
    """[dtype, scale, zero point]; float32 has neither of the two."""
    return [value.dtype, *(tensor_quant(value) if value.quant is not None else (1.0, 0))]


def params(layer: Layer) -> dict[str, Any]:
    lo, hi = clamp_of(layer.node)
    return {
        "float": True,
        "formats": [_format(v) for v in layer.inputs],
        "result": _format(layer.output),
        "clamp": [None if math.isinf(lo) else lo, None if math.isinf(hi) else hi],
    }


def to_float(x: Any, value: list[Any]) -> Any:
    """TE expression: an element as float32."""
    from codegen.tvm_api import call, float32, int32

    dtype, scale, zero_point = value
    if dtype == "float32":
        return x
    return call("float32", "ek_dequantize", x.astype("int32"), int32(zero_point), float32(scale))


def finish(p: dict[str, Any], y: Any) -> Any:
    """TE expression: the clamped float32 `y` in the result's format."""
    from codegen.tvm_api import call, float32, int32

    lo, hi = p["clamp"]
    if lo is not None or hi is not None:
        largest = float(np.finfo(np.float32).max)
        bounds = (-largest if lo is None else lo, largest if hi is None else hi)
        y = call("float32", "ek_clampf", y, *(float32(b) for b in bounds))
    dtype, scale, zero_point = p["result"]
    if dtype == "float32":
        return y
    info = np.iinfo(dtype)
    numbers = (int32(zero_point), int32(int(info.min)), int32(int(info.max)))
    return call("int32", "ek_quantize", y, float32(scale), *numbers).astype(dtype)


def _weighted(
    op: str,
    layer: Layer,
    weights: np.ndarray,
    shape: dict[str, Any],
    steps: Callable[[dict[str, Any]], Steps],
) -> Candidate:
    bias = layer.constants[layer.inputs[2].name]
    x = layer.inputs[0]
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        Operand("w", "float32", weights.size, "constant"),
        Operand("bias", "float32", bias.size, "constant"),
        Operand("y", layer.output.dtype, layer.output.size, "output"),
    )
    spec = KernelSpec(op, "c99", operands, {**shape, **params(layer), "tile": 1})
    constants = {"w": np.ascontiguousarray(weights), "bias": bias}
    return sharing(Candidate(spec, (x.name,), constants), steps({**shape, "x_dtype": x.dtype}))


def select_conv(layer: Layer) -> Candidate:
    w = layer.constants[layer.inputs[1].name]
    shape = {
        **_window.params(layer, (w.shape[1], w.shape[2])),
        "O": w.shape[0],
        "groups": layer.node.attrs.get("groups", 1),
    }
    # The taps of a pixel are converted before its results are stored.
    return _weighted("conv2d", layer, w, shape, lambda p: tile_steps(p, layer.output.nbytes))


def schedule_conv(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    (kh_count, kw_count), channels = p["kernel"], p["C"]
    per_group, out_per_group = channels // p["groups"], p["O"] // p["groups"]
    x = te.placeholder((p["H"], p["W"], channels), p["formats"][0][0], name="x")
    w = te.placeholder((p["O"], kh_count, kw_count, per_group), "float32", name="w")
    bias = te.placeholder((p["O"],), "float32", name="bias")
    kh, kw = te.reduce_axis((0, kh_count), "kh"), te.reduce_axis((0, kw_count), "kw")
    ci = te.reduce_axis((0, per_group), "ci")
    taps = te.compute(
        (p["OH"], p["OW"], kh_count, kw_count, channels),
        lambda oh, ow, i, j, c: _pixel(p, x, oh, ow, i, j, c),
        name="taps",
    )

    def tap(oh: Any, ow: Any, o: Any) -> Any:
        c = ci if p["groups"] == 1 else o // out_per_group * per_group + ci
        return te.sum(taps[oh, ow, kh, kw, c] * w[o, kh, kw, ci], axis=[kh, kw, ci])

    acc = te.compute((p["OH"], p["OW"], p["O"]), tap, name="acc")
    y = te.compute(acc.shape, lambda oh, ow, o: finish(p, acc[oh, ow, o] + bias[o]), name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, w, bias, y]))
    block, loops = sch.get_sblock("acc"), sch.get_loops(sch.get_sblock("y"))
    sch.compute_at(block, loops[2], preserve_unit_loops=True)
    sch.compute_at(sch.get_sblock("taps"), loops[1], preserve_unit_loops=True)
    sch.decompose_reduction(block, sch.get_loops(block)[-3])
    return sch


def _pixel(p: dict[str, Any], x: Any, oh: Any, ow: Any, kh: Any, kw: Any, c: Any) -> Any:
    """TE expression: the float32 that a tap meets, 0 in the padding."""
    from codegen.tvm_api import all_of, float32, select

    ih, iw = _window.row(p, oh, kh), _window.column(p, ow, kw)
    inside = all_of(_window.row_inside(p, ih), _window.column_inside(p, iw))
    value = to_float(x[ih, iw, c], p["formats"][0])
    return value if inside is True else select(inside, value, float32(0.0))


def select_depthwise(layer: Layer) -> Candidate:
    w = layer.constants[layer.inputs[1].name]
    kh, kw, out = w.shape
    shape = {**_window.params(layer, (kh, kw)), "O": out}
    return _weighted(
        "depthwise_conv2d", layer, w, shape, lambda p: window_steps(p, layer.output.nbytes, out)
    )


def schedule_depthwise(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    kh_count, kw_count = p["kernel"]
    multiplier = p["O"] // p["C"]
    x = te.placeholder((p["H"], p["W"], p["C"]), p["formats"][0][0], name="x")
    w = te.placeholder((kh_count, kw_count, p["O"]), "float32", name="w")
    bias = te.placeholder((p["O"],), "float32", name="bias")
    kh, kw = te.reduce_axis((0, kh_count), "kh"), te.reduce_axis((0, kw_count), "kw")
    acc = te.compute(
        (p["OH"], p["OW"], p["O"]),
        lambda oh, ow, o: te.sum(
            _pixel(p, x, oh, ow, kh, kw, o // multiplier) * w[kh, kw, o], axis=[kh, kw]
        ),
        name="acc",
    )
    y = te.compute(acc.shape, lambda oh, ow, o: finish(p, acc[oh, ow, o] + bias[o]), name="y")
    sch = s_tir.Schedule(te.create_prim_func([x, w, bias, y]))
    block = sch.get_sblock("acc")
    sch.compute_at(block, sch.get_loops(sch.get_sblock("y"))[2], preserve_unit_loops=True)
    sch.decompose_reduction(block, sch.get_loops(block)[-2])
    return sch


def elementwise(p: dict[str, Any], value: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """`value` of two float32 elements as a function of two elements in the operands' formats."""

    def element(*operands: Any) -> Any:
        reals = (to_float(x, f) for x, f in zip(operands, p["formats"], strict=True))
        return finish(p, value(*reals))

    return element
