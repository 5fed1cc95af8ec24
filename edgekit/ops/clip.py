"""clip: an activation that could not be fused, and conversion between quantizations."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, check_activation, clamp_float, require
from edgekit.ops.interval import Interval, requantized
from edgekit.ops.requant import clip_params, tensor_quant
from edgekit.ops.tables import by_table


class Clip(Operator):
    """Clamp to a real interval; in integers it also requantizes to the output's scale and width."""

    name = "clip"
    converts = True

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 1, node, f"needs one operand, has {len(inputs)}")
        x = inputs[0]
        require(node.attrs.get("clamp") is not None, node, "has no clamp")
        return [(x.shape, check_activation(node, x))]

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
