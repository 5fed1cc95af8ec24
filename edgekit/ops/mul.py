"""mul: the product of two tensors."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import clamp_float
from edgekit.ops.elementwise import Elementwise
from edgekit.ops.interval import Interval, requantized
from edgekit.ops.requant import mul_params, tensor_quant


class Mul(Elementwise):
    """Product of two tensors with numpy broadcasting and a fused clamp."""

    name = "mul"
    converts = True

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return clamp_float(node, inputs[0] * inputs[1])

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = mul_params(node, values, out)
        a = inputs[0].astype(np.int64) - tensor_quant(values[0])[1]
        b = inputs[1].astype(np.int64) - tensor_quant(values[1])[1]
        return fp.requantize(
            a * b, p.multiplier, p.shift, tensor_quant(out)[1], p.qmin, p.qmax, out.dtype
        )

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        p = mul_params(node, values, out)
        (a, za), (b, zb) = ((o, tensor_quant(v)[1]) for o, v in zip(operands, values, strict=True))
        corners = [(x - za) * (y - zb) for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
        product = Interval(np.min(corners, axis=0), np.max(corners, axis=0))
        zero_point = tensor_quant(out)[1]
        return requantized(product, p.multiplier, p.shift, zero_point, p.qmin, p.qmax)


OPERATOR = Mul()
