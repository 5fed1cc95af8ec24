"""conv2d: a two-dimensional convolution with optional groups and a fused clamp."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules, weighted
from edgekit.ops import windows as win
from edgekit.ops.base import Inferred, clamp_float, result_dtype

#: Up to this many products every partial sum of int8 x int8 is an integer below 2**24 in
#: magnitude (1024 * 128 * 128), so that a float32 matmul is exact whatever its order.
EXACT_IN_FLOAT32 = 1024


def exact_matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x [..., K] @ w [O, K] int8 transposed -> [..., O] int64, through a float BLAS.

    Products of int16 with int8 are below 2**22, so that float64 is exact up to 2**31 of them.
    """
    narrow = x.dtype == np.int8 and w.shape[1] <= EXACT_IN_FLOAT32
    dtype = np.dtype(np.float32 if narrow else np.float64)
    product: np.ndarray = np.matmul(x.astype(dtype), w.astype(dtype).T)
    return product.astype(np.int64)


def ordered_matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x [..., K] @ w [O, K] transposed in float32, products added one after the other."""
    acc = np.zeros((*x.shape[:-1], len(w)), np.float32)
    for k in range(w.shape[1]):
        acc += x[..., k, None] * w[:, k]
    return acc


class Conv2d(weighted.Weighted):
    """2-D convolution over NHWC with [O, KH, KW, C/groups] weights, bias and fused clamp."""

    name = "conv2d"
    rules = (
        weighted.x_w_bias, weighted.x_is_an_image, weighted.filters, weighted.weighted_dtypes,
        weighted.bias_per_channel, rules.convertible,
    )  # fmt: skip

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, w, _ = inputs
        shape = win.window_shape(node, x, (w.shape[1], w.shape[2]), w.shape[0])
        return [(shape, result_dtype(node, x))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return self._float(node, inputs, lambda a, b: a @ b.T)

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return self._float(node, inputs, ordered_matmul)

    def _float(
        self,
        node: Node,
        inputs: list[np.ndarray],
        matmul: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        x, w, bias = inputs
        out = self._blocks(node, x, w, 0.0, matmul, np.dtype(np.float32))
        out += bias
        return clamp_float(node, out)

    def accumulate(
        self, node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray, zero_point: int
    ) -> np.ndarray:
        """Accumulators [n, OH, OW, O] of the bias's dtype: sum of (x - zero_point) * w, plus bias,
        wrapped."""
        acc = self._blocks(node, x, w, zero_point, exact_matmul, np.dtype(np.int64))
        folded = bias.astype(np.int64) - zero_point * w.astype(np.int64).sum(axis=(1, 2, 3))
        acc += folded
        return acc.astype(bias.dtype)

    @staticmethod
    def _blocks(
        node: Node,
        x: np.ndarray,
        w: np.ndarray,
        pad_value: float,
        matmul: Callable[[np.ndarray, np.ndarray], np.ndarray],
        dtype: np.dtype,
    ) -> np.ndarray:
        """matmul(im2col block, weights) group by group, in blocks of the batch."""
        kernel = (w.shape[1], w.shape[2])
        strides, dilations = win.pair(node, "strides", 1), win.pair(node, "dilations", 1)
        groups = node.attrs.get("groups", 1)
        probe = Value("x", (1, *x.shape[1:]))
        shape = win.window_shape(node, probe, kernel, w.shape[0])
        out = np.empty((len(x), *shape[1:]), dtype)
        per_group, per_out = w.shape[3], w.shape[0] // groups
        elements = shape[1] * shape[2] * max(w[0].size, w.shape[0])
        for block in win.batch_blocks(len(x), elements):
            padded = win.pad_hw(x[block], win.pads_of(node), pad_value)
            for g in range(groups):
                part = padded if groups == 1 else padded[..., g * per_group : (g + 1) * per_group]
                columns = win.im2col(part, kernel, strides, dilations)
                rows = slice(g * per_out, (g + 1) * per_out)
                out[block, :, :, rows] = matmul(columns, w[rows].reshape(per_out, -1))
        return out

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        return out.size * inputs[1].size // inputs[1].shape[0]


OPERATOR = Conv2d()
