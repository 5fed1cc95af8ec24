"""div: the quotient of two tensors."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import clamp_float
from edgekit.ops.binary_params import div_params
from edgekit.ops.broadcasting import Arithmetic
from edgekit.ops.requant import tensor_quant


class Div(Arithmetic):
    """Quotient of two tensors with numpy broadcasting and a fused clamp."""

    name = "div"

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            return clamp_float(node, inputs[0] / inputs[1])

    def reference_int32(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Towards zero; 0 where b is 0."""
        safe = np.where(b == 0, 1, b)
        sign = np.where((a < 0) != (safe < 0), -1, 1)
        return np.where(b == 0, 0, sign * (np.abs(a) // np.abs(safe)))

    def reference_quantized(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        """TFLM's DIV; it leaves open what a division by zero gives."""
        p, zero_point = div_params(node, values, out), tensor_quant(out)[1]
        a, b = np.broadcast_arrays(
            *(x.astype(np.int64) - tensor_quant(v)[1] for x, v in zip(inputs, values, strict=True))
        )
        a, b = np.where(b < 0, -a, a), np.abs(b)
        inverse, digits = fp.reciprocal(np.maximum(b, 1), 31)
        # Leading bits of a that only repeat its sign: it is moved up before it is multiplied.
        headroom = 31 - np.frexp(np.where(a < 0, -a - 1, a).astype(np.float64))[1].astype(np.int64)
        quotient = fp.saturating_rounding_doubling_high_mul(a << headroom, inverse)
        product = fp.saturating_rounding_doubling_high_mul(quotient, p.multiplier)
        shift = p.shift - digits - headroom
        left = np.clip(shift, 0, 31)
        right = fp.rounding_divide_by_pot(product, np.clip(-shift, 0, 31))
        y = np.where(shift > 0, product << left, np.where(shift < -31, 0, right)) + zero_point
        y = np.where(b == 0, np.where(a == 0, zero_point, np.sign(a) << 20), y)
        return np.clip(y, p.qmin, p.qmax).astype(out.dtype)


OPERATOR = Div()
