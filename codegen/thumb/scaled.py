"""int8 weights against packed activations with one SXTB16 for four of them.

A word of weights w0..w3 is stored as the halfwords 256*w1 - w0 and 256*w3 - w2, a word of
activations a0..a3 is packed to two: H = (a1 + 128, a3 + 128) and L = (-256*a0 - H0 - 1,
-256*a2 - H1 - 1), all of them int16. Then

    SMLAD(weights, H) + SMLAD(SXTB16(weights), L)
        = 256 * (w0*a0 + w1*a1 + w2*a2 + w3*a3) + 32768 * (w1 + w3) + w0 + w2

SXTB16 reads -w0 and -w2, and the constant terms go into the bias: accumulators are 256 times the
true ones. That is exact where |acc| < 2^23, no even weight is -128, and no odd one is -128 beside
a positive even one. Packing is one EOR, UXTB16, REV16 and MVN for four activations.

Requantization takes the factor along. With a right shift e, the multiplier m and A = 256 * acc:

* *relu* (clamp at a zero point of -128): x = SMMLA(A, m, 64) is the first rounding with seven more
  bits (floor(acc*m / 2^24) + 64), SMMLAR(x, 2^(25-e), zp) the second, SSAT the clamp. e <= 19.
* *general*: A >> 7 is 2 * acc, then as `codegen.thumb.requant` has it. e <= 26.

Both make the power of two as 64 << s; s is one byte for a channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codegen.channels import Channels
from codegen.kernel import NotApplicable
from codegen.thumb.routine import Routine

#: Accumulators are this multiple of the true ones.
SCALE = 256
#: Packed zero weights may meet anything.
LIMIT = 1 << 23


@dataclass(frozen=True)
class Scaled:
    """A layer's constants in this form.

    `words` int16 [O, K/2] are the weights, two halfwords a word; `bias`, `multiplier` int32 [O];
    `power` uint8 [O], the shift of 64; `form` "relu" or "general".
    """

    form: str
    zero_point: int
    words: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    power: np.ndarray


def scaled(channels: Channels, weights: np.ndarray) -> Scaled:
    """Constants of `channels`.

    Args:
        weights: `channels.weights` in the kernel's order of taps, int8 [O, K], K % 4 == 0.

    Raises:
        NotApplicable: where the form is not exact, or results are not int8 in [-128, 127].
    """
    if set(channels.types.values()) != {"int8"}:
        raise NotApplicable(" to ".join(channels.types.values()))
    if (channels.qmin, channels.qmax) != (-128, 127):
        raise NotApplicable(f"results are clamped to [{channels.qmin}, {channels.qmax}]")
    if channels.bound >= LIMIT:
        raise NotApplicable(f"an accumulator can reach {channels.bound}, the limit is 2^23")
    w = weights.astype(np.int64)
    even, odd = w[:, 0::2], w[:, 1::2]
    if (even == -128).any() or ((odd == -128) & (even > 0)).any():
        raise NotApplicable("weights of -128")
    right = -channels.shift.astype(np.int64)
    if right.min() < 2 or right.max() > 26:
        raise NotApplicable(f"right shifts of {right.min()} to {right.max()}, 2 to 26 are exact")
    relu = channels.relu and int(right.max()) <= 19
    bias = SCALE * channels.bias - 32768 * odd.sum(1) - even.sum(1)
    return Scaled(
        "relu" if relu else "general",
        channels.output_zero_point,
        (256 * odd - even).astype(np.int16),
        (bias & 0xFFFFFFFF).astype(np.uint32).view(np.int32),
        channels.multiplier.astype(np.int32),
        ((19 if relu else 26) - right).astype(np.uint8),
    )


def emit(
    routine: Routine,
    form: str,
    accumulators: Sequence[str],
    multiplier: str,
    power: str,
    sixty_four: str,
    zero_point: str,
) -> None:
    """Requantize one channel's accumulators in place; `power` is 64 << `Scaled.power`."""
    if form == "general":
        for a in accumulators:
            routine(f"asr {a}, {a}, #7")
        for a in accumulators:
            routine(f"smmulr {a}, {a}, {multiplier}")
        for a in accumulators:
            routine(f"add {a}, {a}, {a}, asr #31")
    else:
        for a in accumulators:
            routine(f"smmla {a}, {a}, {multiplier}, {sixty_four}")
    for a in accumulators:
        routine(f"smmlar {a}, {a}, {power}, {zero_point}")
    for a in accumulators:
        routine(f"ssat {a}, #8, {a}")
