"""Requantization of four accumulators at a time, exactly SPEC's two roundings.

The forms are functions of firmware/include/ek_neon.h, which says why they are exact:

======  ====================================================  ============
form    allowed                                               instructions
======  ====================================================  ============
relu    clamped at the zero point, no left shift, and the     2
        sum with the zero point cannot leave 32 bits
right   all right shifts are at least 1                       3
any     always; the zero point is added in 32 bits, as it     9
        wraps there
======  ====================================================  ============
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from codegen.channels import Channels
from codegen.int8 import Requant

INSTRUCTIONS = {"relu": 2, "right": 3, "any": 9}


class VectorRequant(Requant):
    """How accumulators become int8, as C."""

    @property
    def suffix(self) -> str:
        """Of the names of functions whose text depends on the form and the clamp."""
        return self.form + ("_clamped" if self.clamped else "")

    @property
    def numbers(self) -> str:
        """Arguments for `PARAMETERS`."""
        return f"{self.zero_point}, {self.low}, {self.high}"

    def constants(self) -> str:
        """C text that declares what `rescaled` and `narrowed` read."""
        lines = ["    const int16x8_t zero_point = vdupq_n_s16((int16_t)zp);\n"]
        if self.form == "any":
            lines = ["    const int16x8_t zero_point = vdupq_n_s16(0);\n"]
            lines.append("    const int32x4_t zero_point32 = vdupq_n_s32(zp);\n")
        if self.clamped:
            lines.append("    const int8x8_t lowest = vdup_n_s8((int8_t)low);\n")
            lines.append("    const int8x8_t highest = vdup_n_s8((int8_t)high);\n")
        unused = [] if self.clamped else ["low", "high"]
        return "".join(lines) + "".join(f"    (void){name};\n" for name in unused)

    def rescaled(self, acc: str, multiplier: str, shift: str) -> str:
        """C expression: four results in 32 bits."""
        text = f"ek_n_rescale_{self.form}({acc}, {multiplier}, {shift})"
        return f"vaddq_s32({text}, zero_point32)" if self.form == "any" else text

    def narrowed(self, low: str, high: str) -> str:
        """C expression: eight results of int8 from two vectors of `rescaled`."""
        text = f"ek_n_narrow({low}, {high}, zero_point)"
        return f"ek_n_clamp({text}, lowest, highest)" if self.clamped else text

    def instructions(self, vectors: int) -> int:
        """Of `vectors` accumulators, biases, multipliers and shifts loaded and in eights stored."""
        pairs = -(-vectors // 2)
        return vectors * (INSTRUCTIONS[self.form] + 1) + pairs * (3 + 2 * self.clamped)


#: Parameters of functions that requantize, at the end of theirs.
PARAMETERS = ("int32_t zp", "int32_t low", "int32_t high")


def plan(channels: Channels) -> VectorRequant:
    """The cheapest exact form."""
    form = "any"
    if channels.relu and (channels.shift <= 0).all() and channels.final < 1 << 30:
        form = "relu"
    elif (channels.shift < 0).all():
        form = "right"
    return VectorRequant(form, channels.output_zero_point, channels.qmin, channels.qmax)


def pack(channels: Channels, group: int) -> np.ndarray:
    """int32 [ceil(O / group) * 3 * group]: by groups of channels biases, multipliers, shifts."""
    columns: Sequence[np.ndarray] = (channels.bias, channels.multiplier, channels.shift)
    pad = -len(channels.bias) % group
    parts = [np.pad(np.asarray(c, np.int32), (0, pad)).reshape(-1, group) for c in columns]
    return np.concatenate(parts, 1).ravel()
