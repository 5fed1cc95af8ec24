"""cumsum: running sums along an axis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import INTEGERS, Inferred, Operator
from edgekit.ops.movement import axis_of
from edgekit.ops.requant import clamp_of_output, scalar_multiplier, tensor_quant
from edgekit.ops.rules import axis_exists, one_operand

#: Bits that sums are shifted up before they are scaled; TFLM always takes as many.
MOST_SHIFT = 19


def summable(node: Node, inputs: list[Value]) -> bool:
    """The operand is float32, int8, int16 or int32."""
    return inputs[0].dtype in ("float32", *INTEGERS, "int32")


def sums_fit(node: Node, inputs: list[Value]) -> bool:
    """Running sums of int16 take at most 32767 elements, of int8 2**23, so that int32 holds
    them."""
    most = {"int16": 1 << 15, "int8": 1 << 23}.get(inputs[0].dtype)
    return most is None or inputs[0].shape[axis_of(node)] < most


class CumsumParams(NamedTuple):
    """`start` is what sums begin with; they are shifted left, then scaled."""

    start: int
    left_shift: int
    multiplier: int
    shift: int
    qmin: int
    qmax: int


def cumsum_params(node: Node, values: list[Value], out: Value) -> CumsumParams:
    """The integers of a cumsum of quantized numbers.

    With the attribute ``as_tflite`` sums begin at minus the zero point and are shifted left by 19
    bits whether they fit or not, as TFLM's CUMSUM does it.
    """
    (s_x, z_x), (s_y, _) = tensor_quant(values[0]), tensor_quant(out)
    left, start = MOST_SHIFT, 0
    if node.attrs.get("as_tflite"):
        start = -z_x
    else:
        info = np.iinfo(values[0].dtype)
        most = values[0].shape[axis_of(node)] * max(info.max - z_x, z_x - info.min)
        left = min(MOST_SHIFT, 31 - most.bit_length())
    scaling = scalar_multiplier(s_x / ((1 << left) * s_y))
    limits = clamp_of_output(Node("cumsum", (), ()), out)
    return CumsumParams(start, left, *scaling, *limits)


class Cumsum(Operator):
    """Running sum along 'axis', 'exclusive' of each element, or in 'reverse' from the end."""

    name = "cumsum"
    rules = (one_operand, summable, axis_exists, sums_fit)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, inputs[0].dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return axis_of(node) != 0

    @staticmethod
    def _sums(node: Node, x: np.ndarray) -> np.ndarray:
        axis, reverse = axis_of(node), bool(node.attrs.get("reverse"))
        x = np.flip(x, axis) if reverse else x
        y = np.cumsum(x, axis=axis, dtype=x.dtype)
        if node.attrs.get("exclusive"):
            first = np.zeros_like(np.take(y, [0], axis=axis))
            kept = np.take(y, np.arange(y.shape[axis] - 1), axis=axis)
            y = np.concatenate([first, kept], axis=axis)
        return np.ascontiguousarray(np.flip(y, axis) if reverse else y)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return self._sums(node, inputs[0].astype(np.float64)).astype(np.float32)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        if out.quant is None:
            return fp.wrap32(self._sums(node, inputs[0].astype(np.int64))).astype(out.dtype)
        p, zx = cumsum_params(node, values, out), tensor_quant(values[0])[1]
        total = self._sums(node, inputs[0].astype(np.int64) - zx) + p.start
        shifted = fp.wrap32(total << p.left_shift)
        y = fp.multiply_by_quantized_multiplier(shifted, p.multiplier, p.shift)
        return np.clip(y + tensor_quant(out)[1], p.qmin, p.qmax).astype(out.dtype)


OPERATOR = Cumsum()
