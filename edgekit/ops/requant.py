"""The integers of every quantized operator, from one place.

The numpy reference, code generation and the tests all take multipliers, shifts, clamps and tables
from here, so that they cannot differ. `values` are the operands' values and `out` the result's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Quant, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import INTEGERS, clamp_of

#: The axis of output channels in each operator's weights.
CHANNEL_AXIS = {"conv2d": 0, "fully_connected": 0, "depthwise_conv2d": 2}
#: TFLM's softmax: integer bits of the scaled difference and of the sum of exponentials.
SOFTMAX_DIFF_BITS = 5
SOFTMAX_SUM_BITS = 12
#: Operands of an addition are scaled up by 2**20 before they meet, by 2**15 where one is int16.
ADD_LEFT_SHIFT, ADD_LEFT_SHIFT_16 = 20, 15


class ChannelRequant(NamedTuple):
    """Per-channel requantization: int32[O] numbers; the clamp is in the result's integers."""

    multiplier: np.ndarray
    shift: np.ndarray
    qmin: int
    qmax: int


class Requant(NamedTuple):
    """Per-tensor requantization."""

    multiplier: int
    shift: int
    qmin: int
    qmax: int


class AddParams(NamedTuple):
    """Shifts are <= 0 (right shifts), as in TFLM's QuantizeMultiplierSmallerThanOneExp."""

    left_shift: int
    multiplier_a: int
    shift_a: int
    multiplier_b: int
    shift_b: int
    multiplier_out: int
    shift_out: int
    qmin: int
    qmax: int


class SoftmaxParams(NamedTuple):
    """`exp_table[d]` is exp(-d * beta * scale) in Q0.31 for ``d = max - x`` in 0..255.

    Entries with ``-d < diff_min`` are 0, which is what skipping them amounts to.
    """

    multiplier: int
    left_shift: int
    diff_min: int
    exp_table: np.ndarray


class Softmax16Params(NamedTuple):
    """Tables of 513 int16: exp(x) for x in [-10, 0], and 1 / (1 + x) for x in [0, 1], in Q0.15."""

    multiplier: int
    shift: int
    exp_table: np.ndarray
    reciprocal_table: np.ndarray


def quant_of(value: Value) -> Quant:
    if value.quant is None:
        raise GraphError(f"'{value.name}' has no quantization")
    return value.quant


def tensor_quant(value: Value) -> tuple[float, int]:
    """(scale, zero point) of a tensor with one of each; the scale is exactly a float32."""
    q = quant_of(value)
    if q.scale.size != 1:
        raise GraphError(f"'{value.name}' has {q.scale.size} scales, one is allowed")
    return float(q.scale[0]), int(q.zero_point[0])


def clamp_of_output(node: Node, out: Value) -> tuple[int, int]:
    """The node's fused activation in the output's integers."""
    scale, zero_point = tensor_quant(out)
    info = np.iinfo(out.dtype)
    return fp.clamp_range(clamp_of(node), scale, zero_point, int(info.min), int(info.max))


def require_same_quant(node: Node, values: list[Value], out: Value) -> None:
    """Operators that only move or compare integers keep their operand's quantization."""
    if out.dtype not in INTEGERS:
        return  # indices and truth values have none
    if quant_of(values[0]) != quant_of(out):
        raise GraphError(f"'{node.name or node.op}': input and output must share quantization")


def effective_scales(node: Node, values: list[Value], out: Value) -> np.ndarray:
    """Input scale x weight scale / output scale of a conv-like node, float64[1 or O].

    All three float32 scales are widened before they meet, for fully connected operators too
    (tests/ops/test_fully_connected.py shows it where float32 would give other bytes). The attribute
    ``float32_product`` rounds the product of the first two to float32, as TFLite's uint8 layers do.
    """
    s_in, _ = tensor_quant(values[0])
    s_out, _ = tensor_quant(out)
    s_w = quant_of(values[1]).scale
    if node.attrs.get("float32_product"):
        return np.float64(1) * (np.float32(s_in) * s_w) / np.float64(np.float32(s_out))
    return fp.conv_multipliers(s_in, s_w, s_out)


def is_wide(values: list[Value]) -> bool:
    """Whether a conv-like layer adds up in 64 bits: its bias is int64; `values` is x, w, bias."""
    return values[2].dtype == "int64"


def channel_requant(node: Node, values: list[Value], out: Value) -> ChannelRequant:
    """Requantization of conv2d, depthwise_conv2d and fully_connected; `values` is x, w, bias.

    Of a layer that adds up in 64 bits the multipliers have 15 bits, and shifts go to the right.

    Raises:
        GraphError: where such a layer would have to be shifted to the left by more than 7.
    """
    if quant_of(values[1]).zero_point.any():
        raise GraphError(f"'{values[1].name}': weights must be symmetric (zero point 0)")
    multiplier, shift = fp.quantize_multiplier(effective_scales(node, values, out))
    if is_wide(values):
        if int(shift.max()) > 7:
            raise GraphError(f"'{node.name or node.op}': its scales give a factor of 128 or more")
        multiplier, shift = (v.astype(np.int32) for v in fp.reduced_multipliers(multiplier, shift))
    channels = out.shape[-1]
    return ChannelRequant(
        np.broadcast_to(multiplier, channels).copy(),
        np.broadcast_to(shift, channels).copy(),
        *clamp_of_output(node, out),
    )


def scalar_multiplier(real: float | np.floating) -> tuple[int, int]:
    multiplier, shift = fp.quantize_multiplier(real)
    return int(multiplier), int(shift)


def add_params(node: Node, values: list[Value], out: Value) -> AddParams:
    """TFLM's CalculateOpDataAdd: both operands go to a common scale of twice the larger one."""
    s_a, s_b = tensor_quant(values[0])[0], tensor_quant(values[1])[0]
    twice_max = 2.0 * max(s_a, s_b)
    s_out = tensor_quant(out)[0]
    wide = any(v.dtype == "int16" for v in values)
    left_shift = ADD_LEFT_SHIFT_16 if wide else ADD_LEFT_SHIFT
    return AddParams(
        left_shift,
        *scalar_multiplier(s_a / twice_max),
        *scalar_multiplier(s_b / twice_max),
        *scalar_multiplier(twice_max / ((1 << left_shift) * s_out)),
        *clamp_of_output(node, out),
    )


def mul_params(node: Node, values: list[Value], out: Value) -> Requant:
    """Requantization of the product of two tensors (operands with zero points subtracted)."""
    s_a, s_b = tensor_quant(values[0])[0], tensor_quant(values[1])[0]
    real = s_a * s_b / tensor_quant(out)[0]
    return Requant(*scalar_multiplier(real), *clamp_of_output(node, out))


def clip_params(node: Node, values: list[Value], out: Value) -> Requant:
    """Requantization of a clip, as TFLM's ReLU does it."""
    ratio = tensor_quant(values[0])[0] / tensor_quant(out)[0]
    return Requant(*scalar_multiplier(ratio), *clamp_of_output(node, out))


def softmax_scaling(node: Node, x: Value) -> tuple[int, int, int]:
    """(multiplier, left shift, radius) of differences to the largest element of `x`.

    TFLM's PreprocessSoftmaxScaling and CalculateInputRadius: scaled differences have 26 fractional
    bits, and those beyond the radius count as minus infinity.

    Raises:
        GraphError: where the scale is too small.
    """
    beta = float(np.float32(node.attrs.get("beta", 1.0)))
    fractional = 31 - SOFTMAX_DIFF_BITS
    real = min(beta * tensor_quant(x)[0] * (1 << fractional), 2.0**31 - 1)
    multiplier, left_shift = scalar_multiplier(real)
    if left_shift < 0 or multiplier == 0:
        raise GraphError(f"'{node.name or node.op}': beta x scale is below 2**-26")
    radius = ((1 << SOFTMAX_DIFF_BITS) - 1) * (1 << fractional) // (1 << left_shift)
    return multiplier, left_shift, radius


def exponentials(multiplier: int, left_shift: int, radius: int) -> np.ndarray:
    """exp of minus the differences 0..255 as `softmax_scaling` scales them: int32 [256], Q0.31."""
    d = np.arange(256, dtype=np.int64)
    live = d <= radius
    scaled = fp.saturating_rounding_doubling_high_mul(
        np.where(live, -d, 0) << left_shift, multiplier
    )
    table = np.where(live, fp.exp_on_negative_values(scaled, SOFTMAX_DIFF_BITS), 0)
    return table.astype(np.int32)


def softmax_params(node: Node, values: list[Value], out: Value) -> SoftmaxParams:
    """TFLM's PreprocessSoftmaxScaling and CalculateInputRadius for int8 in and out.

    Raises:
        GraphError: where the output is not quantized with scale 1/256 and zero point -128.
    """
    if tensor_quant(out) != (1 / 256, -128):
        raise GraphError(f"'{out.name}': a softmax gives scale 1/256 and zero point -128")
    multiplier, left_shift, radius = softmax_scaling(node, values[0])
    table = exponentials(multiplier, left_shift, radius)
    return SoftmaxParams(multiplier, left_shift, -radius, table)


def softmax16_params(node: Node, values: list[Value], out: Value) -> Softmax16Params:
    """TFLM's preparation of an int16 softmax: differences are scaled so that -65535 is -10.

    Raises:
        GraphError: where the output is not quantized with scale 1/32768 and zero point 0.
    """
    if tensor_quant(out) != (1 / 32768, 0):
        raise GraphError(f"'{out.name}': an int16 softmax gives scale 1/32768 and zero point 0")
    beta = float(np.float32(node.attrs.get("beta", 1.0)))
    real = tensor_quant(values[0])[0] * beta / (10.0 / 65535.0)
    return Softmax16Params(
        *scalar_multiplier(real),
        fp.interpolation_table(np.exp, -10.0, 0.0),
        fp.interpolation_table(lambda x: 1.0 / (1.0 + x), 0.0, 1.0),
    )


def requantize_channels(node: Node, acc: np.ndarray, values: list[Value], out: Value) -> np.ndarray:
    """The result of a conv-like layer from its accumulators [..., O]; `values` is x, w, bias."""
    p, zero_point = channel_requant(node, values, out), tensor_quant(out)[1]
    if not is_wide(values):
        return fp.requantize(acc, p.multiplier, p.shift, zero_point, p.qmin, p.qmax, out.dtype)
    y = fp.multiply_wide(acc, p.multiplier, p.shift) + zero_point
    return np.clip(y, p.qmin, p.qmax).astype(out.dtype)


#: The integers of each operator that has some, for checks that they exist: GraphError where scales
#: are out of range.
PARAMETERS: dict[str, Callable[[Node, list[Value], Value], Any]] = {
    "conv2d": channel_requant,
    "depthwise_conv2d": channel_requant,
    "fully_connected": channel_requant,
    "add": add_params,
    "mul": mul_params,
    "clip": clip_params,
    "softmax": lambda node, values, out: (
        softmax16_params if out.dtype == "int16" else softmax_params
    )(node, values, out),
}
