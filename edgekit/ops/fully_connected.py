"""fully_connected: a matrix times one vector or several, with bias."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules, weighted
from edgekit.ops.base import Inferred, clamp_float, result_dtype
from edgekit.ops.conv2d import exact_matmul, ordered_matmul


class FullyConnected(weighted.Weighted):
    """x [..., K] times w [O, K] transposed plus bias [O], with a fused clamp."""

    name = "fully_connected"
    rules = (
        weighted.x_w_bias, weighted.matrix, weighted.weighted_dtypes, weighted.bias_per_channel,
        rules.convertible,
    )  # fmt: skip

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, w, _ = inputs
        return [((*x.shape[:-1], w.shape[0]), result_dtype(node, x))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, w, bias = inputs
        return clamp_float(node, x @ w.T + bias)

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, w, bias = inputs
        return clamp_float(node, ordered_matmul(x, w) + bias)

    def accumulate(
        self, node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray, zero_point: int
    ) -> np.ndarray:
        """Accumulators [..., O] of the bias's dtype: sum of (x - zero_point) * w, plus bias,
        wrapped."""
        folded = bias.astype(np.int64) - zero_point * w.astype(np.int64).sum(axis=1)
        return (exact_matmul(x, w) + folded).astype(bias.dtype)

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return inputs[0].size // inputs[0].shape[-1] * inputs[1].size


OPERATOR = FullyConnected()
