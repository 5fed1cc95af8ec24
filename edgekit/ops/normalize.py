"""What the normalizations share: numbers of a group over their root mean square.

A tensor is seen as [rows, pixels, groups, channels]; a group is normalized over pixels and
channels, gamma and beta are [groups * channels]. `layer_norm` and `rms_norm` have one pixel and one
group, `instance_norm` one channel per group.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgekit.graph import Node, Quant, Shape, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, Rule, check_activation, clamp_float, require
from edgekit.ops.requant import PARAMETERS, clamp_of_output, quant_of, tensor_quant
from edgekit.ops.rules import activation, three_operands

#: Sums of integers of a group stay in 63 bits, and a normalized number below 2**8.
MAX_NORMALIZED = 1 << 15
#: Fractional bits of a normalized number.
NORMAL_BITS = 22
#: Bits that the product with gamma drops; beta has gamma's scale times 2**(16 - 22).
GAMMA_BITS = 16
BETA_STEPS = 2.0 ** (GAMMA_BITS - NORMAL_BITS)
#: Largest magnitudes that quantizing gives.
GAMMA_LIMIT, BETA_LIMIT = 32767, 1 << 29


class View(NamedTuple):
    """The tensor as [rows, pixels, groups, channels]."""

    rows: int
    pixels: int
    groups: int
    channels: int

    @property
    def members(self) -> int:
        """Numbers of a group."""
        return self.pixels * self.channels


class NormParams(NamedTuple):
    """Integers of a normalization: N**2 * epsilon in the operand's squared steps, and the result's
    requantization."""

    epsilon: int
    multiplier: int
    shift: int
    qmin: int
    qmax: int


def norm_params(node: Node, values: list[Value], out: Value, count: int) -> NormParams:
    """The integers of a normalization over `count` numbers; `values` is x, gamma[, beta].

    Raises:
        GraphError: where beta's scale is not gamma's times 2**-7 or a zero point is not 0.
    """
    (s_x, z_x), (s_gamma, z_gamma) = tensor_quant(values[0]), tensor_quant(values[1])
    require(z_gamma == 0, node, "gamma must have zero point 0")
    require(z_x == 0 or values[0].dtype == "int8", node, "an int16 operand has zero point 0")
    step = np.float32(s_gamma * BETA_STEPS)
    for beta in values[2:]:
        q = quant_of(beta)
        require(
            q.scale.size == 1 and q.scale[0] == step and not q.zero_point.any(),
            node,
            f"beta must have scale {step:g} and zero point 0",
        )
    epsilon = count * count * float(node.attrs["epsilon"]) / (s_x * s_x)
    multiplier, shift = fp.quantize_multiplier(float(step) / tensor_quant(out)[0])
    return NormParams(
        min(int(fp.round_half_away(min(epsilon, 2.0**62))), 1 << 62),
        int(multiplier),
        int(shift),
        *clamp_of_output(node, out),
    )


def integer_affine(gamma: np.ndarray, beta: np.ndarray | None) -> list[tuple[np.ndarray, Quant]]:
    """Gamma as int16 and beta as int32 with their quantization, from real numbers [C].

    The scale is as small as both allow, so that sums with a normalized number fit into 30 bits.
    """
    vectors = [v.astype(np.float64) for v in (gamma, beta) if v is not None]
    needed = [np.abs(vectors[0]).max() / GAMMA_LIMIT, float(np.finfo(np.float32).tiny)]
    needed += [np.abs(v).max() / BETA_STEPS / BETA_LIMIT for v in vectors[1:]]
    scale = np.float32(max(needed))
    found = []
    for vector, step, limit, dtype in (
        (vectors[0], scale, GAMMA_LIMIT, np.int16),
        (vectors[-1], np.float32(scale * np.float32(BETA_STEPS)), BETA_LIMIT, np.int32),
    )[: len(vectors)]:
        q = np.clip(fp.round_half_away(vector / step), -limit, limit)
        found.append((q.astype(dtype), Quant.make(step)))
    return found


def floor_sqrt(x: np.ndarray) -> np.ndarray:
    """The whole part of the square root of uint64 numbers, as uint64."""
    v = np.asarray(x, np.uint64)
    root = np.sqrt(v.astype(np.float64)).astype(np.uint64)
    root = np.minimum(root, np.uint64(0xFFFFFFFF))
    # float64 has 53 bits: its root is at most one too large or too small.
    root -= (root * root > v).astype(np.uint64)
    above = np.minimum(root + np.uint64(1), np.uint64(0xFFFFFFFF))
    fits = (above > root) & (above * above <= v)
    return root + fits.astype(np.uint64)


def inverse_root(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``1 / sqrt(v) ~ inverse * 2**(pairs - 62)`` of uint64 numbers v >= 1.

    Returns:
        (inverse int64 in [2**30, 2**31), pairs int64 in 0..31): v is shifted left by an even number
        of bits, 2 * pairs, so that one of its two upper bits is set; inverse is
        ``min(floor(2**62 / floor_sqrt(v << 2 * pairs)), 2**31 - 1)``.
    """
    v = np.asarray(v, np.uint64)
    pairs = np.zeros(v.shape, np.uint64)
    for step in (16, 8, 4, 2, 1):
        low = v < (np.uint64(1) << np.uint64(64 - 2 * step))
        v = np.where(low, v << np.uint64(2 * step), v)
        pairs += np.where(low, np.uint64(step), np.uint64(0))
    inverse = np.minimum(np.uint64(1 << 62) // floor_sqrt(v), np.uint64(fp.INT32_MAX))
    return inverse.astype(np.int64), pairs.astype(np.int64)


def normalized(x: np.ndarray, axes: tuple[int, ...], epsilon: int, centred: bool) -> np.ndarray:
    """int64 numbers with 22 fractional bits: x over its root mean square along `axes`.

    `x` is int64 with the zero point subtracted, N numbers per group. With d = N * x - sum(x)
    (N * x where not `centred`) and V = N * sum(x**2) - sum(x)**2 + epsilon (without the middle term
    where not `centred`), at least 1, the result is d / sqrt(V), rounded half up.
    """
    count = math.prod(x.shape[a] for a in axes)
    total = x.sum(axis=axes, keepdims=True) if centred else np.int64(0)
    squares = (x * x).sum(axis=axes, keepdims=True)
    spread = count * squares - total * total
    v = np.maximum(spread.astype(np.uint64) + np.uint64(epsilon), np.uint64(1))
    inverse, pairs = inverse_root(v)
    right = 62 - NORMAL_BITS - pairs
    return ((count * x - total) * inverse + (np.int64(1) << (right - 1))) >> right


def epsilon_is_positive(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'epsilon' must be a number that is not negative."""
    epsilon = node.attrs.get("epsilon")
    return isinstance(epsilon, int | float) and math.isfinite(epsilon) and epsilon >= 0


def gamma_per_channel(node: Node, inputs: list[Value]) -> bool:
    """Gamma and beta must have one number per channel, the last axis of the first operand."""
    return all(v.shape == inputs[0].shape[-1:] for v in inputs[1:])


def gamma_is_quantized(node: Node, inputs: list[Value]) -> bool:
    """Gamma and beta must be float32, or int16 and int32 where the first operand is quantized."""
    kinds = tuple(v.dtype for v in inputs[1:])
    if inputs[0].dtype == "float32" or node.attrs.get("float"):
        return set(kinds) <= {"float32"}
    return kinds in (("int16",), ("int16", "int32"))


def group_is_bounded(node: Node, inputs: list[Value]) -> bool:
    """Integers must be normalized over at most 32768 numbers at a time."""
    from edgekit.ops import operator

    op = operator(node.op)
    assert isinstance(op, Normalization)
    x = inputs[0]
    return x.dtype == "float32" or op.view(node, x.shape).members <= MAX_NORMALIZED


class Normalization(Operator):
    """Base class of layer_norm, rms_norm, instance_norm and group_norm."""

    converts = True
    #: Whether the mean is subtracted.
    centred = True
    rules: tuple[Rule, ...] = (
        three_operands, activation, epsilon_is_positive, gamma_per_channel, gamma_is_quantized,
        group_is_bounded,
    )  # fmt: skip

    def view(self, node: Node, shape: Shape) -> View:
        """How x is grouped."""
        raise NotImplementedError

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, check_activation(node, inputs[0]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, gamma, *beta = inputs
        v = self._viewed(node, x).astype(np.float64)
        if self.centred:
            v = v - v.mean(axis=(1, 3), keepdims=True)
        power = (v * v).mean(axis=(1, 3), keepdims=True)
        y = (v / np.sqrt(power + node.attrs["epsilon"])).reshape(x.shape) * gamma
        return clamp_float(node, (y + beta[0] if beta else y).astype(np.float32))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        x, gamma, *beta = inputs
        view = self.view(node, values[0].shape)
        p = norm_params(node, values, out, view.members)
        v = self._viewed(node, x).astype(np.int64) - tensor_quant(values[0])[1]
        n = normalized(v, (1, 3), p.epsilon, self.centred).reshape(x.shape)
        acc = (n * gamma.astype(np.int64)) >> GAMMA_BITS
        if beta:
            acc = fp.wrap32(acc + beta[0].astype(np.int64))
        zero_point = tensor_quant(out)[1]
        return fp.requantize(acc, p.multiplier, p.shift, zero_point, p.qmin, p.qmax, out.dtype)

    def _viewed(self, node: Node, x: np.ndarray) -> np.ndarray:
        """`x` with any number of samples as [rows, pixels, groups, channels]."""
        view = self.view(node, x.shape)
        return x.reshape(view)


def last_axis(shape: Shape) -> View:
    return View(math.prod(shape[:-1]), 1, 1, shape[-1])


def _params(node: Node, values: list[Value], out: Value) -> NormParams:
    """The integers of any of the normalizations."""
    from edgekit.ops import operator

    op = operator(node.op)
    assert isinstance(op, Normalization)
    return norm_params(node, values, out, op.view(node, values[0].shape).members)


PARAMETERS.update(dict.fromkeys(("layer_norm", "rms_norm", "instance_norm", "group_norm"), _params))
