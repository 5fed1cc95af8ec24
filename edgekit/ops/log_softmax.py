"""log_softmax: logarithms of normalized exponentials."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgekit.graph import Node, Quant, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.l2_normalize import check_result
from edgekit.ops.requant import (
    PARAMETERS,
    SOFTMAX_DIFF_BITS,
    SOFTMAX_SUM_BITS,
    softmax_scaling,
)
from edgekit.ops.rules import activation, one_operand
from edgekit.ops.softmax import MAX_CHANNELS

#: 16 integer steps below zero: scale and zero point of the result.
RESULTS = {"int8": (16 / 256, 127), "int16": (16 / 32768, 0)}
#: Steps of the result in a number with 26 fractional bits.
RESULT_SHIFT = {"int8": 22, "int16": 15}


class LogSoftmaxParams(NamedTuple):
    """TFLM's: a difference to the maximum times `multiplier` and 2**`left_shift` has 26 fractional
    bits; the reverse pair takes such a number back to steps of the operand."""

    multiplier: int
    left_shift: int
    reverse_multiplier: int
    reverse_shift: int
    diff_min: int


def log_softmax_params(node: Node, values: list[Value], out: Value) -> LogSoftmaxParams:
    """TFLM's PreprocessLogSoftmaxScalingExp and CalculateInputRadius."""
    check_result(OPERATOR.fixed_quant(node, out.dtype), out)
    multiplier, left_shift, radius = softmax_scaling(node, values[0])
    real = float(1 << (31 - left_shift)) / multiplier
    reverse, shift = (int(n) for n in fp.quantize_multiplier(real))
    return LogSoftmaxParams(multiplier, left_shift, reverse, shift, -radius)


def channels_are_bounded(node: Node, inputs: list[Value]) -> bool:
    """Integer rows must have at most 4095 numbers."""
    return inputs[0].dtype == "float32" or inputs[0].shape[-1] <= MAX_CHANNELS


class LogSoftmax(Operator):
    """log(softmax(x)) over the last axis."""

    name = "log_softmax"
    rules = (one_operand, activation, channels_are_bounded)
    grid = "fixed"

    def fixed_quant(self, node: Node, dtype: str) -> Quant:
        """16/256 and 127 as TFLM has it for int8; 16/32768 and 0 for int16."""
        return Quant.make(*RESULTS[dtype])

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, inputs[0].dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x = inputs[0] - inputs[0].max(axis=-1, keepdims=True)
        return (x - np.log(np.exp(x).sum(axis=-1, keepdims=True))).astype(np.float32)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = log_softmax_params(node, values, out)
        zero_point, shift = RESULTS[out.dtype][1], RESULT_SHIFT[out.dtype]
        info = np.iinfo(out.dtype)
        x = inputs[0].astype(np.int64)
        diff = x - x.max(axis=-1, keepdims=True)
        near = diff >= p.diff_min
        scaled = fp.multiply_by_quantized_multiplier(
            np.where(near, diff, 0), p.multiplier, p.left_shift
        )
        e = np.where(near, fp.exp_on_negative_values(scaled, SOFTMAX_DIFF_BITS), 0)
        total = fp.rounding_divide_by_pot(e, SOFTMAX_SUM_BITS).sum(axis=-1, keepdims=True)
        log = fp.log_of_at_least_one(total, SOFTMAX_SUM_BITS, SOFTMAX_DIFF_BITS)
        least = np.maximum(
            p.diff_min - 1,
            fp.multiply_by_quantized_multiplier(
                log + fp.INT32_MIN, p.reverse_multiplier, p.reverse_shift
            ),
        )
        y = fp.rounding_divide_by_pot(scaled - log, shift) + zero_point
        y = np.where(diff > least, np.clip(y, info.min, info.max), info.min)
        return y.astype(out.dtype)


OPERATOR = LogSoftmax()
PARAMETERS[OPERATOR.name] = log_softmax_params
