"""Interval analysis of accumulators, channel by channel.

Weights are constants, so the accumulator of an output channel lies in an interval known at compile
time. It decides three things: whether 32 bits suffice at all, whether the cheap requantization is
exact, and whether a channel is constant for every input. Constant channels are rewritten, since
they are the ones that carry biases and shifts on which the cheap forms would be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.kernel import Layer
from edgekit.errors import EdgekitError
from edgekit.ops import fixedpoint as fp
from edgekit.ops.requant import channel_requant, tensor_quant

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
    accumulator or partial sum can take; `constant` the number of channels rewritten.
    """

    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    bound: int
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


def analyse(layer: Layer, weights: np.ndarray) -> Channels:
    """Fold the zero point, bound the accumulators, rewrite constant channels.

    Args:
        layer: a conv2d, depthwise_conv2d or fully_connected layer.
        weights: int8 [O, K], one row per output channel.

    Raises:
        EdgekitError: E310 where an accumulator can leave 32 bits for some input.
    """
    requant = channel_requant(layer.node, list(layer.inputs), layer.output)
    _, zx = tensor_quant(layer.inputs[0])
    _, zy = tensor_quant(layer.output)
    w = weights.astype(np.int64)
    bias = layer.constants[layer.inputs[2].name].astype(np.int64)
    multiplier, shift = requant.multiplier.copy(), requant.shift.copy()

    x = np.iinfo(layer.inputs[0].dtype)
    low, high = w * (x.min - zx), w * (x.max - zx)
    smallest = bias + np.minimum(low, high).sum(1)
    largest = bias + np.maximum(low, high).sum(1)
    # Requantization is monotone, which the test for constants needs, as long as nothing wraps.
    left = np.maximum(shift, 0).astype(np.int64)
    fits = np.maximum(np.abs(smallest), np.abs(largest)) << left < 1 << 31

    def output(acc: np.ndarray) -> np.ndarray:
        y = fp.multiply_by_quantized_multiplier(acc, requant.multiplier, requant.shift) + zy
        return np.clip(y, requant.qmin, requant.qmax)

    at_smallest = output(np.where(fits, smallest, 0))
    constant = fits & (at_smallest == output(np.where(fits, largest, 0)))
    folded = bias - zx * w.sum(1)
    reach = -int(x.min)
    partial = np.abs(folded) + reach * np.abs(w).sum(1)
    if (overflow := ~constant & (partial >= 1 << 31)).any():
        channel = int(np.flatnonzero(overflow)[0])
        raise EdgekitError(
            "E310",
            f"layer '{layer.name}': the accumulator of channel {channel} can reach "
            f"{int(partial[channel])}, 32 bits hold {2**31 - 1}",
            help="quantize the layer with a larger output or weight scale, or split it",
        )
    w = np.where(constant[:, None], 0, w)
    folded = np.where(constant, CONSTANT_BIAS * (at_smallest - zy), folded)
    multiplier[constant], shift[constant] = CONSTANT_MULTIPLIER, CONSTANT_SHIFT
    bound = int((np.abs(folded) + reach * np.abs(w).sum(1)).max())
    return Channels(
        w.astype(np.int8),
        folded,
        multiplier,
        shift,
        bound,
        int(constant.sum()),
        zx,
        zy,
        requant.qmin,
        requant.qmax,
        layer.types,
    )
