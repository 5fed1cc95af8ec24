"""Pooling and softmax of TFLite, which normalize or compare along axes."""

from __future__ import annotations

import math
from typing import Any

from edgekit.importers.common import Refused
from edgekit.importers.tflite.builder import TfliteBuilder, handles
from edgekit.importers.tflite.read import TfliteNode
from edgekit.importers.tflite.shared import clamp_of, window

#: TFLite's L2_NORMALIZATION never divides by less.
L2_EPSILON = 1e-6


def _attributes(b: TfliteBuilder, node: TfliteNode) -> dict[str, Any]:
    import tflite

    options = node.options(tflite.Pool2DOptions)
    b.same_quant(node)
    kernel = [int(options.FilterHeight()), int(options.FilterWidth())]
    return {"kernel": kernel, **window(b, node, options, kernel, [1, 1]), **clamp_of(options)}


@handles("MAX_POOL_2D")
def max_pool(b: TfliteBuilder, node: TfliteNode) -> None:
    """SAME or VALID, with operand and result of one scale."""
    b.finish(node, "max_pool2d", [b.x(node)], _attributes(b, node))


@handles("AVERAGE_POOL_2D")
def average_pool(b: TfliteBuilder, node: TfliteNode) -> None:
    """SAME or VALID, with operand and result of one scale; of uint8 an odd number of pixels."""
    attrs = _attributes(b, node)
    odd = math.prod(attrs["kernel"]) % 2 and not any(attrs["pads"])
    if b.operand(node, 0).unsigned and not odd:
        raise Refused("it rounds halves of uint8 up, which is another number for int8")
    b.finish(node, "average_pool2d", [b.x(node)], attrs)


@handles("SOFTMAX")
def softmax(b: TfliteBuilder, node: TfliteNode) -> None:
    """Over the last axis, with the result's scale that TFLite prescribes: 1/256 and zero point -128
    for int8, 1/32768 for int16."""
    import tflite

    options = node.options(tflite.SoftmaxOptions)
    dtype, quant = b.kind_of(b.result(node))
    if quant is not None:
        given = (float(quant.scale[0]), int(quant.zero_point[0]))
        if dtype == "int8" and given != (1 / 256, -128):
            raise Refused("its output must have scale 1/256 and zero point -128")
        if dtype == "int16" and given != (1 / 32768, 0):
            raise Refused("its output must have scale 1/32768 and zero point 0")
    b.finish(node, "softmax", [b.x(node)], {"beta": float(options.Beta())})


@handles("LOG_SOFTMAX")
def log_softmax(b: TfliteBuilder, node: TfliteNode) -> None:
    """Over the last axis, with scale 16/256 and zero point 127 for int8."""
    b.finish(node, "log_softmax", [b.x(node)], {})


@handles("L2_NORMALIZATION")
def l2_normalization(b: TfliteBuilder, node: TfliteNode) -> None:
    """Over the last axis, with scale 1/128 and zero point 0 for int8."""
    import tflite

    options = node.options(tflite.L2NormOptions)
    if clamp_of(options):
        raise Refused("its fused activation is not supported")
    b.finish(node, "l2_normalize", [b.x(node)], {"epsilon": L2_EPSILON})
