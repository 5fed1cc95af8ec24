"""Interval analysis of accumulators, channel by channel.

Weights are constants and a layer's input has an interval per channel (`edgekit.intervals`), so the
accumulator of an output channel lies in an interval known at compile time. It decides three things:
whether 32 bits suffice at all, whether the cheap requantization is exact, and whether a channel is
constant for every input. Most constant channels are gone from the graph by now; those that are left
are rewritten, since they carry biases and shifts on which the cheap forms would be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.kernel import Layer, NotApplicable
from edgekit.errors import EdgekitError
from edgekit.ops.accumulators import accumulators, results
from edgekit.ops.interval import full
from edgekit.ops.requant import channel_requant, is_wide, tensor_quant

# A constant channel's value v is written as the bias 8*v with the multiplier 2^30 and a right
# shift of 2, which is 1/8 exactly and within reach of every requantization form.
CONSTANT_BIAS = 8
CONSTANT_MULTIPLIER = 1 << 30
CONSTANT_SHIFT = -2


@dataclass(frozen=True)
class Channels:
    """Per-channel integers of a conv-like layer, ready for packing.

    `weights` int8 [O, K] in the operator's own order of taps; `bias` int64 [O] with the input zero
    point folded in; `multiplier`, `shift` int32 [O]; `bound` the largest magnitude that any
    accumulator or partial sum can take, in whatever order it is summed; `final` that of the
    accumulators that requantization reads (for kernels whose sums may wrap); `constant` the number
    of channels rewritten.
    """

    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    bound: int
    final: int
    constant: int
    input_zero_point: int
    output_zero_point: int
    qmin: int
    qmax: int
    types: dict[str, str]

    @property
    def cheap(self) -> bool:
        """Whether ``ek_rescale`` is exact: |acc| < 2^30 and right shifts of 2..30."""
        return bool(self.bound < 1 << 30 and (self.shift <= -2).all() and (self.shift >= -30).all())

    @property
    def relu(self) -> bool:
        """Whether everything below the zero point is clamped away."""
        return self.qmin == self.output_zero_point


def rows(layer: Layer) -> np.ndarray:
    """Constant weights of a conv2d, depthwise_conv2d or fully_connected layer as int8 [O, K]."""
    w = layer.constants[layer.inputs[1].name]
    if layer.node.op == "depthwise_conv2d":
        return np.ascontiguousarray(w.reshape(-1, w.shape[2]).T)
    return w.reshape(w.shape[0], -1)


def analyse(layer: Layer) -> Channels:
    """Fold the zero point, bound the accumulators, rewrite constant channels.

    Args:
        layer: a conv2d, depthwise_conv2d or fully_connected layer.

    Raises:
        EdgekitError: E310 where an accumulator can leave 32 bits for some input.
        NotApplicable: where the layer adds up in 64 bits.
    """
    values = list(layer.inputs)
    if is_wide(values):
        raise NotApplicable("int64 biases")
    weights = rows(layer)
    requant = channel_requant(layer.node, values, layer.output)
    _, zx = tensor_quant(layer.inputs[0])
    _, zy = tensor_quant(layer.output)
    of_x = layer.x_interval or full(layer.inputs[0])
    bias = layer.constants[layer.inputs[2].name].astype(np.int64)
    multiplier, shift = requant.multiplier.copy(), requant.shift.copy()

    sums = accumulators(layer.node, layer.inputs[0], _taps(layer, weights), bias, of_x)
    result = results(layer.node, values, layer.output, sums)
    constant = result.constant
    if (overflow := ~constant & (sums.partial >= 1 << 31)).any():
        channel = int(np.flatnonzero(overflow)[0])
        raise EdgekitError(
            "E310",
            f"layer '{layer.name}': the accumulator of channel {channel} can reach "
            f"{int(sums.partial[channel])}, 32 bits hold {2**31 - 1}",
            help="quantize the layer with a larger output or weight scale, or split it",
        )
    w = np.where(constant[:, None], 0, weights.astype(np.int64))
    small = CONSTANT_BIAS * (result.lo - zy)
    folded = np.where(constant, small, bias - zx * weights.astype(np.int64).sum(1))
    multiplier[constant], shift[constant] = CONSTANT_MULTIPLIER, CONSTANT_SHIFT
    return Channels(
        w.astype(np.int8),
        folded,
        multiplier,
        shift,
        int(np.where(constant, np.abs(small), sums.partial).max()),
        int(np.where(constant, np.abs(small), sums.final.magnitude).max()),
        int(constant.sum()),
        zx,
        zy,
        requant.qmin,
        requant.qmax,
        layer.types,
    )


def _taps(layer: Layer, weights: np.ndarray) -> np.ndarray:
    """Weights [O, K] in the operator's order as [O, KH, KW, inputs of one output channel]."""
    if layer.node.op == "fully_connected":
        return weights[:, None, None, :]
    shape = layer.inputs[1].shape
    kernel = shape[:2] if layer.node.op == "depthwise_conv2d" else shape[1:3]
    return weights.reshape(len(weights), *kernel, -1)
