"""Integer forms of conv_transpose2d and one_hot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Node, Quant
from quantizer.constants import Context, quantizes
from quantizer.weights import bias_scale, grid_of, quantize_bias


@quantizes("conv_transpose2d")
def conv_transpose(node: Node, context: Context) -> Node:
    """Weights [O, KH, KW, I] symmetric int8, one scale for each output channel, nearest integers;
    int32 biases."""
    x, w_name, b_name = node.inputs
    scale_x, dtype = float(context.quants[x].scale[0]), context.dtypes[x]
    w, bias = context.constant(w_name), context.constant(b_name)
    rows = w.reshape(len(w), -1)
    grid = grid_of("per-channel", 8, rows, bias, scale_x, dtype)
    scale = grid.scales(rows)
    quant = Quant.make(scale.astype(np.float32), 0, 0)
    integers = grid.nearest(rows, scale).astype(np.int8).reshape(w.shape)
    of_bias = bias_scale(scale_x, quant)
    weights = context.out.add_constant(f"{w_name}_int8", integers, quant)
    b_quant = Quant.make(of_bias.astype(np.float32), 0, 0)
    biases = context.out.add_constant(f"{b_name}_int32", quantize_bias(bias, of_bias), b_quant)
    return replace(node, inputs=(x, weights, biases))


@quantizes("one_hot")
def one_hot(node: Node, context: Context) -> Node:
    """The result's dtype is its own: indices have none."""
    dtype = context.dtypes.get(node.output, str(node.attrs.get("out_dtype", "float32")))
    return replace(node, attrs={**node.attrs, "out_dtype": dtype})
