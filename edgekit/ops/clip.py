"""clip: an activation that could not be fused, and conversion between quantizations."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, clamp_float, result_dtype
from edgekit.ops.interval import Interval, requantized
from edgekit.ops.requant import clip_params, tensor_quant
from edgekit.ops.rules import activation, convertible, one_operand
from edgekit.ops.tables import by_table


def has_clamp(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'clamp' must be an interval [lo, hi]; None is no bound."""
    return node.attrs.get("clamp") is not None


class Clip(Operator):
    """Clamp to a real interval; in integers it also requantizes to the output's scale and width."""

    name = "clip"
    converts = True
    rules = (one_operand, activation, has_clamp, convertible)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, result_dtype(node, inputs[0]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return clamp_float(node, inputs[0])

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = clip_params(node, values, out)
        zx, zy = tensor_quant(values[0])[1], tensor_quant(out)[1]
        return by_table(
            inputs[0],
            lambda q: fp.requantize(q - zx, p.multiplier, p.shift, zy, p.qmin, p.qmax, out.dtype),
        )

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        p = clip_params(node, values, out)
        zx, zy = tensor_quant(values[0])[1], tensor_quant(out)[1]
        x = Interval(operands[0].lo - zx, operands[0].hi - zx)
        return requantized(x, p.multiplier, p.shift, zy, p.qmin, p.qmax)


OPERATOR = Clip()
