"""prelu: negative elements times a slope."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops import rules
from edgekit.ops.base import clamp_float
from edgekit.ops.binary_params import prelu_params
from edgekit.ops.broadcasting import Arithmetic, keeps_kind, one_scale
from edgekit.ops.requant import tensor_quant


class PRelu(Arithmetic):
    """x where x >= 0, else the slope times x; the slope broadcasts as in numpy."""

    name = "prelu"
    rules = (rules.two_operands, rules.activations, keeps_kind, one_scale, rules.broadcast)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, slope = inputs
        return clamp_float(node, np.where(x < 0, slope * x, x).astype(np.float32))

    def reference_quantized(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = prelu_params(node, values, out)
        x, slope = (
            a.astype(np.int64) - tensor_quant(v)[1] for a, v in zip(inputs, values, strict=True)
        )
        product = fp.wrap32(x * slope)
        y = np.where(
            x >= 0,
            fp.multiply_by_quantized_multiplier(x, p.multiplier_identity, p.shift_identity),
            fp.multiply_by_quantized_multiplier(product, p.multiplier_slope, p.shift_slope),
        )
        return np.clip(y + tensor_quant(out)[1], p.qmin, p.qmax).astype(out.dtype)


OPERATOR = PRelu()
