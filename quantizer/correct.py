"""Empirical bias correction, layer by layer in execution order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.data import quantize_inputs
from edgekit.graph import Graph, Node
from edgekit.ops import operator
from edgekit.ops.base import run_node
from edgekit.ops.requant import quant_of, tensor_quant
from quantizer.weights import BIAS_LIMIT, CHANNEL_AXIS

#: Float activations of the samples used are held at once; this many elements of the largest
#: tensor (128 MB of float32) bound how many samples that is.
HELD_ELEMENTS = 1 << 25


def correct_biases(
    graph: Graph,
    integer: Graph,
    data: dict[str, np.ndarray],
    progress: Callable[[str, float], None],
) -> None:
    """Shift the integer biases in place of `integer` so that channel means agree.

    Both networks run side by side. For every weighted layer the mean over samples and positions
    of the accumulators, before the activation, is brought to the float network's mean; the layer
    then runs with its new bias, so that later layers see the errors that remain.
    """
    largest = max(value.size for value in graph.values.values())
    n = max(1, HELD_ELEMENTS // largest)
    used = {name: _spread(x, n) for name, x in data.items()}
    floats: dict[str, np.ndarray] = dict(graph.constants)
    floats |= {name: x.astype(np.float32) for name, x in used.items()}
    ints: dict[str, np.ndarray] = dict(integer.constants)
    ints |= quantize_inputs(integer, {name: x.astype(np.float32) for name, x in used.items()})
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    for number, (f_node, i_node) in enumerate(zip(graph.nodes, integer.nodes, strict=True)):
        f_in = [floats[i] for i in f_node.inputs]
        if i_node.op in CHANNEL_AXIS:
            b_name = i_node.inputs[2]
            shift = _mean_error(integer, f_node, i_node, f_in, [ints[i] for i in i_node.inputs])
            moved = ints[b_name].astype(np.int64) + shift
            corrected = np.clip(moved, -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
            integer.constants[b_name] = ints[b_name] = corrected
        floats[f_node.output] = run_node(graph, f_node, f_in)
        ints[i_node.output] = run_node(integer, i_node, [ints[i] for i in i_node.inputs])
        for name in f_node.inputs:
            uses[name] -= 1
            if uses[name] == 0:
                floats.pop(name, None)
                ints.pop(name, None)
        progress("correct biases", (number + 1) / len(graph.nodes))


def _spread(x: np.ndarray, n: int) -> np.ndarray:
    """At most n samples, evenly spread."""
    return x if len(x) <= n else x[np.linspace(0, len(x) - 1, n).astype(np.intp)]


def _mean_error(
    integer: Graph, f_node: Node, i_node: Node, f_in: list[np.ndarray], i_in: list[np.ndarray]
) -> np.ndarray:
    """What to add to the integer biases, int64[O]."""
    op: Any = operator(f_node.op)
    linear = replace(f_node, attrs={**f_node.attrs, "clamp": None})
    want = op.reference_float(linear, f_in)
    x_scale, x_zero = tensor_quant(integer.values[i_node.inputs[0]])
    acc = op.accumulate(i_node, *i_in, x_zero)
    axes = tuple(range(want.ndim - 1))
    scale = x_scale * quant_of(integer.values[i_node.inputs[1]]).scale.astype(np.float64)
    error = want.mean(axis=axes, dtype=np.float64) - acc.mean(axis=axes, dtype=np.float64) * scale
    return np.rint(error / scale).astype(np.int64)
