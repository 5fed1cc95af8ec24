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
#: EOR with it makes odd bytes of a word unsigned.
FLIP = "#0x80008000"
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
    """Requantize one channel's accumulators in place; `power` holds the byte before."""
    routine(f"lsl {power}, {sixty_four}, {power}")
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


def pack_tile() -> Routine:
    """Five pixels of one stride: `words` words of each, a group of (H x 5, L x 5) a word.

    ``(const int8_t *x, int32_t *a, int32_t stride, int32_t words)``; loop "words".
    """
    r = Routine("pack_5", "const int8_t *x", "int32_t *a", "int32_t stride", "int32_t words")
    r("push {r4-r11, lr}", "add r3, r0, r3, lsl #2", "push {r3}")
    r("add r3, r2, r2, lsl #1")
    pixels, highs = [f"r{i}" for i in range(4, 9)], ["r9", "r10", "r11", "r12", "lr"]
    with r.until("words", "r0", "r4"):
        r("ldr r5, [r0, r2]", "ldr r6, [r0, r2, lsl #1]", "ldr r7, [r0, r3]")
        r("ldr r8, [r0, r2, lsl #2]", "ldr r4, [r0], #4")
        for x in pixels:
            r(f"eor {x}, {x}, {FLIP}")
        for x, h in zip(pixels, highs, strict=True):
            r(f"uxtb16 {h}, {x}, ror #8")
        r("stmia r1!, {r9-r12, lr}")
        for x in pixels:
            r(f"rev16 {x}, {x}")
        for x in pixels:
            r(f"mvn {x}, {x}")
        r("stmia r1!, {r4-r8}", "ldr r4, [sp]")
    r("add sp, #4", "pop {r4-r11, pc}")
    return r


def pack_run(tile: int, unroll: int) -> Routine:
    """One pixel's run of words into its slots of `tile` interleaved pixels.

    ``(const int8_t *x, int32_t *a, int32_t words)``, `words` a multiple of `unroll`; loop "words".
    """
    r = Routine(f"pack_run{unroll}", "const int8_t *x", "int32_t *a", "int32_t words")
    group, low = 8 * tile, 4 * tile
    words = ["r3", "r4", "r5", "r6"][:unroll]
    if unroll > 1:
        r("push {r4-r6, lr}")
    with r.loop("words", "r2", unroll):
        if unroll > 1:
            r(f"ldmia r0!, {{{', '.join(words)}}}")
        else:
            r("ldr r3, [r0], #4")
        for i, w in enumerate(words):
            r(f"eor {w}, {w}, {FLIP}", f"uxtb16 r12, {w}, ror #8", f"rev16 {w}, {w}")
            r(f"mvn {w}, {w}")
            r(f"str r12, [r1, #{i * group}]" if i else "str r12, [r1]")
            r(f"str {w}, [r1, #{i * group + low}]")
        r(f"add r1, r1, #{unroll * group}")
    r("pop {r4-r6, pc}" if unroll > 1 else "bx lr")
    return r
