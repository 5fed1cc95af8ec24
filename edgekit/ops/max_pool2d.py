"""max_pool2d: the largest value in a sliding window."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import windows as win
from edgekit.ops.base import clamp_float
from edgekit.ops.pooling import Pooling
from edgekit.ops.requant import clamp_of_output, require_same_quant


class MaxPool2d(Pooling):
    """Maximum over windows of NHWC; padding never wins."""

    name = "max_pool2d"

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return clamp_float(node, self._max(node, inputs[0], -np.inf))

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return self._max(node, inputs[0], -np.inf, lambda best, x: np.where(x > best, x, best))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        require_same_quant(node, values, out)
        qmin, qmax = clamp_of_output(node, out)
        return np.clip(self._max(node, inputs[0], int(np.iinfo(out.dtype).min)), qmin, qmax).astype(
            out.dtype
        )

    @staticmethod
    def _max(
        node: Node,
        x: np.ndarray,
        lowest: float,
        larger: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.maximum,
    ) -> np.ndarray:
        kernel, strides = win.pair(node, "kernel"), win.pair(node, "strides", 1)
        dilations = win.pair(node, "dilations", 1)
        views = win.taps(win.pad_hw(x, win.pads_of(node), lowest), kernel, strides, dilations)
        best = next(views)[2].copy()
        for _, _, view in views:
            best = larger(best, view)
        return best


OPERATOR = MaxPool2d()
