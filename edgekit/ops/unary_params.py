"""Which form `unary` takes on integers, and its numbers: one source for reference and C."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops import unary_forms as forms
from edgekit.ops.fixed_functions import (
    is_power_of_two,
    logistic,
    multiplier16,
    saturating_high_mul16,
    saturating_left_shift16,
    tanh,
)
from edgekit.ops.float_tables import has_table16, table8, table16, transform_of
from edgekit.ops.functions import domain_of, parameters_of, real
from edgekit.ops.requant import tensor_quant

#: Functions that are steep around 0: their int16 tables have entries that lie closer there.
STEEP = ("log", "sqrt", "rsqrt", "reciprocal", "pow")
#: Functions of straight lines.
STRAIGHT = ("abs", "neg", "sign", "leaky_relu", "hard_sigmoid", "thresholded_relu", "shrink")
#: Where TFLM's fixed-point functions apply: the result's quantization.
LOGISTIC_QUANT, TANH_QUANT, SIGMOID16_QUANT = (1 / 256, -128), (1 / 128, 0), (1 / 32768, 0)
#: Integer bits of TFLM's logistic and tanh of int8.
INPUT_BITS = 4
#: Before everything that an integer can be.
BELOW = -(1 << 17)


def unary_params(node: Node, values: list[Value], out: Value) -> forms.Form:
    """The form of the node and its numbers (docs/SPEC.md, "unary").

    Raises:
        GraphError: where an operand or the result has no quantization of one scale.
    """
    if values[0].dtype == "int8":
        return forms.Lookup(_lookup(node, values[0], out))
    return _wide(node, values[0], out)


# ---- int8


def _lookup(node: Node, x: Value, out: Value) -> np.ndarray:
    """Results for the integers -128 .. 127, in the result's dtype."""
    q = np.arange(-128, 128, dtype=np.int64)
    function = node.attrs["function"]
    if out.dtype == "int8":
        if function == "sigmoid" and _fits(x, out, LOGISTIC_QUANT):
            return _by_fixed_point(q, x, out, logistic, 8)
        if function == "tanh" and _fits(x, out, TANH_QUANT):
            return _by_fixed_point(q, x, out, tanh, 7)
        if function == "hard_swish" and (found := _hard_swish(q, x, out)) is not None:
            return found
        if transform := transform_of(function, parameters_of(function, node.attrs)):
            return table8(transform, tensor_quant(x), tensor_quant(out))
        if function in ("abs", "leaky_relu"):
            return _segments(node, x, out).evaluate(q)
        if function == "rsqrt":
            return _inverse_sqrt(x, out).evaluate(q)
    scale, zero_point = tensor_quant(x)
    info = np.iinfo(out.dtype)
    y = _ideal(node, scale * (q - zero_point), out)
    return np.clip(fp.round_half_away(y), info.min, info.max).astype(out.dtype)


def _fits(x: Value, out: Value, quant: tuple[float, int]) -> bool:
    """Whether the result has the quantization that TFLM's fixed-point function gives.

    Below a scale of 2**-27 TFLM's radius is not defined, from 16 on no integer but 0 is inside.
    """
    return tensor_quant(out) == quant and 2.0**-27 <= tensor_quant(x)[0] < 16.0


def _by_fixed_point(
    q: np.ndarray, x: Value, out: Value, function: object, fractional_bits: int
) -> np.ndarray:
    """TFLM's LOGISTIC and TANH of int8: gemmlowp's function of Q4.27 numbers, rounded."""
    assert callable(function)
    scale, zero_point = tensor_quant(x)
    multiplier, shift = fp.multiplier_of(scale * (1 << (31 - INPUT_BITS)))
    radius = ((1 << INPUT_BITS) - 1) * (1 << (31 - INPUT_BITS)) // (1 << shift)
    v = q - zero_point
    inside = np.abs(v) < radius
    fixed = fp.multiply_by_quantized_multiplier(np.where(inside, v, 0), multiplier, shift)
    y = fp.rounding_divide_by_pot(function(fixed), 31 - fractional_bits) + tensor_quant(out)[1]
    return np.where(inside, np.clip(y, -128, 127), np.where(v < 0, -128, 127)).astype(np.int8)


def _hard_swish(q: np.ndarray, x: Value, out: Value) -> np.ndarray | None:
    """TFLM's HARD_SWISH in int16 arithmetic; None where that does not hold the scales."""
    f32 = np.float32
    (scale, zero_point), (out_scale, out_zero_point) = tensor_quant(x), tensor_quant(out)
    fine = f32(1.0 / 128.0) * f32(scale)
    multiplier, shift = multiplier16(float(fine / f32(out_scale)))
    relu_multiplier, relu_shift = multiplier16(float(fine / f32(3.0 / 32768.0)))
    if not (-15 <= shift <= 0 and -15 <= relu_shift <= 16):
        return None
    v = (q - zero_point) << 7
    preshift = saturating_high_mul16(v, multiplier)
    share = v
    if relu_shift > 0:
        share = saturating_left_shift16(share, relu_shift - 1)
    share = saturating_high_mul16(share, relu_multiplier)
    if relu_shift > 0:
        share = saturating_left_shift16(share, 1)
    if relu_shift < 0:
        share = fp.rounding_divide_by_pot(share, -relu_shift)
    share = (share + (1 << 15)) >> 1
    product = share * preshift
    high = np.where(product < 0, -((-product) >> 15), product >> 15)
    y = fp.rounding_divide_by_pot(high, -shift) + out_zero_point
    return np.clip(y, -128, 127).astype(np.int8)


# ---- int16


def _wide(node: Node, x: Value, out: Value) -> forms.Form:
    function, centred = node.attrs["function"], tensor_quant(x)[1] == 0
    scales = (tensor_quant(x)[0], tensor_quant(out)[0])
    if out.dtype == "int16" and centred:
        if function == "sigmoid" and tensor_quant(out) == SIGMOID16_QUANT:
            if numbers := _table_scale(x, (0,)):
                return forms.Sigmoid16(*numbers)
        elif function == "tanh" and tensor_quant(out) == SIGMOID16_QUANT:
            if numbers := _table_scale(x, (0, 1)):
                return forms.Tanh16(*numbers)
        elif function == "rsqrt":
            return _inverse_sqrt(x, out)
        elif has_table16(function, *scales) and tensor_quant(out)[1] == 0:
            transform = transform_of(function, parameters_of(function, node.attrs))
            assert transform is not None
            return forms.Interpolated(table16(transform, *scales), 0, "int16")
    if function in STRAIGHT:
        return _segments(node, x, out)
    if function in ("floor", "ceil", "round"):
        return _whole(node, x, out)
    if function == "square" or (function == "pow" and node.attrs.get("exponent", 2.0) == 2):
        scale = tensor_quant(x)[0]
        ratio = scale * scale / tensor_quant(out)[0]
        return forms.Square(tensor_quant(x)[1], *fp.multiplier_of(ratio), _output(out))
    if function in STEEP and centred:
        return _octaves(node, x, out)
    scale, zero_point = tensor_quant(x)
    at = np.arange(forms.STEPS + 1, dtype=np.float64) * 128 - 32768 - zero_point
    fraction = forms.FRACTION_BITS if out.dtype == "int8" else 0
    return forms.Interpolated(_entries(node, scale * at, out, fraction), fraction, out.dtype)


def _table_scale(x: Value, powers: tuple[int, ...]) -> tuple[int, int] | None:
    """TFLM's (multiplier, right shift) to steps of 1 / (3 * 4096); None where int32 is too small.

    Scales of 2**-12 times one of 2**`powers` are multiplied exactly.
    """
    scale = tensor_quant(x)[0]
    for power in powers:
        if is_power_of_two(scale, power - 12):
            return 3 << power, 0
    multiplier, shift = scale * 4096.0 * 3.0, 0
    while multiplier <= 32767.0 / 2.0 and shift <= 30:
        shift += 1
        multiplier *= 2.0
    return (int(multiplier), shift) if multiplier < 65535 and shift <= 30 else None


def _octaves(node: Node, x: Value, out: Value) -> forms.Octaves:
    scale = tensor_quant(x)[0]
    index = np.arange(forms.OCTAVE_ENTRIES)
    shift = np.maximum((index >> forms.OCTAVE_BITS) - 1, 0)
    n = (index - (shift << forms.OCTAVE_BITS)) << shift
    sides = [n] if domain_of(node.attrs["function"], node.attrs)[0] >= 0 else [n, -n]
    fraction = forms.FRACTION_BITS if out.dtype == "int8" else 0
    table = np.stack([_entries(node, scale * side, out, fraction) for side in sides])
    return forms.Octaves(table, fraction, out.dtype)


def _whole(node: Node, x: Value, out: Value) -> forms.Whole:
    scale, zero_point = tensor_quant(x)
    # As many fractional bits as leave the number below 2**30.
    fraction = int(np.clip(30 - math.ceil(math.log2(65536 * scale)), 0, 30))
    return forms.Whole(
        zero_point,
        node.attrs["function"],
        *fp.multiplier_of(scale * (1 << fraction)),
        fraction,
        *fp.multiplier_of(1.0 / tensor_quant(out)[0]),
        _output(out),
    )


# ---- both


def _inverse_sqrt(x: Value, out: Value) -> forms.InverseSqrt:
    ratio = 1.0 / (math.sqrt(tensor_quant(x)[0]) * tensor_quant(out)[0])
    multiplier, shift = fp.multiplier_of(ratio)
    if shift < forms.InverseSqrt.LEFT - 31:  # So small that every result is the zero point.
        multiplier, shift = 0, 0
    return forms.InverseSqrt(tensor_quant(x)[1], multiplier, shift, _output(out))


def _segments(node: Node, x: Value, out: Value) -> forms.Segments:
    """Lines of a function of straight lines; TFLM's numbers for abs and leaky_relu."""
    f32, function = np.float32, node.attrs["function"]
    p = parameters_of(function, node.attrs)
    (scale, zero_point), out_scale = tensor_quant(x), tensor_quant(out)[0]
    identity = fp.multiplier_of(scale / out_scale)
    opposite = (-identity[0], identity[1])
    output = _output(out)

    def units(number: float) -> int:
        """A real number in steps of the result, far outside of it at most."""
        return int(np.clip(fp.round_half_away(number / out_scale), -(1 << 20), 1 << 20))

    def first_above(number: float) -> int:
        return int(np.clip(math.floor(number / scale) + 1, BELOW, -BELOW))

    lines: list[tuple[int, int, int, int]]
    if function == "abs":
        lines = [(BELOW, *opposite, 0), (0, *identity, 0)]
    elif function == "neg":
        lines = [(BELOW, *opposite, 0)]
    elif function == "sign":
        lines = [(BELOW, 0, 0, units(-1)), (0, 0, 0, 0), (1, 0, 0, units(1))]
    elif function == "leaky_relu":
        alpha = fp.multiplier_of(scale * float(f32(p["alpha"])) / out_scale)
        lines = [(BELOW, *alpha, 0), (0, *identity, 0)]
    elif function == "hard_sigmoid":
        low, high = fp.clamp_range((0.0, 1.0), out_scale, output.zero_point, *_limits(out))
        output = forms.Output(output.zero_point, low, high, out.dtype)
        lines = [(BELOW, *fp.multiplier_of(p["alpha"] * scale / out_scale), units(p["beta"]))]
    elif function == "thresholded_relu":
        lines = [(BELOW, 0, 0, 0), (first_above(p["alpha"]), *identity, 0)]
    else:
        bias, above = units(p["bias"]), first_above(p["lambd"])
        # x < -lambd holds up to the integer before 1 - first_above(lambd).
        last = max(above, 1 - above)
        lines = [(BELOW, *identity, bias), (1 - above, 0, 0, 0), (last, *identity, -bias)]
    return forms.Segments(zero_point, tuple(lines), output)


def _ideal(node: Node, x: np.ndarray, out: Value) -> np.ndarray:
    """The function of real numbers in units of the result, its zero point added; never NaN."""
    lo, hi = domain_of(node.attrs["function"], node.attrs)
    y = real(node.attrs["function"], node.attrs, np.clip(x, lo, hi))
    scale, zero_point = tensor_quant(out)
    info = np.iinfo(out.dtype)
    y = np.where(np.isnan(y), 0.0, y)
    return np.clip(y / scale + zero_point, info.min - 1, info.max + 1)


def _entries(node: Node, x: np.ndarray, out: Value, fraction: int) -> np.ndarray:
    """int16 entries of a table: `_ideal` with `fraction` bits."""
    y = fp.round_half_away(_ideal(node, x, out) * (1 << fraction))
    return np.clip(y, -32768, 32767).astype(np.int16)


def _output(out: Value) -> forms.Output:
    return forms.Output(tensor_quant(out)[1], *_limits(out), out.dtype)


def _limits(out: Value) -> tuple[int, int]:
    info = np.iinfo(out.dtype)
    return int(info.min), int(info.max)
