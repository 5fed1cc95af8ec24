"""l2_normalize: every row is divided by its length."""

from __future__ import annotations

import numpy as np

from edgekit.graph import GraphError, Node, Quant, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.normalize import (
    MAX_NORMALIZED,
    epsilon_is_positive,
    inverse_root,
)
from edgekit.ops.requant import tensor_quant
from edgekit.ops.rules import activation, one_operand

#: Fractional bits of the result, whose zero point is 0.
RESULT_BITS = {"int8": 7, "int16": 15}


def row_is_bounded(node: Node, inputs: list[Value]) -> bool:
    """Integer rows must have at most 32768 numbers."""
    return inputs[0].dtype == "float32" or inputs[0].shape[-1] <= MAX_NORMALIZED


class L2Normalize(Operator):
    """x / max(sqrt(sum of x**2), epsilon) over the last axis."""

    name = "l2_normalize"
    rules = (one_operand, activation, epsilon_is_positive, row_is_bounded)
    grid = "fixed"

    def fixed_quant(self, node: Node, dtype: str) -> Quant:
        """1/128 or 1/32768, zero point 0, as TFLM has it for int8."""
        return Quant.make(2.0 ** -RESULT_BITS[dtype], 0)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, inputs[0].dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x = inputs[0].astype(np.float64)
        length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
        floor = max(float(node.attrs["epsilon"]), float(np.finfo(np.float32).tiny))
        return (x / np.maximum(length, floor)).astype(np.float32)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        check_result(self.fixed_quant(node, out.dtype), out)
        x = inputs[0].astype(np.int64) - tensor_quant(values[0])[1]
        squares = (x * x).sum(axis=-1, keepdims=True)
        if out.dtype == "int8":
            multiplier, shift = fp.inverse_sqrt(squares)
            y = fp.multiply_by_quantized_multiplier(x, multiplier, shift + RESULT_BITS["int8"])
            return np.clip(y, -128, 127).astype(np.int8)
        inverse, pairs = inverse_root(np.maximum(squares, 1))
        right = 62 - RESULT_BITS["int16"] - pairs
        y = (x * inverse + (np.int64(1) << (right - 1))) >> right
        return np.clip(y, -32768, 32767).astype(np.int16)


def check_result(fixed: Quant, out: Value) -> None:
    if out.quant != fixed:
        raise GraphError(
            f"'{out.name}' must have scale {fixed.scale[0]:g} and zero point {fixed.zero_point[0]}"
        )


OPERATOR = L2Normalize()
