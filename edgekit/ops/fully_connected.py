"""fully_connected: a matrix times a vector, with bias."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, clamp_float, require
from edgekit.ops.conv2d import check_weights, exact_matmul, ordered_matmul
from edgekit.ops.requant import channel_requant, tensor_quant


class FullyConnected(Operator):
    """x [1, K] times w [O, K] transposed plus bias [O], with a fused clamp."""

    name = "fully_connected"
    converts = True

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 3, node, f"needs x, w and bias, has {len(inputs)} operands")
        x, w, bias = inputs
        require(len(x.shape) == 2, node, f"x must be [1, K], it is {x.shape}")
        require(len(w.shape) == 2, node, f"w must be [O, K], it is {w.shape}")
        require(w.shape[1] == x.shape[1], node, f"w reads {w.shape[1]} numbers, x has {x.shape[1]}")
        dtype = check_weights(node, x, w, bias, w.shape[0])
        return [((x.shape[0], w.shape[0]), dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, w, bias = inputs
        return clamp_float(node, x @ w.T + bias)

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, w, bias = inputs
        return clamp_float(node, ordered_matmul(x, w) + bias)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        x, w, bias = inputs
        acc = self.accumulate(node, x, w, bias, tensor_quant(values[0])[1])
        multiplier, shift, qmin, qmax = channel_requant(node, values, out)
        return fp.requantize(acc, multiplier, shift, tensor_quant(out)[1], qmin, qmax, out.dtype)

    def accumulate(
        self, node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray, zero_point: int
    ) -> np.ndarray:
        """int32 accumulators [n, O]: sum of (x - zero_point) * w, plus bias, wrapped."""
        folded = bias.astype(np.int64) - zero_point * w.astype(np.int64).sum(axis=1)
        return (exact_matmul(x, w) + folded).astype(np.int32)

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return inputs[0].shape[0] * inputs[1].size


OPERATOR = FullyConnected()
