"""softmax: normalized exponentials."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Quant, Value
from edgekit.ops import exact_float
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval, between, full
from edgekit.ops.requant import SOFTMAX_SUM_BITS, Softmax16Params, softmax16_params, softmax_params
from edgekit.ops.rules import activation, one_operand

#: TFLite's quantization of probabilities.
PROBABILITIES = {"int8": Quant.make(1 / 256, -128), "int16": Quant.make(1 / 32768, 0)}
#: The sum of exponentials has 12 integer bits; one more channel could overflow it.
MAX_CHANNELS = (1 << SOFTMAX_SUM_BITS) - 1


def few_channels(node: Node, inputs: list[Value]) -> bool:
    """There must be a last axis; on integers it has at most 4095 channels."""
    x = inputs[0]
    return len(x.shape) >= 1 and (x.dtype == "float32" or x.shape[-1] <= MAX_CHANNELS)


def positive_beta(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'beta' must be positive."""
    return float(node.attrs.get("beta", 1.0)) > 0


class Softmax(Operator):
    """exp(beta * x) over the last axis, normalized to the sum 1."""

    name = "softmax"
    grid = "fixed"
    rules = (one_operand, activation, few_channels, positive_beta)

    def fixed_quant(self, node: Node, dtype: str) -> Quant:
        return PROBABILITIES[dtype]

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, inputs[0].dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x = inputs[0] * np.float32(node.attrs.get("beta", 1.0))
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return (e / e.sum(axis=-1, keepdims=True)).astype(np.float32)

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return exact_float.softmax(inputs[0], node.attrs.get("beta", 1.0))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        if out.dtype == "int16":
            return self._int16(node, inputs[0].astype(np.int64), values, out)
        table = softmax_params(node, values, out).exp_table.astype(np.int64)
        x = inputs[0].astype(np.int64)
        return shares(table[x.max(axis=-1, keepdims=True) - x])

    @staticmethod
    def _int16(node: Node, x: np.ndarray, values: list[Value], out: Value) -> np.ndarray:
        """TFLM's SoftmaxInt16: both functions by interpolation in tables of 513 int16."""
        p = softmax16_params(node, values, out)
        scaled = fp.multiply_by_quantized_multiplier(
            x - x.max(axis=-1, keepdims=True), p.multiplier, p.shift
        )
        return shares16(fp.interpolate(p.exp_table, np.clip(scaled + 32767, -32768, 32767)), p)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return between(out, 0, 32767) if out.dtype == "int16" else full(out)


def shares(e: np.ndarray) -> np.ndarray:
    """int8 shares of exponentials, Q0.31, in the sum of their row; -128 in a row of zeros."""
    total = fp.rounding_divide_by_pot(e, SOFTMAX_SUM_BITS).sum(axis=-1, keepdims=True)
    scale, over_unit = fp.reciprocal(np.where(total == 0, 1 << 19, total), SOFTMAX_SUM_BITS)
    product = fp.saturating_rounding_doubling_high_mul(scale, e)
    y = fp.rounding_divide_by_pot(product, over_unit + 31 - 8) - 128
    return np.clip(y, -128, 127).astype(np.int8)


def shares16(e: np.ndarray, p: Softmax16Params) -> np.ndarray:
    """int16 shares of exponentials, Q0.15, in the sum of their row; 0 in a row of zeros."""
    total = e.sum(axis=-1, keepdims=True)
    total = np.where(total == 0, 1 << 15, total)
    zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    shifted = ((total << (zeros - 1)) + (1 << 13)) >> 14
    share = fp.interpolate(
        p.reciprocal_table, np.clip(shifted - (1 << 15) - (1 << 16), -32768, 32767)
    )
    right = 31 - zeros
    y = (e * share + (np.int64(1) << (right - 1))) >> right
    return np.clip(y, 0, 32767).astype(np.int16)


OPERATOR = Softmax()
