"""Rounding and bias correction, layer by layer in execution order.

Both networks run side by side over the calibration data. A layer is finished, weights and bias,
before the integer network goes on, so that later layers see and answer the errors that remain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from edgekit.data import quantize_inputs
from edgekit.graph import Graph, Node
from edgekit.ops import operator
from edgekit.ops.base import run_node
from edgekit.ops.convert import dequantize
from edgekit.ops.requant import quant_of, tensor_quant
from edgekit.reference import evaluate_samples
from quantizer.compare import Errors
from quantizer.floats import evaluate, reference_float
from quantizer.gptq import DAMPING, damped, round_groups
from quantizer.moments import moments
from quantizer.weights import (
    CHANNEL_AXIS,
    Weights,
    bias_limit,
    bias_scale,
    grid_of,
    quantize_bias,
    rows,
    unrows,
    weight_quant,
)
from quantizer.widths import layer_name

BiasCorrection = Literal["empirical", "analytic", "none"]
#: Float activations of the samples used are held at once; this many elements of the largest
#: tensor (128 MB of float32) bound how many samples that is.
HELD_ELEMENTS = 1 << 25
#: How strongly weights that answer earlier errors are held to the original ones, in units of the
#: mean diagonal of the moment; see `_target`. Added to it is what the moment is in doubt.
HOLD = 0.05


@dataclass(frozen=True)
class Refinement:
    """What `refine` does to each layer. `means` are the float network's channel means by tensor,
    which the analytic correction takes; `gptq` names the layers whose weights are rounded anew."""

    bias_correction: BiasCorrection
    weights: Weights
    widths: Mapping[str, int]
    gptq: Collection[str]
    means: Mapping[str, np.ndarray]


def refine(
    graph: Graph,
    integer: Graph,
    data: dict[str, np.ndarray],
    how: Refinement,
    progress: Callable[[str, float], None],
) -> dict[str, float] | None:
    """Round weights and shift biases in place of `integer`; returns what `compare` would.

    None where some samples had to be left out.

    Empirical correction brings, for every weighted layer, the mean over samples and positions of
    the accumulators, before the activation, to the float network's mean (Nagel et al.,
    arXiv:1906.04721, section 4.2); the analytic one subtracts what the rounding of the weights
    does to the mean under the float network's channel means, padding neglected (same section,
    equation 13, with observed means in place of batch normalization's).
    """
    largest = max(value.size for value in graph.values.values())
    n = max(1, HELD_ELEMENTS // largest)
    used = {name: _spread(x, n) for name, x in data.items()}
    floats: dict[str, np.ndarray] = dict(graph.constants)
    floats |= {name: x.astype(graph.values[name].dtype) for name, x in used.items()}
    ints: dict[str, np.ndarray] = dict(integer.constants)
    ints |= quantize_inputs(integer, {name: floats[name] for name in used})
    count = len(next(iter(used.values())))
    uses = Counter(i for node in graph.nodes for i in node.inputs)
    errors = Errors(integer)
    for name in graph.inputs:
        errors.add(name, floats[name], ints[name])
    for number, (f_node, i_node) in enumerate(zip(graph.nodes, integer.nodes, strict=True)):
        f_in = [floats[i] for i in f_node.inputs]
        i_in = [ints[i] for i in i_node.inputs]
        if i_node.op in CHANNEL_AXIS and not i_node.attrs.get("float"):
            i_in = refine_layer(integer, f_node, i_node, f_in, i_in, how)
        want = evaluate_samples(graph, f_node, f_in, count, evaluate)
        have = evaluate_samples(integer, i_node, i_in, count, run_node)
        for name, left, right in zip(f_node.outputs, want, have, strict=True):
            floats[name], ints[name] = left, right
            errors.add(name, left, right)
        for name in f_node.inputs:
            uses[name] -= 1
            if uses[name] == 0:
                floats.pop(name, None)
                ints.pop(name, None)
        progress("round and correct", (number + 1) / len(graph.nodes))
    return errors.sqnr_db() if all(len(used[name]) == len(x) for name, x in data.items()) else None


def refine_layer(
    integer: Graph,
    f_node: Node,
    i_node: Node,
    f_in: list[np.ndarray],
    i_in: list[np.ndarray],
    how: Refinement,
) -> list[np.ndarray]:
    """Finish one layer in place of `integer`; returns the integer node's new operands."""
    x_name, w_name, b_name = i_node.inputs
    w, bias = f_in[1], f_in[2]
    if layer_name(f_node) in how.gptq:
        _round(integer, f_node, i_node, f_in, i_in[0], how)
    w_value = integer.values[w_name]
    scale = bias_scale(tensor_quant(integer.values[x_name])[0], quant_of(w_value))
    i_in = [i_in[0], integer.constants[w_name], integer.constants[b_name]]
    shift = np.zeros(len(bias), np.int64)
    if how.bias_correction == "empirical":
        shift = _mean_error(integer, f_node, i_node, f_in, i_in, scale)
    elif how.bias_correction == "analytic":
        lost = rows(f_node, w - dequantize(w_value, i_in[1])).astype(np.float64)
        mean = _mean_operand(f_node, w, how.means[f_node.inputs[0]])
        shift = np.rint((lost * mean).sum(axis=1) / scale).astype(np.int64)
    limit = bias_limit(rows(f_node, i_in[1]), integer.values[x_name].dtype)
    corrected = np.clip(i_in[2].astype(np.int64) + shift, -limit, limit).astype(np.int32)
    integer.constants[b_name] = i_in[2] = corrected
    return i_in


def _spread(x: np.ndarray, n: int) -> np.ndarray:
    """At most n samples, evenly spread."""
    return x if len(x) <= n else x[np.linspace(0, len(x) - 1, n).astype(np.intp)]


def _mean_error(
    integer: Graph,
    f_node: Node,
    i_node: Node,
    f_in: list[np.ndarray],
    i_in: list[np.ndarray],
    scale: np.ndarray,
) -> np.ndarray:
    """What to add to the integer biases, int64[O]; `scale` is that of the accumulators."""
    op: Any = operator(f_node.op)
    linear = replace(f_node, attrs={**f_node.attrs, "clamp": None})
    want = reference_float(linear, f_in)
    acc = op.accumulate(i_node, *i_in, tensor_quant(integer.values[i_node.inputs[0]])[1])
    axes = tuple(range(want.ndim - 1))
    error = want.mean(axis=axes, dtype=np.float64) - acc.mean(axis=axes, dtype=np.float64) * scale
    return np.rint(error / scale).astype(np.int64)


def _mean_operand(node: Node, w: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The mean of what each weight of `rows` meets, [O, K]; `means` [C] are the operand's."""
    outputs = w.shape[CHANNEL_AXIS[node.op]]
    if node.op == "fully_connected":
        return np.broadcast_to(means, (outputs, len(means)))
    if node.op == "depthwise_conv2d":
        per_output = np.repeat(means, outputs // len(means))
        return np.broadcast_to(per_output[:, None], (outputs, w.shape[0] * w.shape[1]))
    groups = node.attrs.get("groups", 1)
    per_group = np.tile(means.reshape(groups, -1), (1, w.shape[1] * w.shape[2]))
    return np.repeat(per_group, outputs // groups, axis=0)


def _round(
    integer: Graph,
    f_node: Node,
    i_node: Node,
    f_in: list[np.ndarray],
    x: np.ndarray,
    how: Refinement,
) -> None:
    """GPTQ on one layer: new integer weights, their scales, and the bias in those."""
    x_name, w_name, b_name = i_node.inputs
    w, bias = f_in[1], f_in[2]
    in_scale, zero_point = tensor_quant(integer.values[x_name])
    found = moments(f_node, w, x.astype(np.float32) - np.float32(zero_point), in_scale, f_in[0])
    if how.bias_correction != "none":
        found = found.centred()
    r = rows(f_node, w).astype(np.float64)
    dtype = integer.values[x_name].dtype
    grid = grid_of(how.weights, how.widths[layer_name(f_node)], r, bias, in_scale, dtype)
    # Moments of few rows know little: K numbers of n rows have a relative error of about K / n.
    doubt = r.shape[1] / found.count
    parts = np.split(r, len(found.h))
    targets = [
        _target(part, moment, cross, HOLD + doubt)
        for part, moment, cross in zip(parts, found.h, found.cross, strict=True)
    ]
    metrics = [damped(moment, DAMPING + doubt) for moment in found.h]
    live = None if r.all() else r != 0  # a pruned weight stays zero
    q, scale = round_groups(targets, metrics, grid, grid.scales(r), live)
    quant = weight_quant(f_node, scale)
    integer.constants[w_name] = unrows(f_node, q.astype(np.int8), w.shape)
    integer.values[w_name] = replace(integer.values[w_name], quant=quant)
    b_scale = bias_scale(in_scale, quant)
    integer.constants[b_name] = quantize_bias(bias, b_scale)
    b_quant = replace(quant_of(integer.values[b_name]), scale=b_scale.astype(np.float32))
    integer.values[b_name] = replace(integer.values[b_name], quant=b_quant)


def _target(r: np.ndarray, h: np.ndarray, cross: np.ndarray, share: float) -> np.ndarray:
    """Real rows that give the float network's results from the integer network's inputs.

    Ridge regression: v minimizes E[(x v' - x_float r')^2] + hold * |v - r|^2 with `hold` this
    share of the mean diagonal of h, and with zeros where r has them.
    """
    mean = float(np.diag(h).mean())
    if mean <= 0:
        return r
    hold = share * mean
    left, right = h + hold * np.eye(len(h)), (cross + hold * np.eye(len(h))) @ r.T
    found: np.ndarray = np.linalg.solve(left, right).T
    for row in np.flatnonzero(~r.all(axis=1)):
        kept = r[row] != 0
        found[row] = 0
        found[row, kept] = np.linalg.solve(left[np.ix_(kept, kept)], right[kept, row])
    return found
