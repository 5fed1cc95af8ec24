"""Requantization of vectors of four accumulators, exactly SPEC's two roundings.

SQRDMULH rounds (2 * a * m + 2^31) >> 32, which is gemmlowp's doubling high multiply for either
sign: its nudge and truncation amount to rounding halves up too, and the one product that overflows
cannot occur, since multipliers are positive. SRSHL by -e rounds halves up where SPEC rounds them
away from zero. The two differ in halves of negative numbers only, and agree after subtracting one
from negative numbers:

========  ====================================  ==========================================
form      allowed                               instructions for four accumulators
========  ====================================  ==========================================
relu      clamped at the zero point             SQRDMULH, SRSHL
general   all right shifts are at least 1       SQRDMULH, SSRA, SRSHL
lanes     always                                SQRDMULH, AND, SSHR, SQADD, SRSHL
========  ====================================  ==========================================

*relu*: whatever is negative before the zero point is added is clamped away. *general*: SSRA by 31
adds -1 to a negative number, else 0. *lanes*: the same where the shift is negative too. Where a
channel shifts to the left, SSHL comes first; it wraps as SPEC does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.a64.routine import Routine
from codegen.channels import Channels
from codegen.kernel import NotApplicable

#: Results of requantization below this fit 16 bits, whatever the last rounding does.
NARROW = (1 << 15) - 2
#: How many bytes of a vector a store takes, and the lane that it names.
_STORES = ((8, "d"), (4, "s"), (2, "h"), (1, "b"))


@dataclass(frozen=True)
class VectorRequant:
    """How accumulators become int8: the form, and the clamp where it is not all of int8.

    `left`: some channel shifts to the left. `narrow`: results fit 16 bits before the clamp.
    """

    form: str
    left: bool
    narrow: bool
    zero_point: int
    low: int
    high: int

    @property
    def unsigned(self) -> bool:
        """Whether everything below a zero point of -128 is clamped, as saturation does."""
        return self.zero_point == self.low == -128

    @property
    def operands(self) -> int:
        """Vectors that four channels read: multipliers, right shifts, left shifts."""
        return 3 if self.left else 2

    @property
    def limits(self) -> list[str]:
        """What clamps bytes, with the value of each lane."""
        return [f"smax {v}" for v in [self.low] if v > -128] + [
            f"smin {v}" for v in [self.high] if v < 127
        ]

    @property
    def spare(self) -> int:
        """Vector registers that `emit` and `pack` overwrite."""
        return max(1 if self.form == "lanes" else 0, 1 + len(self.limits))

    @property
    def params(self) -> dict[str, Any]:
        """What a kernel's text depends on."""
        return {
            "requant": self.form,
            "left": self.left,
            "narrow": self.narrow,
            "zy": self.zero_point,
            "low": self.low,
            "high": self.high,
        }

    @staticmethod
    def of(p: dict[str, Any]) -> VectorRequant:
        return VectorRequant(p["requant"], p["left"], p["narrow"], p["zy"], p["low"], p["high"])


def plan(channels: Channels) -> VectorRequant:
    """The cheapest form that is exact for all channels."""
    if channels.types != {"x_dtype": "int8", "y_dtype": "int8"}:
        raise NotApplicable("activations of 16 bits")
    left = bool((channels.shift > 0).any())
    unshifted = (channels.shift >= 0) & (channels.multiplier != 0)
    form = "relu" if channels.relu else "lanes" if unshifted.any() else "general"
    scale = channels.multiplier * np.exp2(channels.shift.astype(float) - 31)
    return VectorRequant(
        form,
        left,
        not left and bool(channels.final * scale.max() < NARROW),
        channels.output_zero_point,
        channels.qmin,
        channels.qmax,
    )


def operands(channels: Channels, how: VectorRequant, first: int, count: int) -> np.ndarray:
    """int8: for `count` channels from `first` on multipliers, right shifts, then left shifts.

    Channels beyond the last have multipliers of zero.
    """
    kinds = [channels.multiplier, np.minimum(channels.shift, 0)]
    if how.left:
        kinds.append(np.maximum(channels.shift, 0))
    return np.concatenate([lanes(kind, first, count) for kind in kinds])


def lanes(values: np.ndarray, first: int, count: int) -> np.ndarray:
    """int32 as int8: `count` values from `first` on, zeros beyond the last."""
    found = np.zeros(count, "<i4")
    given = values[first : first + count]
    found[: len(given)] = given
    return found.view(np.int8)


def emit(
    r: Routine, how: VectorRequant, vectors: Sequence[tuple[int, Sequence[int]]], spare: int
) -> None:
    """Requantize vectors in place, without the zero point.

    Args:
        vectors: numbers of registers with accumulators, each with those of its operands.
        spare: a vector register that is overwritten.
    """
    if how.left:
        r(*(f"sshl v{v}.4s, v{v}.4s, v{given[2]}.4s" for v, given in vectors))
    r(*(f"sqrdmulh v{v}.4s, v{v}.4s, v{given[0]}.4s" for v, given in vectors))
    if how.form == "general":
        r(*(f"ssra v{v}.4s, v{v}.4s, #31" for v, _ in vectors))
    elif how.form == "lanes":
        for v, given in vectors:
            r(f"and v{spare}.16b, v{v}.16b, v{given[1]}.16b", f"sshr v{spare}.4s, v{spare}.4s, #31")
            r(f"sqadd v{v}.4s, v{v}.4s, v{spare}.4s")
    r(*(f"srshl v{v}.4s, v{v}.4s, v{given[1]}.4s" for v, given in vectors))


def fixed(r: Routine, how: VectorRequant, spare: int) -> None:
    """Fill the registers from `spare` on with what `pack` reads: zero point and limits."""
    zero = how.zero_point
    if how.unsigned:
        r(f"movi v{spare}.16b, #128")
    elif zero:
        r(f"movi v{spare}.8h, #{zero}" if zero >= 0 else f"mvni v{spare}.8h, #{~zero}")
    for i, limit in enumerate(how.limits):
        r(f"movi v{spare + 1 + i}.16b, #{int(limit.split()[1]) & 0xFF}")


def pack(r: Routine, how: VectorRequant, vectors: Sequence[int], spare: int) -> None:
    """Up to four vectors of requantized numbers become the bytes of the first, in order."""
    pairs = [vectors[i : i + 2] for i in range(0, len(vectors), 2)]
    for pair in pairs:
        a, b = pair[0], pair[-1]
        if how.narrow:
            r(f"uzp1 v{a}.8h, v{a}.8h, v{b}.8h")
        else:
            r(f"sqxtn v{a}.4h, v{a}.4s")
            if len(pair) == 2:
                r(f"sqxtn2 v{a}.8h, v{b}.4s")
    if how.zero_point and not how.unsigned:
        r(*(f"sqadd v{pair[0]}.8h, v{pair[0]}.8h, v{spare}.8h" for pair in pairs))
    to, name = vectors[0], "sqxtun" if how.unsigned else "sqxtn"
    r(f"{name} v{to}.8b, v{to}.8h")
    if len(pairs) == 2:
        r(f"{name}2 v{to}.16b, v{pairs[1][0]}.8h")
    if how.unsigned:
        r(f"eor v{to}.16b, v{to}.16b, v{spare}.16b")
    for i, limit in enumerate(how.limits):
        r(f"{limit.split()[0]} v{to}.16b, v{to}.16b, v{spare + 1 + i}.16b")


def store(r: Routine, vector: int, at: int, count: int, pointer: str) -> None:
    """`count` bytes of a vector from byte `at` on to a pointer, which moves on behind them."""
    if count == 16:
        r(f"str q{vector}, [{pointer}], #16")
        return
    while count:
        size, lane = next((n, k) for n, k in _STORES if n <= count and at % n == 0)
        if at == 0:
            r(f"str {lane}{vector}, [{pointer}], #{size}")
        else:
            r(f"st1 {{v{vector}.{lane}}}[{at // size}], [{pointer}], #{size}")
        at, count = at + size, count - size
