"""What operators with weights and biases share: rules, and the way to their integers."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import INTEGERS, Operator
from edgekit.ops.requant import requantize_channels, tensor_quant


def x_w_bias(node: Node, inputs: list[Value]) -> bool:
    """Operands are x, weights and a bias."""
    return len(inputs) == 3


def x_is_an_image(node: Node, inputs: list[Value]) -> bool:
    """x must be [1, H, W, C]."""
    return len(inputs[0].shape) == 4


def filters(node: Node, inputs: list[Value]) -> bool:
    """Weights must be [O, KH, KW, C/groups], with O a multiple of 'groups'."""
    x, w, groups = inputs[0].shape, inputs[1].shape, node.attrs.get("groups", 1)
    shaped = len(w) == 4 and isinstance(groups, int) and groups >= 1
    return shaped and w[0] % groups == 0 and w[3] * groups == x[3]


def depthwise_filters(node: Node, inputs: list[Value]) -> bool:
    """Weights must be [KH, KW, O], with O a multiple of the channels of x."""
    x, w = inputs[0].shape, inputs[1].shape
    return len(w) == 3 and w[2] % x[3] == 0


def matrix(node: Node, inputs: list[Value]) -> bool:
    """x must be [..., K] with two axes or more, weights [O, K]."""
    x, w = inputs[0].shape, inputs[1].shape
    return len(x) >= 2 and len(w) == 2 and w[1] == x[-1]


def weighted_dtypes(node: Node, inputs: list[Value]) -> bool:
    """All operands are float32; or x is int8 or int16, weights int8 and the bias int32 (int64 where
    x is int16). In a layer with attribute 'float' weights and bias are float32, x may be an
    integer."""
    x, w, bias = (v.dtype for v in inputs)
    if (w, bias) == ("float32", "float32"):
        return x == "float32" or (bool(node.attrs.get("float")) and x in INTEGERS)
    return (x in INTEGERS and (w, bias) == ("int8", "int32")) or (
        (x, w, bias) == ("int16", "int8", "int64")
    )


def bias_per_channel(node: Node, inputs: list[Value]) -> bool:
    """The bias must have one number for each output channel."""
    channels = inputs[1].shape[2 if node.op == "depthwise_conv2d" else 0]
    return inputs[2].shape == (channels,)


class Weighted(Operator):
    """Sums of products plus a bias, brought to the result's scale channel by channel."""

    converts = True

    def accumulate(
        self, node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray, zero_point: int
    ) -> np.ndarray:
        """Accumulators [..., O] of the bias's dtype: sum of (x - zero_point) * w, plus bias,
        wrapped."""
        raise NotImplementedError

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        x, w, bias = inputs
        acc = self.accumulate(node, x, w, bias, tensor_quant(values[0])[1])
        return requantize_channels(node, acc, values, out)
