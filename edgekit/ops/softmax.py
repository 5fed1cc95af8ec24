"""softmax: normalized exponentials."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, require
from edgekit.ops.requant import SOFTMAX_SUM_BITS, softmax_params

#: The sum of exponentials has 12 integer bits; one more channel could overflow it.
MAX_CHANNELS = (1 << SOFTMAX_SUM_BITS) - 1


class Softmax(Operator):
    """exp(beta * x) over the last axis, normalized to the sum 1."""

    name = "softmax"

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 1, node, f"needs one operand, has {len(inputs)}")
        x = inputs[0]
        require(x.dtype in ("float32", "int8"), node, f"x must be float32 or int8, not {x.dtype}")
        require(len(x.shape) >= 1, node, "x must have at least one axis")
        require(
            x.dtype != "int8" or x.shape[-1] <= MAX_CHANNELS,
            node,
            f"an int8 softmax takes at most {MAX_CHANNELS} channels, x has {x.shape[-1]}",
        )
        require(node.attrs.get("beta", 1.0) > 0, node, "beta must be positive")
        return [(x.shape, x.dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x = inputs[0] * np.float32(node.attrs.get("beta", 1.0))
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return (e / e.sum(axis=-1, keepdims=True)).astype(np.float32)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        table = softmax_params(node, values, out).exp_table.astype(np.int64)
        x = inputs[0].astype(np.int64)
        e = table[x.max(axis=-1, keepdims=True) - x]
        total = fp.rounding_divide_by_pot(e, SOFTMAX_SUM_BITS).sum(axis=-1, keepdims=True)
        scale, over_unit = fp.reciprocal(total, SOFTMAX_SUM_BITS)
        product = fp.saturating_rounding_doubling_high_mul(scale, e)
        y = fp.rounding_divide_by_pot(product, over_unit + 31 - 8) - 128
        return np.clip(y, -128, 127).astype(np.int8)


OPERATOR = Softmax()
