"""Weights and biases as integers."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Quant
from edgekit.ops.fixedpoint import round_half_away

#: The axis of output channels in each operator's weights.
CHANNEL_AXIS = {"conv2d": 0, "fully_connected": 0, "depthwise_conv2d": 2}
#: Biases stay below half of int32, so that the accumulator has the other half.
BIAS_LIMIT = float(1 << 30)
#: The most that one product can add to an accumulator: |x - zero point| <= 255, |w| <= 127, and as
#: much as 256 * 127 with the zero point folded into the bias.
LARGEST_TERM = 256 * 127


def quantize_weights(
    node: Node, w: np.ndarray, bias: np.ndarray, in_scale: float
) -> tuple[np.ndarray, Quant, np.ndarray]:
    """Per-channel symmetric int8 weights in [-127, 127].

    Returns:
        (weights int8, their quantization, the scale of each channel's bias float64[O]). A scale
        is at least large enough for the channel's bias to leave room for its products and to
        stay below `BIAS_LIMIT`; a channel whose weights are all zero takes the median scale of
        the others.
    """
    axis = CHANNEL_AXIS[node.op]
    others = tuple(i for i in range(w.ndim) if i != axis)
    scale = np.abs(w).max(axis=others).astype(np.float64) / 127
    dead = scale < 1e-30
    scale[dead] = float(np.median(scale[~dead])) if (~dead).any() else 1.0
    room = max(2.0**31 - 1 - LARGEST_TERM * (w.size // w.shape[axis]), 1.0)
    limit = min(BIAS_LIMIT, room)
    scale = np.maximum(scale, np.abs(bias).astype(np.float64) / (in_scale * limit))
    quant = Quant.make(scale.astype(np.float32), 0, axis)
    shape = [1] * w.ndim
    shape[axis] = -1
    wide = quant.scale.astype(np.float64)
    q = np.clip(round_half_away(w / wide.reshape(shape)), -127, 127).astype(np.int8)
    return q, quant, np.float64(np.float32(in_scale)) * wide


def quantize_bias(bias: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """int32 biases; `scale` is input scale x weight scale, float64[O]."""
    return np.clip(round_half_away(bias / scale), -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
