"""depthwise_conv2d: each output channel reads one input channel."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules, weighted
from edgekit.ops import windows as win
from edgekit.ops.base import Inferred, clamp_float, result_dtype


class DepthwiseConv2d(weighted.Weighted):
    """Depthwise 2-D convolution over NHWC with [KH, KW, O] weights, bias and fused clamp."""

    name = "depthwise_conv2d"
    rules = (
        weighted.x_w_bias, weighted.x_is_an_image, weighted.depthwise_filters,
        weighted.weighted_dtypes, weighted.bias_per_channel, rules.convertible,
    )  # fmt: skip

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, w, _ = inputs
        shape = win.window_shape(node, x, (w.shape[0], w.shape[1]), w.shape[2])
        return [(shape, result_dtype(node, x))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, w, bias = inputs
        out = np.concatenate(
            [self._taps(node, x[b], w, 0.0, np.dtype(np.float32)) for b in self._split(x, w)]
        )
        out += bias
        return clamp_float(node, out)

    def accumulate(
        self, node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray, zero_point: int
    ) -> np.ndarray:
        """Accumulators [n, OH, OW, O] of the bias's dtype: sum of (x - zero_point) * w, plus bias,
        wrapped."""
        folded = bias.astype(np.int64) - zero_point * w.astype(np.int64).sum(axis=(0, 1))
        parts = [self._taps(node, x[b], w, zero_point, bias.dtype) for b in self._split(x, w)]
        # int32 addition wraps, so that wrapping the folded bias first changes nothing.
        return np.concatenate(parts) + folded.astype(bias.dtype)

    @staticmethod
    def _split(x: np.ndarray, w: np.ndarray) -> list[slice]:
        return list(win.batch_blocks(len(x), x[0].size // x.shape[3] * w.shape[2] * 4))

    @staticmethod
    def _taps(
        node: Node, x: np.ndarray, w: np.ndarray, pad_value: float, dtype: np.dtype
    ) -> np.ndarray:
        padded = win.pad_hw(x, win.pads_of(node), pad_value).astype(dtype)
        if w.shape[2] != x.shape[3]:
            padded = np.repeat(padded, w.shape[2] // x.shape[3], axis=3)
        weights = w.astype(dtype)
        acc: np.ndarray | None = None
        strides, dilations = win.pair(node, "strides", 1), win.pair(node, "dilations", 1)
        for i, j, view in win.taps(padded, (w.shape[0], w.shape[1]), strides, dilations):
            product = view * weights[i, j]
            acc = product if acc is None else np.add(acc, product, out=acc)
        assert acc is not None
        return acc

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return out.size * inputs[1].shape[0] * inputs[1].shape[1]


OPERATOR = DepthwiseConv2d()
