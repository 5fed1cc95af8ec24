"""pow: a tensor to the power of another one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops import rules
from edgekit.ops.base import clamp_float
from edgekit.ops.broadcasting import Arithmetic, keeps_kind, one_scale
from edgekit.ops.requant import clamp_of_output, tensor_quant

#: log2(1 + k / 256) in Q.14 and 2**(k / 256) in Q.20, int32[257] each; linear between entries.
LOG2_BITS, EXP2_BITS = 14, 20
LOG2_TABLE = fp.round_half_away(np.log2(1 + np.arange(257) / 256) * (1 << LOG2_BITS)).astype(
    np.int32
)
EXP2_TABLE = fp.round_half_away(np.exp2(np.arange(257) / 256) * (1 << EXP2_BITS)).astype(np.int32)
#: Fractional bits of the exponent of 2.
POWER_BITS = 16


class PowParams(NamedTuple):
    """Numbers of a power of quantized integers.

    `log_scale` is log2 of the base's scale (Q.14). Products of exponent and logarithm lose `right`
    bits, are limited to `limit`, and become powers of 2 in Q.16 by (multiplier, shift). `log_out`
    is log2 of the result's scale (Q.16).
    """

    log_scale: int
    right: int
    limit: int
    multiplier: int
    shift: int
    log_out: int
    qmin: int
    qmax: int


def pow_params(node: Node, values: list[Value], out: Value) -> PowParams:
    """Numbers of a power of two quantized tensors (docs/SPEC.md, "pow")."""
    (base, power), result = (tensor_quant(v)[0] for v in values), tensor_quant(out)[0]
    # A logarithm has at most 20 bits, an exponent 9 or 17.
    right = 8 if values[1].dtype == "int16" else 0
    ratio = power * (1 << (right + POWER_BITS - LOG2_BITS))
    multiplier, shift = fp.multiplier_of(ratio)
    return PowParams(
        round(math.log2(base) * (1 << LOG2_BITS)),
        right,
        # Powers of 2 beyond 2**48 or below 2**-48 are far outside of every result.
        min(math.ceil((48 << POWER_BITS) / ratio), (1 << 30) - 1),
        multiplier,
        shift,
        round(math.log2(result) * (1 << POWER_BITS)),
        *clamp_of_output(node, out),
    )


class Pow(Arithmetic):
    """First tensor to the power of the second one, with numpy broadcasting and a fused clamp."""

    name = "pow"
    rules = (rules.two_operands, rules.activations, keeps_kind, one_scale, rules.broadcast)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            power = np.power(inputs[0].astype(np.float64), inputs[1])
            return clamp_float(node, power.astype(np.float32))

    def reference_quantized(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        """2 to the power of (exponent x log2 base); bases that are not positive count as 0."""
        p, zero_point = pow_params(node, values, out), tensor_quant(out)[1]
        a, b = np.broadcast_arrays(
            *(x.astype(np.int64) - tensor_quant(v)[1] for x, v in zip(inputs, values, strict=True))
        )
        product = (_log2(np.maximum(a, 1)) + p.log_scale) * b
        limited = np.clip((product + ((1 << p.right) >> 1)) >> p.right, -p.limit, p.limit)
        power = fp.multiply_by_quantized_multiplier(limited, p.multiplier, p.shift)
        one = _exp2(np.full(1, -p.log_out))
        y = np.where(b == 0, one, _exp2(power - p.log_out))
        y = np.where((a <= 0) & (b > 0), 0, np.where((a <= 0) & (b < 0), 1 << 20, y))
        return np.clip(y + zero_point, p.qmin, p.qmax).astype(out.dtype)


def _log2(v: np.ndarray) -> np.ndarray:
    """log2 of integers from 1 to 2**17 - 1, Q.14."""
    exponent = np.frexp(v.astype(np.float64))[1].astype(np.int64) - 1
    mantissa = (v << (16 - exponent)) & 0xFFFF
    index, offset = mantissa >> 8, mantissa & 0xFF
    table = LOG2_TABLE.astype(np.int64)
    between = table[index] + (((table[index + 1] - table[index]) * offset + 128) >> 8)
    return (exponent << LOG2_BITS) + between


def _exp2(power: np.ndarray) -> np.ndarray:
    """2**power of Q.16 numbers, rounded to integers; at most 2**20."""
    whole, rest = power >> POWER_BITS, power & 0xFFFF
    index, offset = rest >> 8, rest & 0xFF
    table = EXP2_TABLE.astype(np.int64)
    mantissa = table[index] + (((table[index + 1] - table[index]) * offset + 128) >> 8)
    right = np.clip(EXP2_BITS - whole, 0, 31)
    return fp.rounding_divide_by_pot(mantissa, right)


OPERATOR = Pow()
