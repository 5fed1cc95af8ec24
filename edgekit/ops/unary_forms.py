"""How `unary` computes on integers: one class per form, with its numbers and its meaning in numpy.

`edgekit.ops.unary_params` chooses the form and its numbers; the reference calls `evaluate`, and
code generation prints the same steps in C. docs/SPEC.md, "unary", has the formulas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.ops import fixedpoint as fp
from edgekit.ops.gates import sigmoid_of_thirds, tanh_of_thirds

#: An interpolation table has an entry every 128 integers of an int16 operand.
STEPS = fp.TABLE_STEPS
#: An octave table has this many entries for the integers from 2**k to 2**(k + 1), k >= OCTAVE_BITS.
OCTAVE_BITS = 6
#: Entries of one side of an octave table, 0 and 2**15 included.
OCTAVE_ENTRIES = ((15 - OCTAVE_BITS + 1) << OCTAVE_BITS) + 1
#: Fractional bits of a table whose results are int8.
FRACTION_BITS = 8


@dataclass(frozen=True)
class Output:
    """Zero point, clamp and dtype of a result."""

    zero_point: int
    qmin: int
    qmax: int
    dtype: str

    def of(self, y: np.ndarray) -> np.ndarray:
        """Integers around the zero point to the result."""
        return np.clip(y + self.zero_point, self.qmin, self.qmax).astype(self.dtype)


@dataclass(frozen=True)
class Lookup:
    """A table of 256 results for the operand's -128 .. 127."""

    table: np.ndarray

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return self.table[x.astype(np.intp) + 128]


@dataclass(frozen=True)
class Interpolated:
    """Linear between the 513 entries of a table over all int16; entries have `fraction` bits."""

    table: np.ndarray
    fraction: int
    dtype: str

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return _rounded(fp.interpolate(self.table, x), self.fraction, self.dtype)


@dataclass(frozen=True)
class Octaves:
    """Linear between entries that lie closer towards 0, for functions that are steep there.

    `table` is [sides, OCTAVE_ENTRIES]: numbers >= 0, then numbers < 0 by their magnitude. With one
    side the function is not defined below 0, and 0 stands for those.
    """

    table: np.ndarray
    fraction: int
    dtype: str

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        v = x.astype(np.int64)
        two_sided = len(self.table) == 2
        n = np.abs(v) if two_sided else np.maximum(v, 0)
        exponent = np.frexp(np.maximum(n, 1).astype(np.float64))[1].astype(np.int64) - 1
        shift = np.maximum(exponent - OCTAVE_BITS, 0)
        index = (n >> shift) + (shift << OCTAVE_BITS)
        offset = n & ((np.int64(1) << shift) - 1)
        side = (v < 0).astype(np.intp) if two_sided else np.zeros(v.shape, np.intp)
        wide = np.concatenate([self.table, self.table[:, -1:]], 1).astype(np.int64)
        base, following = wide[side, index], wide[side, index + 1]
        half = (np.int64(1) << shift) >> 1
        return _rounded(
            base + (((following - base) * offset + half) >> shift), self.fraction, self.dtype
        )


@dataclass(frozen=True)
class Segments:
    """Straight lines: from `start` on ``MBQM(v, multiplier, shift) + offset``; v has no zero point.

    `lines` are (start, multiplier, shift, offset) with rising starts; the first one starts below
    everything.
    """

    zero_point: int
    lines: tuple[tuple[int, int, int, int], ...]
    out: Output

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        v = x.astype(np.int64) - self.zero_point
        y = np.zeros(v.shape, np.int64)
        for start, multiplier, shift, offset in self.lines:
            line = fp.multiply_by_quantized_multiplier(v, multiplier, shift) + offset
            y = np.where(v >= start, line, y)
        return self.out.of(y)


@dataclass(frozen=True)
class Whole:
    """floor, ceil and round: a number with `fraction` bits, made whole, then the result's scale."""

    zero_point: int
    rounding: str
    multiplier: int
    shift: int
    fraction: int
    out_multiplier: int
    out_shift: int
    out: Output

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        v = x.astype(np.int64) - self.zero_point
        fixed = fp.multiply_by_quantized_multiplier(v, self.multiplier, self.shift)
        whole = _whole(fixed, self.fraction, self.rounding)
        return self.out.of(
            fp.multiply_by_quantized_multiplier(whole, self.out_multiplier, self.out_shift)
        )


@dataclass(frozen=True)
class Square:
    """``MBQM(v * v)``."""

    zero_point: int
    multiplier: int
    shift: int
    out: Output

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        v = x.astype(np.int64) - self.zero_point
        return self.out.of(fp.multiply_by_quantized_multiplier(v * v, self.multiplier, self.shift))


@dataclass(frozen=True)
class InverseSqrt:
    """TFLM's RSQRT; numbers that are not positive give the greatest integer."""

    #: What the inverse square root of an integer is scaled up by before it is rescaled.
    LEFT = 20

    zero_point: int
    multiplier: int
    shift: int
    out: Output

    @property
    def largest(self) -> int:
        """What the last multiplication can shift to the left within int32."""
        return fp.INT32_MAX >> max(self.shift - self.LEFT, 0)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        v = x.astype(np.int64) - self.zero_point
        root, shift = fp.inverse_sqrt(np.maximum(v, 1))
        data = fp.multiply_by_quantized_multiplier(1, root, shift + self.LEFT)
        data = np.minimum(data, self.largest)
        y = self.out.of(
            fp.multiply_by_quantized_multiplier(data, self.multiplier, self.shift - self.LEFT)
        )
        return np.where(v <= 0, self.out.qmax, y).astype(self.out.dtype)


@dataclass(frozen=True)
class Sigmoid16:
    """TFLM's int16 LOGISTIC, the sigmoid of gates (`edgekit.ops.gates`); results are Q0.15."""

    multiplier: int
    shift: int

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return sigmoid_of_thirds(_thirds(x, self.multiplier, self.shift)).astype(np.int16)


@dataclass(frozen=True)
class Tanh16:
    """TFLM's int16 TANH, from the same table; results are Q0.15."""

    multiplier: int
    shift: int

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return tanh_of_thirds(_thirds(x, self.multiplier, self.shift)).astype(np.int16)


Form = (
    Lookup | Interpolated | Octaves | Segments | Whole | Square | InverseSqrt | Sigmoid16 | Tanh16
)


def _thirds(x: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """int16 numbers in steps of 1 / (3 * 2**12)."""
    return (x.astype(np.int64) * multiplier + ((1 << shift) >> 1)) >> shift


def _rounded(y: np.ndarray, fraction: int, dtype: str) -> np.ndarray:
    """Numbers with `fraction` bits as integers of `dtype`, halves up."""
    info = np.iinfo(dtype)
    return np.clip((y + ((1 << fraction) >> 1)) >> fraction, info.min, info.max).astype(dtype)


def _whole(fixed: np.ndarray, fraction: int, rounding: str) -> np.ndarray:
    """Numbers with `fraction` bits made whole: "floor", "ceil", or "round" (halves to even)."""
    if rounding == "ceil":
        return -((-fixed) >> fraction)
    if rounding == "floor":
        return fixed >> fraction
    moved = fixed + ((1 << fraction) >> 1)
    tie = (moved & ((1 << fraction) - 1)) == 0 if fraction else np.zeros(fixed.shape, bool)
    whole = moved >> fraction
    return whole - (tie & ((whole & 1) == 1))
