"""TFLite operators that join, pad, pick or resize tensors."""

from __future__ import annotations

from typing import Any

from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.builder import TfliteBuilder, handles
from edgekit.importers.tflite.read import Tensor, TfliteNode
from edgekit.importers.tflite.shared import clamp_attribute
from edgekit.ops.convert import dequantize


@handles("CONCATENATION")
def concatenation(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any number of operands, constants among them, of the result's scale; no fused activation on
    integers."""
    import tflite

    names = []
    for i in range(len(node.inputs)):
        b.same_quant(node, i)
        names.append(b.x(node, i))
    axis = int(node.option(tflite.ConcatenationOptions, "Axis", 0))
    axis = b.axis(node, axis, len(b.value(names[0]).shape))
    kind = node.option(tflite.ConcatenationOptions, "FusedActivationFunction", 0)
    clamp = clamp_attribute(kind)
    if clamp and not b.floating:
        raise Refused("its fused activation is not supported on integers")
    if not clamp:
        b.finish(node, "concat", names, {"axis": axis})
        return
    joined = b.emit("concat", names, {"axis": axis}, node=node.name)
    b.finish(node, "clip", [joined], clamp)


@handles("PACK")
def pack(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any number of operands of one shape and of the result's scale."""
    import tflite

    rows = []
    out = b.result(node)
    axis = b.axis(node, int(node.option(tflite.PackOptions, "Axis", 0)), len(out.shape))
    for i in range(len(node.inputs)):
        b.same_quant(node, i)
        shape = list(b.operand(node, i).shape)
        rows.append(b.reshape(b.x(node, i), [*shape[:axis], 1, *shape[axis:]], node=node.name))
    b.finish(node, "concat", rows, {"axis": axis})


@handles("PAD")
def pad(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant amounts; in front of a convolution the convolution pads."""
    _pad(b, node, 0.0)


@handles("PADV2")
def pad_v2(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant amounts and a constant value."""
    _pad(b, node, _value(b, node, b.constant_operand(node, 2, "value")))


def _pad(b: TfliteBuilder, node: TfliteNode, value: float) -> None:
    b.same_quant(node)
    attrs = {"pads": _amounts(b, node), "mode": "constant", "value": value}
    b.finish(node, "pad", [b.x(node)], attrs)


def _amounts(b: TfliteBuilder, node: TfliteNode) -> list[int]:
    """Elements before, then behind, for each axis."""
    amounts, rank = b.integers(node, 1, "amounts"), len(b.value(b.x(node)).shape)
    if len(amounts) != 2 * rank or min(amounts, default=0) < 0:
        raise invalid(f"'{node.name}' ({node.op}) pads {rank} axes by {amounts}")
    return [*amounts[::2], *amounts[1::2]]


def _value(b: TfliteBuilder, node: TfliteNode, tensor: Tensor) -> float:
    """The real number that PADV2 pads with."""
    from edgekit.graph import Value

    assert tensor.data is not None
    number = tensor.data.reshape(-1)[:1]
    quant = b.quant_of(b.result(node))
    if quant is None:
        return float(number[0])
    if tensor.quant != quant:
        raise Refused("its value and output differ in scale or zero point")
    return float(dequantize(Value("value", (1,), tensor.dtype, quant), number)[0])


@handles("MIRROR_PAD")
def mirror_pad(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant amounts, by reflection or symmetric."""
    import tflite

    b.same_quant(node)
    symmetric = node.option(tflite.MirrorPadOptions, "Mode", 0) == 1
    attrs = {"pads": _amounts(b, node), "mode": "symmetric" if symmetric else "reflect"}
    b.finish(node, "pad", [b.x(node)], attrs)


@handles("GATHER")
def gather(b: TfliteBuilder, node: TfliteNode) -> None:
    """int32 or int64 indices, constant or computed, with batch axes."""
    import tflite

    b.same_quant(node)
    axis = int(node.option(tflite.GatherOptions, "Axis", 0))
    batch = int(node.option(tflite.GatherOptions, "BatchDims", 0))
    attrs = {"axis": b.axis(node, axis, len(b.value(b.x(node)).shape))}
    if batch:
        attrs["batch_dims"] = b.axis(node, batch, len(b.operand(node, 1).shape) + 1)
    indices = b.x(node, 1)
    out = b.result(node)
    if b.operand(node, 1).shape or b.value(indices).shape != (1,):
        b.finish(node, "gather", [b.x(node), indices], attrs)
        return
    # A scalar index takes its axis away.
    picked = b.emit("gather", [b.x(node), indices], attrs, node=node.name, quant=b.quant_of(out))
    b.finish(node, "reshape", [picked], {"shape": list(out.shape) or [1]})


@handles("GATHER_ND")
def gather_nd(b: TfliteBuilder, node: TfliteNode) -> None:
    """int32 or int64 indices, constant or computed."""
    b.same_quant(node)
    b.finish(node, "gather_nd", [b.x(node, 0), b.x(node, 1)], {"batch_dims": 0})


@handles("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant size, aligned corners or half-pixel centres or neither."""
    import tflite

    b.same_quant(node)
    linear = node.op == "RESIZE_BILINEAR"
    kind = tflite.ResizeBilinearOptions if linear else tflite.ResizeNearestNeighborOptions
    x, size = b.value(b.x(node)), b.integers(node, 1, "size")
    if len(size) != 2 or len(x.shape) != 4:
        raise invalid(f"'{node.name}' resizes {list(x.shape)} to {size}")
    coordinates = "asymmetric"
    if node.option(kind, "AlignCorners", False):
        coordinates = "align_corners"
    elif node.option(kind, "HalfPixelCenters", False):
        coordinates = "half_pixel"
    attrs: dict[str, Any] = {
        "size": [x.shape[0], *size, x.shape[3]],
        "mode": "linear" if linear else "nearest",
        "coordinates": coordinates,
    }
    if not (linear and b.floating):
        attrs["as_tflite"] = True
    b.finish(node, "resize", [x.name], attrs)
