"""What lstm, gru and rnn have in common: sequences, states, and the products of a gate.

Operands are x [1, T, I], the state h0 [1, H], weights W [gates x H, I] and R [gates x H, H] whose
rows are ordered by gate, and a bias. References take any number n of samples where a leading axis
says 1; a constant state [1, H] serves them all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from edgekit.graph import GraphError, Node, Quant, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops import gates
from edgekit.ops.base import INTEGERS, require
from edgekit.ops.conv2d import exact_matmul
from edgekit.ops.requant import quant_of, tensor_quant

#: The furthest that an int32 is shifted left.
MOST_SHIFT = 30


class Product(NamedTuple):
    """Integers of one matrix times vector: multipliers and shifts are [rows].

    `wide` says that sums have 64 bits; then multipliers have 15 and shifts go to the right.
    """

    zero_point: int
    multiplier: np.ndarray
    shift: np.ndarray
    wide: bool


class Rescale(NamedTuple):
    """A multiplier, a shift, and the zero point and limits of the result."""

    multiplier: int
    shift: int
    zero_point: int
    qmin: int
    qmax: int


def one_sequence(node: Node, inputs: list[Value]) -> bool:
    """The first operand is one sequence, [1, steps, inputs]."""
    return bool(inputs) and len(inputs[0].shape) == 3 and inputs[0].shape[0] == 1


def activations_of_cells(node: Node, inputs: list[Value]) -> bool:
    """The first operand is float32, int8 or int16."""
    return bool(inputs) and inputs[0].dtype in ("float32", *INTEGERS)


#: What holds for lstm, gru and rnn; `check` compares shapes and the dtypes of the others.
RULES = (one_sequence, activations_of_cells)


def product_params(x: Value, w: Value, scale: float = 2.0**-gates.GATE_BITS) -> Product:
    """The requantization of rows of `w` times `x` to `scale`, Q3.12 where nothing is said.

    Activations of 16 bits are requantized as TFLM does it for 64-bit accumulators.
    """
    s, zero_point = tensor_quant(x)
    wide = quant_of(w).scale.astype(np.float64) * np.float64(np.float32(s))
    rows = np.broadcast_to(wide / np.float64(scale), (w.shape[0],))
    multiplier, shift = fp.quantize_multiplier(rows)
    most = 14 if x.dtype == "int16" else MOST_SHIFT
    if int(shift.max()) > most:
        raise GraphError(f"'{w.name}' x '{x.name}': the scale of a product is 2**{most} or above")
    if x.dtype == "int16":
        multiplier, shift = fp.reduced_multipliers(multiplier, shift)
    return Product(zero_point, multiplier, shift, x.dtype == "int16")


def rescale_params(real: float, out: Value | None = None) -> Rescale:
    """A requantization by the factor `real` into `out`, into Q-numbers of int16 without it."""
    multiplier, shift = fp.quantize_multiplier(real)
    if int(shift) > MOST_SHIFT:
        where = f"'{out.name}'" if out is not None else "a gate"
        raise GraphError(f"{where}: the scale of a product is 2**{MOST_SHIFT} or above")
    info = np.iinfo(out.dtype if out is not None else "int16")
    zero_point = tensor_quant(out)[1] if out is not None else 0
    return Rescale(int(multiplier), int(shift), zero_point, int(info.min), int(info.max))


def rescale(x: np.ndarray, p: Rescale) -> np.ndarray:
    """int64 results of int32 numbers `x` under `p`."""
    y = fp.multiply_by_quantized_multiplier(x, p.multiplier, p.shift) + p.zero_point
    return np.clip(y, p.qmin, p.qmax)


def product(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, p: Product) -> np.ndarray:
    """Rows of `w` times integers `x` [n, K], requantized, not clamped: int64 [n, rows]."""
    folded = -p.zero_point * w.astype(np.int64).sum(axis=1)
    if bias is not None:
        folded = folded + bias
    acc = exact_matmul(x, w) + folded
    if p.wide:
        return fp.multiply_wide(acc, p.multiplier, p.shift)
    return fp.multiply_by_quantized_multiplier(fp.wrap32(acc), p.multiplier, p.shift)


def clamps_terms(node: Node) -> bool:
    """Whether each term of a gate saturates by itself, as in TFLM, or their sum only."""
    return bool(node.attrs.get("clamp_terms", False))


def gate_sum(node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The pre-activation of a gate, Q3.12, from its two terms."""
    if clamps_terms(node):
        a, b = gates.clamp16(a), gates.clamp16(b)
    return gates.clamp16(a + b)


def times(node: Node, length: int) -> Iterator[int]:
    """The steps in the order of computation."""
    return iter(range(length - 1, -1, -1) if node.attrs.get("reverse") else range(length))


def spread(state: np.ndarray, n: int) -> np.ndarray:
    """A state [1, H] or [n, H] for n samples."""
    return np.broadcast_to(state, (n, state.shape[-1]))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """float32 sigmoid without overflow."""
    y: np.ndarray = (0.5 * (np.tanh(0.5 * x) + 1.0)).astype(np.float32)
    return y


def power_of(value: Value) -> int:
    """The exponent of a scale that is a power of two.

    Raises:
        GraphError: where it is none (within TFLite's tolerance of 0.001 in the exponent).
    """
    scale, zero_point = tensor_quant(value)
    power = round(float(np.log2(scale)))
    if abs(float(np.log2(scale)) - power) >= 1e-3 or zero_point != 0:
        raise GraphError(f"'{value.name}': the scale {scale} is not a power of two")
    if not -28 <= power <= 0:
        raise GraphError(f"'{value.name}': the scale 2**{power} is not within 2**-28 and 1")
    return power


def rows(p: Product, start: int, stop: int) -> Product:
    """The product of some rows of a matrix."""
    return p._replace(multiplier=p.multiplier[start:stop], shift=p.shift[start:stop])


def check(
    node: Node, inputs: list[Value], *, gates: int, states: list[str], biases: list[int]
) -> list[Value]:
    """The operands of a cell: x, the states, W, R and biases, checked against each other.

    `states` has the dtype of each state of an integer cell, `biases` their rows in units.

    Raises:
        GraphError: where a shape or a dtype does not fit.
    """
    first = 1 + len(states)
    count = first + 2 + len(biases)
    require(len(inputs) == count, node, f"needs {count} operands, has {len(inputs)}")
    x = inputs[0]
    units = inputs[1].shape[-1] if inputs[1].shape else 0
    of_w, of_r = (gates * units, x.shape[2]), (gates * units, units)
    shapes = [*((1, units) for _ in states), of_w, of_r, *((b * units,) for b in biases)]
    for value, shape in zip(inputs[1:], shapes, strict=True):
        fits = value.shape == shape
        require(fits, node, f"'{value.name}' must be {list(shape)}, it is {list(value.shape)}")
    kinds = [v.dtype for v in inputs]
    wanted = [x.dtype, *states, "int8", "int8", *("int32" for _ in biases)]
    if x.dtype == "float32":
        wanted = ["float32"] * count
    require(kinds == wanted, node, f"operands must be {', '.join(wanted)}, not {', '.join(kinds)}")
    return inputs


def extremes(*arrays: np.ndarray) -> tuple[float, float]:
    """Least and greatest element of all arrays."""
    return min(float(a.min()) for a in arrays), max(float(a.max()) for a in arrays)


def magnitude(range_: tuple[float, float]) -> float:
    """The largest magnitude within (lo, hi)."""
    return max(-range_[0], range_[1], 0.0)


def quant_by_power(reach: float) -> Quant:
    """The finest int16 quantization by a power of two whose 32768 steps are `reach` or more.

    The power is at most 0, as `power_of` wants it, and at least -15 (one unit and less).
    """
    power = 0 if reach >= 32768 else max(math.ceil(math.log2(max(reach, 1e-30))) - 15, -15)
    return Quant.make(2.0**power, 0)
