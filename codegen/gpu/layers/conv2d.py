"""conv2d: pixels in registers, with and without a dot product."""

from __future__ import annotations

from codegen.channels import analyse
from codegen.gpu.kernel import Maker, Variant
from codegen.gpu.layers import _convolution, _shapes
from codegen.kernel import Layer


def variants(layer: Layer) -> list[Variant]:
    _shapes.require_int8(layer)
    w = layer.constants[layer.inputs[1].name]
    channels = analyse(layer)
    p = _shapes.window(layer, (w.shape[1], w.shape[2]))
    p |= {"groups": layer.node.attrs.get("groups", 1)}
    return _convolution.variants(p, channels, channels.weights.reshape(w.shape))


MAKERS = (Maker("conv2d", ("conv2d",), variants),)
