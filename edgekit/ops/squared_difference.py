"""squared_difference: the square of the difference of two tensors."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import clamp_float
from edgekit.ops.binary_params import squared_difference_params
from edgekit.ops.broadcasting import Arithmetic, scaled
from edgekit.ops.requant import tensor_quant


class SquaredDifference(Arithmetic):
    """Square of the difference of two tensors, with numpy broadcasting and a fused clamp."""

    name = "squared_difference"

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return clamp_float(node, np.square(inputs[0] - inputs[1]))

    def reference_int32(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        difference = fp.wrap32(a - b)
        return fp.wrap32(difference * difference)

    def reference_quantized(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = squared_difference_params(node, values, out)
        a = scaled(inputs[0], values[0], p.multiplier_a, p.shift_a, p.left_shift)
        b = scaled(inputs[1], values[1], p.multiplier_b, p.shift_b, p.left_shift)
        square = fp.wrap32((a - b) * (a - b))
        return fp.requantize(
            square, p.multiplier_out, p.shift_out, tensor_quant(out)[1], p.qmin, p.qmax, out.dtype
        )


OPERATOR = SquaredDifference()
