"""Requantization in two to four instructions: which form a layer allows, its constants, its code.

All forms give SPEC's two roundings exactly (DESIGN "Cheap requantization"), for results of int8
whose clamp is [-128, 127], |acc| < 2^30 and right shifts e of 2 to 30. They take an accumulator
that is a multiple of the true one, since that is what the high multiplies need:

========  =======================================================  ============================
form      accumulator                                              instructions
========  =======================================================  ============================
fast      acc * 2^(1+k), k = E - e by channel, E one of the layer  SMMLA, SSAT asr #E
relu      2 * acc                                                  SMMULR, SMMLAR, SSAT
general   2 * acc                                                  SMMULR, ADD asr #31, SMMLAR, SSAT
========  =======================================================  ============================

*fast* and *relu* need a clamp at the zero point (ReLU), and *fast* needs weights that can take
the factor 2^(1+k), so int16 ones. Its multiply-add truncates: 2^(k-1) in the addend makes that the
first rounding, 2^(E-1) the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from codegen.channels import CONSTANT_MULTIPLIER, CONSTANT_SHIFT, Channels
from codegen.kernel import NotApplicable
from codegen.thumb.routine import Routine
from edgekit.ops import fixedpoint as fp

#: The largest k of the fast form.
MAX_PRESCALE = 7
#: The largest E of the fast form: the sum of a product below 2^30 and 128 * 2^E stays in 32 bits.
MAX_SHIFT = 23


@dataclass(frozen=True)
class Requant:
    """How a layer's accumulators become int8.

    `scale` [O] is the power of two that accumulators are multiples by; `bias` [O] is already
    multiplied by it. `multiplier` and `power` [O] are int32 operands of the form; `shift` is the
    fast form's E.
    """

    form: str
    shift: int
    zero_point: int
    scale: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    power: np.ndarray

    @property
    def params(self) -> dict[str, int | str]:
        """What a kernel's text depends on."""
        return {"requant": self.form, "requant_shift": self.shift, "zy": self.zero_point}

    @property
    def triples(self) -> np.ndarray:
        """int32 [O, 3]: bias, multiplier, power."""
        return np.stack([self.bias, self.multiplier, self.power], 1).astype(np.int32)


def plan(channels: Channels, weights: np.ndarray | None = None) -> Requant:
    """The cheapest form for `channels`.

    Args:
        weights: integers [O, ...] that will be multiplied by `Requant.scale` and stored as int16
            (Winograd's transformed ones, say); None where weights stay int8, which rules out
            the fast form.

    Raises:
        NotApplicable: where no form is exact, or results are not int8 in [-128, 127].
    """
    if channels.types["y_dtype"] != "int8":
        raise NotApplicable(f"{channels.types['y_dtype']} results")
    if (channels.qmin, channels.qmax) != (-128, 127):
        raise NotApplicable(f"results are clamped to [{channels.qmin}, {channels.qmax}]")
    if not channels.cheap:
        raise NotApplicable(
            f"accumulators reach {channels.bound}, right shifts are "
            f"{-int(channels.shift.max())} to {-int(channels.shift.min())}; the limits are 2^30 "
            "and 2 to 30"
        )
    right = -channels.shift.astype(np.int64)
    relu = channels.relu
    if relu and weights is not None:
        last = int(right.max()) + 1
        prescale = last - right
        scale = np.int64(1) << (1 + prescale)
        largest = np.abs(weights.reshape(len(right), -1).astype(np.int64)).max(1)
        if (
            int(prescale.max()) <= MAX_PRESCALE
            and last <= MAX_SHIFT
            and int((largest * scale).max()) < 1 << 15
            and channels.bound * int(scale.max()) < 1 << 31
        ):
            power = (
                (1 << (last - 1))
                + (np.int64(1) << (prescale - 1))
                + channels.output_zero_point * (1 << last)
            )
            return Requant(
                "fast", last, channels.output_zero_point, scale, channels.bias * scale,
                channels.multiplier, power,
            )  # fmt: skip
    two = np.full(len(right), 2, np.int64)
    return Requant(
        "relu" if relu else "general", 0, channels.output_zero_point, two, channels.bias * 2,
        channels.multiplier, np.int64(1) << (32 - right),
    )  # fmt: skip


def emit(
    routine: Routine,
    form: str,
    shift: int,
    accumulators: Sequence[str],
    multipliers: Sequence[str],
    powers: Sequence[str],
    zero_point: str = "",
) -> None:
    """Requantize registers in place; each ends as int8 in a word.

    Args:
        form: `Requant.form`.
        shift: `Requant.shift`.
        accumulators: registers; multipliers, powers: the operands of each.
        zero_point: a register that holds it, which all forms but "fast" read.
    """
    if form == "fast":
        for a, m, p in zip(accumulators, multipliers, powers, strict=True):
            routine(f"smmla {a}, {a}, {m}, {p}")
        for a in accumulators:
            routine(f"ssat {a}, #8, {a}, asr #{shift}")
        return
    for a, m in zip(accumulators, multipliers, strict=True):
        routine(f"smmulr {a}, {a}, {m}")
    if form == "general":
        for a in accumulators:
            routine(f"add {a}, {a}, {a}, asr #31")
    for a, p in zip(accumulators, powers, strict=True):
        routine(f"smmlar {a}, {a}, {p}, {zero_point}")
    for a in accumulators:
        routine(f"ssat {a}, #8, {a}")


def at_shift(fast: Requant, shift: int) -> Requant:
    """The same fast form with a larger E: layers whose E agree share a routine."""
    more = shift - fast.shift
    prescale = np.log2(fast.scale).astype(np.int64) - 1 + more
    power = (
        (1 << (shift - 1))
        + (np.int64(1) << (prescale - 1))
        + fast.zero_point * (np.int64(1) << shift)
    )
    return Requant(
        fast.form, shift, fast.zero_point, fast.scale << more, fast.bias << more,
        fast.multiplier, power,
    )  # fmt: skip


def settled(channels: Channels) -> Channels:
    """Constant channels with a shift like the others', since a fast form's E is near those."""
    constant = ~channels.weights.any(1) & (channels.shift == CONSTANT_SHIFT)
    constant &= channels.multiplier == CONSTANT_MULTIPLIER
    if constant.all() or not constant.any():
        return channels
    right = min(int(np.median(-channels.shift[~constant])), 16)
    if right <= -CONSTANT_SHIFT:
        return channels
    # Powers of two all the way: the value is bias / 2^(1 + right), without rounding.
    bias = np.where(constant, channels.bias << (right + CONSTANT_SHIFT), channels.bias)
    return replace(
        channels,
        bias=bias,
        shift=np.where(constant, -right, channels.shift).astype(channels.shift.dtype),
        bound=max(channels.bound, int(np.abs(bias).max())),
        final=max(channels.final, int(np.abs(bias).max())),
    )


def highest_shift(fast: Requant, bound: int, largest: np.ndarray) -> int:
    """The largest E that `at_shift` can take a fast form to.

    Args:
        bound: `Channels.bound`.
        largest: the largest magnitude of each channel's weights [O].
    """
    shift = fast.shift
    while shift < MAX_SHIFT:
        scale = fast.scale << (shift + 1 - fast.shift)
        if (
            int(scale.max()) > 1 << (1 + MAX_PRESCALE)
            or int((largest * scale).max()) >= 1 << 15
            or bound * int(scale.max()) >= 1 << 31
        ):
            break
        shift += 1
    return shift


def fitted(channels: Channels, weights: np.ndarray, shift: int) -> Requant | None:
    """A fast form with E = `shift` where `plan` finds none because right shifts differ too much.

    Channels whose right shift is E or more have no prescale that gives both roundings. Theirs are a
    multiplier and a bias that are searched for: results are steps of the accumulator, and the form
    is taken where it makes the same steps over all accumulators that the channel can have.

    Args:
        channels: constant channels are `settled`.
        weights: as for `plan`.
    """
    right = -channels.shift.astype(np.int64)
    if not (channels.relu and channels.cheap) or channels.output_zero_point != -128:
        return None
    rows = np.abs(weights.reshape(len(right), -1).astype(np.int64))
    reach = np.abs(channels.bias) + 128 * rows.sum(1)
    prescale = shift - right
    scale = np.int64(1) << np.maximum(1 + prescale, 0)
    bias, multiplier = channels.bias * scale, channels.multiplier.astype(np.int64)
    for c in np.flatnonzero(prescale < 1):
        found = _fit(channels, int(c), int(reach[c]), int(rows[c].max()), shift)
        if found is None:
            return None
        prescale[c], multiplier[c], bias[c] = found
        scale[c] = 1 << (1 + prescale[c])
    fits = prescale.max() <= MAX_PRESCALE and (rows.max(1) * scale < 1 << 15).all()
    if not fits or (reach * scale + np.abs(bias - channels.bias * scale) >= 1 << 31).any():
        return None
    power = (
        (1 << (shift - 1)) + (np.int64(1) << (prescale - 1))
        + channels.output_zero_point * (np.int64(1) << shift)
    )  # fmt: skip
    return Requant("fast", shift, channels.output_zero_point, scale, bias, multiplier, power)


def _fit(
    channels: Channels, c: int, reach: int, largest: int, shift: int
) -> tuple[int, int, int] | None:
    """Prescale k, multiplier and scaled bias of channel `c`, whose accumulators stay in `reach`."""
    zero, right = channels.output_zero_point, -int(channels.shift[c])
    exact = channels.multiplier[c : c + 1].astype(np.int64)
    wanted = np.arange(zero + 1, 128)
    # The least accumulator of each result, by bisection; reach + 1 where there is none.
    low, high = np.full(len(wanted), -reach), np.full(len(wanted), reach + 1)
    while (low < high).any():
        middle = (low + high) >> 1
        y = fp.multiply_by_quantized_multiplier(middle, exact, channels.shift[c : c + 1]) + zero
        high = np.where(y >= wanted, middle, high)
        low = np.where(y >= wanted, low, np.minimum(middle + 1, high))
    step = low
    for k in range(1, MAX_PRESCALE + 1):
        scale = 1 << (1 + k)
        if largest * scale >= 1 << 15:
            break
        # The addend's own part of the rounding is a step of 2^(k - 1), which is this many
        # accumulators and more.
        limit = scale << max(right + k - shift + 1, 1)
        if reach * scale + limit >= 1 << 31:
            break
        # Results are reached where (scale * accumulator + more) * multiplier passes these.
        edge = ((wanted - zero << shift) - (1 << (shift - 1)) - (1 << (k - 1))) << 32
        near = round(int(exact[0]) * 2.0 ** (shift - right - k))
        for multiplier in range(max(near - 8, 1), near + 9):
            first = -(-edge // multiplier)
            least = int((first - scale * step)[step <= reach].max(initial=-limit))
            most = int((first - 1 - scale * (step - 1))[step > -reach].min(initial=limit))
            if least <= most:
                more = (least + most) // 2
                return k, multiplier, int(channels.bias[c]) * scale + more
    return None
