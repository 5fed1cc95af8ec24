"""average_pool2d: the mean over a sliding window."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import windows as win
from edgekit.ops.base import clamp_float
from edgekit.ops.pooling import Pooling
from edgekit.ops.requant import clamp_of_output, require_same_quant


class AveragePool2d(Pooling):
    """Mean over windows of NHWC; the divisor counts real pixels only, never padding."""

    name = "average_pool2d"
    grid = "operand"

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        total, count = self._sums(node, inputs[0].astype(np.float64))
        return clamp_float(node, (total / count).astype(np.float32))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        require_same_quant(node, values, out)
        total, count = self._sums(node, inputs[0].astype(np.int64))
        # TFLite: halves away from zero, by C's truncating division.
        magnitude = (np.abs(total) + count // 2) // count
        qmin, qmax = clamp_of_output(node, out)
        return np.clip(np.sign(total) * magnitude, qmin, qmax).astype(out.dtype)

    @staticmethod
    def _sums(node: Node, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sum over each window, and its number of real pixels [1, OH, OW, 1]."""
        kernel, strides = win.pair(node, "kernel"), win.pair(node, "strides", 1)
        pads = win.pads_of(node)

        def total(v: np.ndarray) -> np.ndarray:
            views = win.taps(win.pad_hw(v, pads, 0), kernel, strides, (1, 1))
            first = next(views)[2].copy()
            for _, _, view in views:
                first += view
            return first

        return total(x), total(np.ones((1, *x.shape[1:3], 1), x.dtype))


OPERATOR = AveragePool2d()
