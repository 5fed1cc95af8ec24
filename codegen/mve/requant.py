"""Requantization of four accumulators at a time, exactly SPEC's two roundings.

VQRDMULH rounds (2 * a * m + 2^31) >> 32, which is gemmlowp's doubling high multiply for either
sign: its nudge and truncation amount to rounding halves up too, and both saturate the one product
that overflows. VRSHL by -e rounds halves up where SPEC rounds them away from zero. The two differ
in halves of negative numbers only, and agree after subtracting one from negative numbers:

========  ====================================  ==========================================
form      allowed                               instructions between accumulator and result
========  ====================================  ==========================================
relu      clamped at the zero point             VQRDMULH, VRSHL, VADD
general   all right shifts are at least 1       VQRDMULH, VQDMLAH, VRSHL, VADD
========  ====================================  ==========================================

*relu*: whatever is negative before the zero point is added is clamped away. *general*: VQDMLAH with
the scalar 1 adds (2 * x * 1) >> 32, which is -1 for negative x and else 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from codegen.channels import Channels
from codegen.int8 import Requant
from codegen.kernel import NotApplicable
from codegen.thumb.routine import Routine


def plan(channels: Channels) -> Requant:
    """The cheapest form; raises NotApplicable where none is exact."""
    if (channels.shift > 0).any():
        raise NotApplicable(f"left shifts of up to {int(channels.shift.max())}")
    if not channels.relu and (channels.shift == 0).any():
        raise NotApplicable("right shifts of 0 without ReLU")
    return Requant(
        "relu" if channels.relu else "general",
        channels.output_zero_point,
        channels.qmin,
        channels.qmax,
    )


def pack(channels: Channels, group: int = 4) -> np.ndarray:
    """int8 [ceil(O / group) * group * 9]: by four channels their biases, multipliers, shifts."""
    count = len(channels.bias)
    pad = -count % group

    def padded(values: np.ndarray, dtype: str) -> np.ndarray:
        whole = np.concatenate([values, np.zeros(pad, np.int64)]).astype(dtype)
        return whole.view(np.int8).reshape((count + pad) // 4, -1)

    return np.concatenate(
        [
            padded(channels.bias, "<i4"),
            padded(channels.multiplier, "<i4"),
            padded(channels.shift, "i1"),
        ],
        1,
    ).ravel()


def emit(
    routine: Routine,
    how: Requant,
    vectors: Sequence[tuple[str, str, str, str]],
    zero_point: str,
    one: str,
    limits: Mapping[str, str],
    loads: tuple[str, str, str] = ("", "", ""),
) -> None:
    """Requantize vectors in place; the lowest byte of each lane is the result.

    Args:
        vectors: (accumulators, biases or "" where they are in already, multipliers, shifts).
        zero_point: core register that holds it; one: one that holds 1, which "general" reads.
        limits: where there is a clamp, two free vector registers and the core registers that hold
            its lower and upper limit.
        loads: instructions that fetch biases, multipliers and shifts right before they are read.
    """
    routine(*filter(None, loads[:1]))
    for v, bias, _, _ in vectors:
        if bias:
            routine(f"vadd.i32 {v}, {v}, {bias}")
    routine(*filter(None, loads[1:2]))
    for v, _, multiplier, _ in vectors:
        routine(f"vqrdmulh.s32 {v}, {v}, {multiplier}")
    if how.form == "general":
        for v, *_ in vectors:
            routine(f"vqdmlah.s32 {v}, {v}, {one}")
    routine(*filter(None, loads[2:]))
    for v, _, _, shift in vectors:
        routine(f"vrshl.s32 {v}, {v}, {shift}")
    for v, *_ in vectors:
        routine(f"vadd.i32 {v}, {v}, {zero_point}")
    if how.clamped:
        routine(*(f"vdup.32 {v}, {core}" for v, core in limits.items()))
        low, high = limits
        steps = [f"vmax.s32 {{0}}, {{0}}, {low}", f"vmin.s32 {{0}}, {{0}}, {high}"]
    else:
        steps = ["vqmovnb.s32 {0}, {0}", "vqmovnb.s16 {0}, {0}"]
    for step in steps:
        routine(*(step.format(v) for v, *_ in vectors))
