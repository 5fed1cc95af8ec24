"""What `minimum` and `maximum` share, and how `where` moves integers to the result's scale."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.binary_params import moved_params
from edgekit.ops.broadcasting import Arithmetic, at_ends, scaled
from edgekit.ops.interval import Interval, full
from edgekit.ops.requant import tensor_quant


def moved(x: np.ndarray, value: Value, out: Value) -> np.ndarray:
    """An operand's integers as integers of the result, in int64."""
    p = None if out.quant is None else moved_params(value, out)
    if p is None:
        return x.astype(np.int64)
    y = scaled(x, value, p.multiplier, p.shift) + tensor_quant(out)[1]
    return np.clip(y, p.qmin, p.qmax)


class Extreme(Arithmetic):
    """Integers that share the result's quantization are compared as they are."""

    grid = "operands"

    def of(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return self.of(inputs[0], inputs[1])

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        """In the order of comparisons that C has, which is seen in the sign of a zero."""
        a, b = np.broadcast_arrays(*inputs)
        return np.where(self.of(a, b) == b, b, a)

    def reference_int32(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self.of(a, b)

    def reference_quantized(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        a, b = (moved(x, v, out) for x, v in zip(inputs, values, strict=True))
        return self.of(a, b).astype(out.dtype)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        """Monotone in both operands, unless a left shift wraps."""
        if out.dtype != "int32" and any(_may_wrap(v, out) for v in values):
            return full(out)
        least, _, _, greatest = at_ends(self, node, operands, values, out)
        return Interval(least, greatest)


def _may_wrap(value: Value, out: Value) -> bool:
    p = moved_params(value, out)
    return p is not None and 1 << (17 + max(p.shift, 0)) > fp.INT32_MAX
