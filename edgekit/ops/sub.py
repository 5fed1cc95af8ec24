"""sub: the difference of two tensors."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import clamp_float
from edgekit.ops.broadcasting import Arithmetic, at_ends, scaled
from edgekit.ops.interval import Interval, between, full
from edgekit.ops.requant import add_params, tensor_quant


class Sub(Arithmetic):
    """Difference of two tensors with numpy broadcasting and a fused clamp."""

    name = "sub"

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return clamp_float(node, inputs[0] - inputs[1])

    def reference_int32(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a - b

    def reference_quantized(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = add_params(node, values, out)
        a = scaled(inputs[0], values[0], p.multiplier_a, p.shift_a, p.left_shift)
        b = scaled(inputs[1], values[1], p.multiplier_b, p.shift_b, p.left_shift)
        return fp.requantize(
            a - b, p.multiplier_out, p.shift_out, tensor_quant(out)[1], p.qmin, p.qmax, out.dtype
        )

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        if out.dtype == "int32":
            return full(out)
        p = add_params(node, values, out)
        if p.shift_out > 0:  # A left shift may wrap, right shifts cannot.
            return between(out, p.qmin, p.qmax)
        # It rises with the first operand and falls with the second one.
        _, least, greatest, _ = at_ends(self, node, operands, values, out)
        return Interval(least, greatest)


OPERATOR = Sub()
