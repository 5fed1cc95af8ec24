"""average_pool2d: the mean over a sliding window."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import windows as win
from edgekit.ops.base import clamp_float
from edgekit.ops.interval import Interval
from edgekit.ops.pooling import Pooling, counted_taps, counts_padding, real_taps
from edgekit.ops.requant import clamp_of_output, require_same_quant, tensor_quant


class AveragePool2d(Pooling):
    """Mean over windows of NHWC; the divisor counts real pixels, padding only if it is told to."""

    name = "average_pool2d"

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        total = self._sums(node, inputs[0].astype(np.float64))
        _, count = divisors(node, inputs[0].shape)
        return clamp_float(node, (total / count).astype(np.float32))

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        """float32 throughout, times the divisor's inverse: what every device has."""
        total = self._sums(node, inputs[0].astype(np.float32)) + np.float32(0)  # no -0
        _, count = divisors(node, inputs[0].shape)
        inverse = np.float32(1) / count.astype(np.float32)
        return clamp_float(node, total * inverse)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        require_same_quant(node, values, out)
        total = self._sums(node, inputs[0].astype(np.int64))
        real, count = divisors(node, inputs[0].shape)
        total = total + (count - real) * tensor_quant(out)[1]  # padding that counts is real zero
        # TFLite: halves away from zero, by C's truncating division.
        magnitude = (np.abs(total) + count // 2) // count
        qmin, qmax = clamp_of_output(node, out)
        return np.clip(np.sign(total) * magnitude, qmin, qmax).astype(out.dtype)

    @staticmethod
    def _sums(node: Node, x: np.ndarray) -> np.ndarray:
        """Sum over the real pixels of each window."""
        kernel, strides = win.pair(node, "kernel"), win.pair(node, "strides", 1)
        dilations = win.pair(node, "dilations", 1)
        views = win.taps(win.pad_hw(x, win.pads_of(node), 0), kernel, strides, dilations)
        first: np.ndarray = next(views)[2].copy()
        for _, _, view in views:
            first += view
        return first

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        if not counts_padding(node):
            return super().interval(node, operands, values, out)
        zero, x = tensor_quant(out)[1], operands[0]
        around = Interval(np.minimum(x.lo, zero), np.maximum(x.hi, zero))
        return around.clipped(*clamp_of_output(node, out))


def divisors(node: Node, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Real pixels and counted ones of each window over x [n, H, W, C], int64 [1, OH, OW, 1]."""
    real, counted = (
        rows[:, None, None] * columns[None, :, None]
        for rows, columns in (
            [taps(node, axis, shape[axis + 1]) for axis in (0, 1)]
            for taps in (real_taps, counted_taps)
        )
    )
    return real[None], counted[None]


OPERATOR = AveragePool2d()
