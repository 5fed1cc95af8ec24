"""Integer constants of lstm, gru, rnn and svdf: weights row by row, states on their own grids."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Node, Quant, Value
from edgekit.ops.convert import quantize
from quantizer.constants import Context, quantizes
from quantizer.weights import bias_scale, grid_of, quantize_bias

#: The operand of the input's weights; the recurrent weights and the biases follow.
WEIGHTS = {"lstm": 3, "gru": 2, "rnn": 2}


@quantizes("lstm", "gru", "rnn")
def cell(node: Node, context: Context) -> Node:
    """Weights symmetric int8 with a scale for each row. A bias is added to the input's products,
    the inner one of a gru to the recurrent ones."""
    first = WEIGHTS[node.op]
    x, states = node.inputs[0], list(node.inputs[1:first])
    w, r, bias, *inner = node.inputs[first:]
    seen = node.outputs[0]  # what the recurrent products read has the grid of the result
    of_states = [node.outputs[i + 1] for i in range(len(states))]
    names = [
        x,
        *(_state(s, o, context) for s, o in zip(states, of_states, strict=True)),
        *_weights(context, w, x, bias),
        *_weights(context, r, seen, *inner),
    ]
    order = [*names[: first + 1], names[first + 2], names[first + 1], *names[first + 3 :]]
    return replace(node, inputs=tuple(order))


def _state(name: str, like: str, context: Context) -> str:
    """A state that is constant, in the quantization of what it becomes."""
    if name not in context.graph.constants:
        return name
    quant, dtype = context.quants[like], context.dtypes[like]
    data = context.constant(name)
    integers = quantize(Value(name, data.shape, dtype, quant), data)
    return context.out.add_constant(f"{name}_{dtype}", integers, quant)


def _weights(context: Context, name: str, x: str, bias: str = "") -> list[str]:
    """Weights [O, K] of products with `x` and, where there is one, the bias [O] on top."""
    rows = context.constant(name)
    scale_x, dtype = float(context.quants[x].scale[0]), context.dtypes[x]
    # The inner bias of a gru belongs to the last of its rows.
    top = context.constant(bias) if bias else np.zeros(0, np.float32)
    padded = np.concatenate([np.zeros(len(rows) - len(top), np.float32), top])
    grid = grid_of("per-channel", 8, rows, padded, scale_x, dtype)
    scale = grid.scales(rows)
    quant = Quant.make(scale.astype(np.float32), 0, 0)
    integers = grid.nearest(rows, scale).astype(np.int8)
    names = [context.out.add_constant(f"{name}_int8", integers, quant)]
    if bias:
        of_bias = bias_scale(scale_x, quant)[len(rows) - len(top) :]
        quantized = Quant.make(of_bias.astype(np.float32), 0, 0)
        data = quantize_bias(top, of_bias)
        names.append(context.out.add_constant(f"{bias}_int32", data, quantized))
    return names


@quantizes("svdf")
def svdf(node: Node, context: Context) -> Node:
    """Features int8 and time weights int16 with one scale each, the memory int16."""
    x, state, feature, time, bias = node.inputs
    memory = node.outputs[1]
    names = [x, _state(state, memory, context)]
    for name, dtype, top in ((feature, "int8", 127), (time, "int16", 32767)):
        data = context.constant(name)
        largest = float(np.abs(data).max())
        quant = Quant.make(np.float32((largest or 1.0) / top), 0)
        integers = quantize(Value(name, data.shape, dtype, quant), data)
        names.append(context.out.add_constant(f"{name}_{dtype}", integers, quant))
    of_time = constant_scale(context, names[-1])
    scale = np.float64(context.quants[memory].scale[0]) * of_time
    data = quantize_bias(context.constant(bias), np.full(1, scale))
    quant = Quant.make(np.float32(scale), 0)
    names.append(context.out.add_constant(f"{bias}_int32", data, quant))
    return replace(node, inputs=tuple(names))


def constant_scale(context: Context, name: str) -> float:
    """The only scale of an integer constant that has been added."""
    quant = context.out.values[name].quant
    assert quant is not None
    return float(quant.scale[0])
