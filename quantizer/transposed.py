"""Integer weights of conv_transpose2d: as a convolution's, rounded to the nearest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Node, Quant
from quantizer.constants import Context, quantizes
from quantizer.weights import bias_scale, quantize_bias, quantize_weights


@quantizes("conv_transpose2d")
def transposed(node: Node, context: Context) -> Node:
    """Weights [O, KH, KW, C/groups] symmetric int8 with a scale per output channel; int32 biases."""
    x, w_name, b_name = node.inputs
    scale, bias = float(context.quants[x].scale[0]), context.constant(b_name)
    like = replace(node, op="conv2d")
    w, quant = quantize_weights(
        like, context.constant(w_name), bias, scale, dtype=context.dtypes[x]
    )
    steps = bias_scale(scale, quant)
    weights = context.out.add_constant(f"{w_name}_int8", w, quant)
    biases = context.out.add_constant(
        f"{b_name}_int32", quantize_bias(bias, steps), Quant.make(steps.astype(np.float32), 0, 0)
    )
    return replace(node, inputs=(x, weights, biases))
