"""fully_connected: rows as pixels of an image of one line."""

from __future__ import annotations

from math import prod

from codegen.channels import analyse
from codegen.gpu.kernel import Maker, Variant
from codegen.gpu.layers import _convolution, _shapes
from codegen.kernel import Layer


def variants(layer: Layer) -> list[Variant]:
    _shapes.require_int8(layer)
    channels = analyse(layer)
    x = layer.inputs[0]
    p = _shapes.row(prod(x.shape[:-1]), x.shape[-1])
    return _convolution.variants(p, channels, channels.weights[:, None, None, :])


MAKERS = (Maker("fully_connected", ("fully_connected",), variants),)
