"""The integers of element by element operators with several operands, for reference and C alike.

`values` are the operands' values and `out` the result's; formulas are in docs/SPEC.md, "Elementwise
operators". Scales are float32 widened to double.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.requant import (
    ADD_LEFT_SHIFT,
    ADD_LEFT_SHIFT_16,
    Requant,
    clamp_of_output,
    tensor_quant,
)

#: TFLM's squared difference scales operands up by 2**7, by nothing where one is int16.
SQUARED_LEFT_SHIFT, SQUARED_LEFT_SHIFT_16 = 7, 0


class CommonParams(NamedTuple):
    """Both operands on one scale: ``MBQM((q - z) << left_shift, multiplier, shift)``."""

    left_shift: int
    multiplier_a: int
    shift_a: int
    multiplier_b: int
    shift_b: int


class RescaledParams(NamedTuple):
    """`CommonParams` and the way from the common scale, or its square, to the result."""

    left_shift: int
    multiplier_a: int
    shift_a: int
    multiplier_b: int
    shift_b: int
    multiplier_out: int
    shift_out: int
    qmin: int
    qmax: int


class PreluParams(NamedTuple):
    """Requantization of x, and of x times the slope."""

    multiplier_identity: int
    shift_identity: int
    multiplier_slope: int
    shift_slope: int
    qmin: int
    qmax: int


def wide(values: list[Value]) -> bool:
    """Whether an operand is int16."""
    return any(v.dtype == "int16" for v in values)


def squared_difference_params(node: Node, values: list[Value], out: Value) -> RescaledParams:
    """TFLM's preparation of SQUARED_DIFFERENCE."""
    left = SQUARED_LEFT_SHIFT_16 if wide(values) else SQUARED_LEFT_SHIFT
    common, twice_max = _common(values, left)
    ratio = twice_max * twice_max / ((1 << (2 * left)) * tensor_quant(out)[0])
    return RescaledParams(*common, *fp.multiplier_of(ratio), *clamp_of_output(node, out))


def mod_params(node: Node, values: list[Value], out: Value) -> RescaledParams:
    """Operands as an addition scales them; the remainder is on their common scale."""
    left = ADD_LEFT_SHIFT_16 if wide(values) else ADD_LEFT_SHIFT
    common, twice_max = _common(values, left)
    ratio = twice_max / ((1 << left) * tensor_quant(out)[0])
    return RescaledParams(*common, *fp.multiplier_of(ratio), *clamp_of_output(node, out))


def compare_params(node: Node, values: list[Value]) -> CommonParams:
    """Operands as an addition scales them, or in steps of ``2**-left_shift`` as the node says.

    The latter is TFLM's rule, with a left shift of 8 and scales below 1.

    Raises:
        GraphError: where `left_shift` is given and a scale is 1 or more.
    """
    if (left := node.attrs.get("left_shift")) is None:
        return _common(values, ADD_LEFT_SHIFT_16 if wide(values) else ADD_LEFT_SHIFT)[0]
    scales = [tensor_quant(v)[0] for v in values]
    if max(scales) >= 1.0:
        raise GraphError(
            f"'{node.name or node.op}': a scale of {max(scales):g} cannot be compared in steps of "
            f"1/{1 << left}, scales must be below 1"
        )
    return CommonParams(left, *fp.multiplier_of(scales[0]), *fp.multiplier_of(scales[1]))


def div_params(node: Node, values: list[Value], out: Value) -> Requant:
    """TFLM's preparation of DIV."""
    a, b, y = (tensor_quant(v)[0] for v in (*values, out))
    return Requant(*fp.multiplier_of(a / (b * y)), *clamp_of_output(node, out))


def prelu_params(node: Node, values: list[Value], out: Value) -> PreluParams:
    """TFLM's preparation of PRELU."""
    (x, slope), y = (tensor_quant(v)[0] for v in values), tensor_quant(out)[0]
    identity, sloped = fp.multiplier_of(x / y), fp.multiplier_of(x * slope / y)
    return PreluParams(*identity, *sloped, *clamp_of_output(node, out))


def moved_params(value: Value, out: Value) -> Requant | None:
    """How an operand's integers become the result's; None where they are the same."""
    if value.dtype == out.dtype and value.quant == out.quant:
        return None
    info = np.iinfo(out.dtype)
    ratio = tensor_quant(value)[0] / tensor_quant(out)[0]
    return Requant(*fp.multiplier_of(ratio), int(info.min), int(info.max))


def _common(values: list[Value], left_shift: int) -> tuple[CommonParams, float]:
    """Both operands on the scale T / 2**left_shift, and T, twice the larger scale."""
    a, b = (tensor_quant(v)[0] for v in values)
    twice_max = 2.0 * max(a, b)
    shares = (*fp.multiplier_of(a / twice_max), *fp.multiplier_of(b / twice_max))
    return CommonParams(left_shift, *shares), twice_max
