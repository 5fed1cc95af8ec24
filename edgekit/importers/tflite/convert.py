"""Conversions between number formats, and results that are known when a file is read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.importers.common import Refused, check_size, invalid
from edgekit.importers.tflite.builder import TfliteBuilder, handles, reals
from edgekit.importers.tflite.read import TfliteNode
from edgekit.ops.base import INTEGERS


@handles("QUANTIZE")
def requantize(b: TfliteBuilder, node: TfliteNode) -> None:
    """Integers to other integers (a clip that is open on both sides); at inputs that are float32 it
    vanishes, they carry its scale."""
    if b.floating:
        raise Refused("it quantizes in the middle of a model that computes in float32")
    attrs: dict[str, Any] = {"clamp": [None, None]}
    dtype = b.kind_of(b.result(node))[0]
    if dtype != b.value(b.x(node)).dtype:
        attrs["out_dtype"] = dtype
    b.finish(node, "clip", [b.x(node)], attrs)


@handles("DEQUANTIZE")
def dequantize(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constants stored as float16 or int8; at outputs it vanishes, they carry its scale."""
    source = b.operand(node, 0)
    if not b.floating or source.data is None:
        raise Refused("a float32 tensor in the middle of an integer model is not supported")
    out = b.result(node)
    if out.shape != source.shape:
        raise invalid(f"'{node.name}' and '{source.name}' differ in shape")
    b.tensors[node.outputs[0]] = replace(out, data=reals(source), dtype="float32", quant=None)


@handles("CAST")
def cast(b: TfliteBuilder, node: TfliteNode) -> None:
    """Between float32, int32 and bool; of quantized integers it would give their raw numbers."""
    out = b.result(node)
    if INTEGERS[0] in (out.dtype, b.operand(node, 0).dtype):
        raise Refused("it takes quantized integers for plain ones")
    b.finish(node, "cast", [b.x(node)], {"to": b.kind_of(out)[0]})


@handles("SHAPE", "RANK")
def shape(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any: shapes in the file are static, the result is a constant."""
    source = b.operand(node, 0)
    if node.op == "RANK":
        b.known(node, np.array(len(source.shape)))
        return
    b.known(node, np.array(source.shape, np.int64))


@handles("RANGE")
def arange(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant ends and step."""
    ends = [b.constant_operand(node, i, "ends and step").data for i in range(3)]
    start, stop, step = (e.reshape(-1)[0] for e in ends if e is not None)
    if step == 0:
        raise invalid(f"'{node.name}' ({node.op}) has a step of 0")
    b.check_folded([max(1, int(np.ceil((stop - start) / step)))])
    b.known(node, np.arange(start, stop, step))


@handles("FILL")
def fill(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant shape and value."""
    shape = b.integers(node, 0, "shape")
    check_size(f"'{node.name}'", shape)
    b.check_folded(shape)
    value = b.constant_operand(node, 1, "value")
    if value.quant is not None and value.quant != b.result(node).quant:
        raise Refused("its value and output differ in scale or zero point")
    assert value.data is not None
    b.known(node, np.full(shape, value.data.reshape(-1)[0]))


@handles("ZEROS_LIKE")
def zeros_like(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any; of quantized numbers it is the integer 0, as TFLite does it."""
    out = b.result(node)
    b.check_folded(out.shape)
    b.known(node, np.zeros(out.shape))


@handles("BROADCAST_ARGS")
def broadcast_args(b: TfliteBuilder, node: TfliteNode) -> None:
    """Two constant shapes."""
    shapes = [tuple(b.integers(node, i, "shapes")) for i in (0, 1)]
    try:
        b.known(node, np.array(np.broadcast_shapes(*shapes), np.int64))
    except ValueError:
        raise invalid(f"'{node.name}': {shapes[0]} and {shapes[1]} do not broadcast") from None


@handles("ONE_HOT")
def one_hot(b: TfliteBuilder, node: TfliteNode) -> None:
    """int32 indices, a constant depth and constant values."""
    import tflite

    [depth] = b.integers(node, 1, "depth")
    on, off = (b.constant_operand(node, i, "values") for i in (2, 3))
    assert on.data is not None and off.data is not None
    out = b.result(node)
    if out.quant is not None:
        raise Refused("its result is quantized")
    axis = int(node.option(tflite.OneHotOptions, "Axis", 0))
    rank = len(b.value(b.x(node)).shape) + 1
    attrs = {
        "depth": depth,
        "axis": b.axis(node, axis, rank),
        "on": on.data.reshape(-1)[0].item(),
        "off": off.data.reshape(-1)[0].item(),
        "out_dtype": b.kind_of(out)[0],
    }
    b.finish(node, "one_hot", [b.x(node)], attrs)
