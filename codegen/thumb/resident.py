"""Shallow pointwise layers (four or eight input channels): one channel's weights in registers.

With so few taps, loading weights and constants for each tile costs as much as the products. Here
a strip of pixels is packed, and each output channel walks over the whole strip with its weights,
bias, multiplier and power in registers: eight instructions for eight multiply-accumulates, their
requantization and the store. Weights are int16, so that the fast requantization applies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Template, Written
from codegen.thumb import requant
from codegen.thumb.gather import unroll_of
from codegen.thumb.layers import candidate, channels_of, mode_of, params
from codegen.thumb.packing import pack_run
from codegen.thumb.routine import Routine

#: Pixels of a strip, at most, and of the unrolled loop.
STRIP, UNROLLED, LEAST_UNROLLED = 48, 12, 4
#: The largest offset of a store that moves its pointer.
MOST_CHANNELS = 255
# Words of the stack, in the order in which LDM takes them.
_A, _Y, _W, _END, _A_END = range(0, 20, 4)
_FRAME = 5


def rows(shift: int, words: int, channels: int, unroll: int) -> Routine:
    """``(const int32_t *a, const int16_t *w, int8_t *y, const int32_t *p)``.

    `words` is 1 or 2 words of int8 taps, `channels` those of y, `unroll` pixels a round. `p` has
    the bytes of a. Loops: "channels", "pixels".
    """
    inputs = ["const int32_t *a", "const int16_t *w", "int8_t *y", "const int32_t *p"]
    r = Routine(f"resident{4 * words}", *inputs)
    taps = ["r4", "r5", "r6", "r7"][: 2 * words]
    bias, multiplier, power = [f"r{4 + 2 * words + i}" for i in range(3)]
    acts = ["r2", "r3", "r11", "r12"][: 2 * words]
    r.enter(_FRAME)
    r("ldr r4, [r3]", "add r4, r4, r0", f"add r5, r2, #{channels}")
    r(f"strd r0, r2, [sp, #{_A}]", f"strd r1, r5, [sp, #{_W}]", f"str r4, [sp, #{_A_END}]")
    with r.until("channels", "r2", "r3"):
        r("ldm sp, {r0-r2}", f"ldmia r2!, {{r4-{power}}}", f"str r2, [sp, #{_W}]")
        with r.until("pixels", "r0", "r2"):
            for _ in range(unroll):
                r(f"ldmia r0!, {{{', '.join(acts)}}}")
                for i, (a, t) in enumerate(zip(acts, taps, strict=True)):
                    r(f"smlad lr, {a}, {t}, {'lr' if i else bias}")
                r(f"smmla lr, lr, {multiplier}, {power}", f"ssat lr, #8, lr, asr #{shift}")
                r(f"strb lr, [r1], #{channels}")
            r(f"ldr r2, [sp, #{_A_END}]")
        r(f"ldr r2, [sp, #{_Y}]", f"ldr r3, [sp, #{_END}]", "adds r2, #1", f"str r2, [sp, #{_Y}]")
    r.leave(_FRAME)
    return r


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    if mode_of(p) != "pixels" or p["C"] not in (4, 8):
        raise NotApplicable("not pointwise with 4 or 8 input channels")
    if p["O"] > MOST_CHANNELS:
        raise NotApplicable(f"{p['O']} output channels")
    pixels = p["OH"] * p["OW"]
    unroll = next((n for n in range(UNROLLED, LEAST_UNROLLED - 1, -1) if pixels % n == 0), 0)
    if not unroll:
        raise NotApplicable(f"{pixels} pixels")
    channels, weights = channels_of(layer, p["taps"])
    q = requant.plan(requant.settled(channels), weights)
    if q.form != "fast":
        raise NotApplicable("no fast requantization")
    strip = min(STRIP // unroll * unroll, pixels)
    p |= {"template": "resident", "unroll": unroll, "strip": strip, **q.params}
    packed = pack_constants(q, weights)
    return [candidate(layer, p, packed, cost(p), note="int16 weights", tile=strip)]


def pack_constants(q: requant.Requant, weights: np.ndarray) -> np.ndarray:
    """int16: for each channel weights, bias, multiplier, power."""
    count, taps = weights.shape
    scaled = (weights.astype(np.int64) * q.scale[:, None]).astype("<i2")
    words = np.ascontiguousarray(scaled.reshape(count, taps // 4, 2, 2).swapaxes(2, 3))
    parts = [words.reshape(count, -1).view("<i4"), q.triples]
    return np.concatenate(parts, 1).astype("<i4").reshape(-1).view("<i2")


def _routines(p: dict[str, Any]) -> tuple[Routine, Routine]:
    words = p["taps"] // 4
    pack = pack_run("plain", 1, unroll_of(p["unroll"] * words))
    return rows(p["requant_shift"], words, p["O"], p["unroll"]), pack


def _strips(p: dict[str, Any]) -> list[tuple[int, int]]:
    """(how many, pixels of each)."""
    whole, rest = divmod(p["OH"] * p["OW"], p["strip"])
    return [(n, pixels) for n, pixels in ((whole, p["strip"]), (1, rest)) if n and pixels]


def cost(p: dict[str, Any]) -> Cost:
    """Of the whole layer; what the compiler makes of the loop over strips is estimated."""
    routine, pack = _routines(p)
    words = p["taps"] // 4
    unroll = unroll_of(p["unroll"] * words)
    total = Cost(16, 24)
    for count, pixels in _strips(p):
        one = routine.cost(channels=p["O"], pixels=pixels // p["unroll"])
        total += (one + pack.cost(words=pixels * words // unroll) + Cost(14, 20)) * count
    return total


def write(spec: KernelSpec) -> Written:
    p = spec.params
    routine, pack = _routines(p)
    taps, out = p["taps"], p["O"]
    text = (
        f"void {spec.name}(const int8_t *x, const int16_t *restrict w, int8_t *y, "
        f"void *restrict scratch)\n{{\n    int32_t *const a = scratch;\n"
    )
    for count, pixels in _strips(p):
        text += (
            f"    for (uint32_t t = 0; t < {count}u; t++) {{\n"
            f"        static const int32_t bytes = {2 * pixels * taps};\n"
            f"        {pack.name}(x, a, {pixels * taps // 4});\n"
            f"        {routine.name}(a, w, y, &bytes);\n"
            f"        x += {pixels * taps};\n        y += {pixels * out};\n    }}\n"
        )
    parts = {routine.name: routine.text(), pack.name: pack.text()}
    return Written(text + "}\n", parts, 2 * p["strip"] * taps)


TEMPLATES = (Template("resident", ("conv2d",), candidates, write),)
