"""From int8 weights to the tables that `codegen.thumb.depthwise_columns` reads.

Four channels are int32 biases [4] and multipliers [4], then bytes: shifts [4] and weights
[taps, 4]. The fast form's shift is its 1 + k, the others' is 32 - e.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from codegen.thumb.columns import CHANNELS
from codegen.thumb.requant import Requant
from codegen.thumb.routine import Routine
from codegen.thumb.taps import Tap, Taps

#: Weights that the routine has registers for.
RESIDENT = 9


def pack(weights: np.ndarray, rq: Requant) -> np.ndarray:
    """int32 [O / 4, 9 + taps] of int8 weights [O, height, width]."""
    groups = len(weights) // CHANNELS
    shifts = np.log2((rq.scale if rq.form == "fast" else rq.power).astype(np.float64))
    taps = weights.reshape(groups, CHANNELS, -1).transpose(0, 2, 1)
    by_bytes = np.concatenate([shifts.reshape(groups, 1, CHANNELS), taps], 1).astype(np.int8)
    words = np.stack([rq.bias, rq.multiplier], 1).reshape(groups, CHANNELS, 2).transpose(0, 2, 1)
    return np.concatenate(
        [
            words.astype("<i4").reshape(groups, -1),
            np.ascontiguousarray(by_bytes).reshape(groups, -1).view("<i4"),
        ],
        1,
    )


def words(taps: Taps) -> int:
    """Words of four channels."""
    return 2 * CHANNELS + 1 + taps.height * taps.width


@cache
def unpack(taps: Taps, form: str) -> Routine:
    """``(packed, table, addend)``: the records of four channels.

    `addend` is what powers of the fast form have in common.
    """
    r = Routine("unpack", "const int32_t *packed", "int32_t *table", "int32_t addend")
    r("push {r2, r4-r11, lr}", f"mov r3, #{CHANNELS}", "push {r3}")
    r(f"add r2, r0, #{8 * CHANNELS}")
    count = len(taps.words)
    with r.until("channels", "lr", "#0"):
        r("ldrb r3, [r2]", "mov lr, #1", "lsl lr, lr, r3")
        if form == "fast":
            r("ldr r4, [sp, #4]", "add lr, r4, lr, lsr #2")
        r(f"str lr, [r1, #{4 * count + 8}]")
        _words(r, taps, shifted=form == "fast")
        r("ldr r3, [r0]", f"ldr lr, [r0, #{4 * CHANNELS}]", "strd r3, lr, [r1], #12")
        r("add r0, r0, #4", "add r2, r2, #1")
        r("ldr lr, [sp]", "sub lr, lr, #1", "str lr, [sp]")
    r("pop {r3}", "pop {r2, r4-r11, pc}")
    return r


def _words(r: Routine, taps: Taps, *, shifted: bool) -> None:
    """All words of one channel, two to a store: times 2^r3 where `shifted`, else times two."""
    order = [(i, j) for i in range(taps.height) for j in range(taps.width)]
    fits = len(order) <= RESIDENT
    # The shift is needed until all weights are loaded.
    results, free = (["r4", "r5"], range(6, 13)) if shifted and not fits else (
        ["r3", "lr"], range(4, 13))  # fmt: skip
    held: dict[Tap, str] = {}
    unused = [f"r{n}" for n in free]

    def load(tap: Tap, keep: Tap | None = None) -> str:
        """The register of a weight; of all that are held, the one loaded first makes room."""
        if tap not in held:
            oldest = next((t for t in held if t != keep), None)
            register = unused.pop(0) if unused else held.pop(oldest or tap)
            held[tap] = register
            r(f"ldrsb {register}, [r2, #{CHANNELS * (1 + order.index(tap))}]")
            if shifted:
                r(f"lsl {register}, {register}, r3")
        return held[tap]

    if fits:
        for tap in order:
            load(tap)
    for n in range(0, len(taps.words), 2):
        words = taps.words[n : n + 2]
        for name, (low, high) in zip(results, words, strict=False):
            first = load(low)
            r(f"pkhbt {name}, {first}, {load(high or low, low)}, lsl #16")
            if not shifted:
                r(f"sadd16 {name}, {name}, {name}")
        if len(words) == 2:
            r(f"strd {results[0]}, {results[1]}, [r1], #8")
        else:
            r(f"str {results[0]}, [r1], #4")
