"""mod: the remainder of a division."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import clamp_float
from edgekit.ops.binary_params import mod_params
from edgekit.ops.broadcasting import Arithmetic, scaled
from edgekit.ops.requant import tensor_quant


def remainder(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The remainder of integers; 0 where b is 0."""
    safe = np.where(b == 0, 1, b)
    return np.where(b == 0, 0, np.fmod(a, safe) if node.attrs.get("fmod") else np.mod(a, safe))


class Mod(Arithmetic):
    """Remainder with the divisor's sign, or with the dividend's (attribute fmod)."""

    name = "mod"

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        function = np.fmod if node.attrs.get("fmod") else np.mod
        with np.errstate(all="ignore"):
            return clamp_float(node, function(inputs[0], inputs[1]).astype(np.float32))

    def reference_int32(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return remainder(node, a, b)

    def reference_quantized(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = mod_params(node, values, out)
        a = scaled(inputs[0], values[0], p.multiplier_a, p.shift_a, p.left_shift)
        b = scaled(inputs[1], values[1], p.multiplier_b, p.shift_b, p.left_shift)
        rest = remainder(node, a, b)
        return fp.requantize(
            rest, p.multiplier_out, p.shift_out, tensor_quant(out)[1], p.qmin, p.qmax, out.dtype
        )


OPERATOR = Mod()
