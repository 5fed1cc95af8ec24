"""cast: another dtype for the same numbers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops import rules
from edgekit.ops.base import INTEGERS, Inferred, Operator
from edgekit.ops.broadcasting import one_scale
from edgekit.ops.extremes import moved
from edgekit.ops.requant import tensor_quant

#: What `to` may be; the result of "float32" is int8 or int16 in an integer graph.
TO = ("float32", "int32", "bool")


class CastParams(NamedTuple):
    """Requantization, and what it is about.

    To quantized integers: operands are limited to [-limit, limit] first, beyond which the result
    saturates in any case. To int32: the number gets `fraction` bits, which are cut off.
    """

    multiplier: int
    shift: int
    limit: int
    fraction: int


def known_target(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'to' must be float32, int32 or bool."""
    return node.attrs.get("to") in TO


def known_width(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'out_dtype' must be int8 or int16, and 'to' float32, where it is given."""
    width = node.attrs.get("out_dtype")
    return width is None or (width in INTEGERS and node.attrs["to"] == "float32")


def castable(node: Node, inputs: list[Value]) -> bool:
    """The operand must be float32, int8, int16, int32 or bool."""
    return inputs[0].dtype in ("float32", "int8", "int16", "int32", "bool")


def cast_params(values: list[Value], out: Value) -> CastParams:
    """Numbers of a cast between quantized integers and int32 or bool.

    To quantized: the ratio is 1 / S_y; from quantized: S_x with as many fractional bits as keep the
    number below 2**30.
    """
    if out.dtype in INTEGERS:
        scale = tensor_quant(out)[0]
        limit = min(math.ceil(65536 * scale) + 1, (1 << 30) - 1)
        return CastParams(*fp.multiplier_of(1.0 / scale), limit, 0)
    scale = tensor_quant(values[0])[0]
    fraction = int(np.clip(30 - math.ceil(math.log2(65536 * scale)), 0, 30))
    return CastParams(*fp.multiplier_of(scale * (1 << fraction)), 0, fraction)


class Cast(Operator):
    """Reals to int32 (towards zero) or bool (not zero), and back."""

    name = "cast"
    converts = True
    rules = (rules.one_operand, known_target, known_width, castable, one_scale)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        """`out_dtype` is the width of a result that is quantized; without it an operand's."""
        x, to = inputs[0], str(node.attrs["to"])
        if to == "float32":
            to = str(node.attrs.get("out_dtype", x.dtype if x.dtype in INTEGERS else to))
        return [(x.shape, to)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, to = inputs[0], node.attrs["to"]
        if to == "int32" and np.issubdtype(x.dtype, np.floating):
            info = np.iinfo(np.int32)
            whole = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0)
            return np.clip(whole, info.min, info.max).astype(np.int32)
        return x.astype(to)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        x, value = inputs[0], values[0]
        if out.dtype == "bool":
            return x != (tensor_quant(value)[1] if value.dtype in INTEGERS else 0)
        if out.dtype == "int32":
            return self._to_int32(x, value, out)
        if value.dtype in INTEGERS:
            return moved(x, value, out).astype(out.dtype)
        p = cast_params(values, out)
        limited = np.clip(x.astype(np.int64), -p.limit, p.limit)
        y = fp.multiply_by_quantized_multiplier(limited, p.multiplier, p.shift)
        info = np.iinfo(out.dtype)
        return np.clip(y + tensor_quant(out)[1], info.min, info.max).astype(out.dtype)

    @staticmethod
    def _to_int32(x: np.ndarray, value: Value, out: Value) -> np.ndarray:
        if value.dtype not in INTEGERS:
            return x.astype(np.int32)
        p = cast_params([value], out)
        v = x.astype(np.int64) - tensor_quant(value)[1]
        fixed = fp.multiply_by_quantized_multiplier(v, p.multiplier, p.shift)
        return (np.sign(fixed) * (np.abs(fixed) >> p.fraction)).astype(np.int32)


OPERATOR = Cast()
