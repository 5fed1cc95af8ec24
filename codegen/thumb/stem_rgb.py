"""First layers on colour images: 3x3 taps of three channels, two pixels against two channels.

A row of a window is nine bytes: two words, read from x where they lie (unaligned), and one byte.
The three bytes of the rows make a seventh word, so that a window is 28 taps. Windows that reach
into padding are copied to a patch first. Weights are int16: 56 bytes for a channel, against 27.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Template, Written
from codegen.thumb import requant
from codegen.thumb.layers import candidate, channels_of, params
from codegen.thumb.routine import Routine
from codegen.thumb.rows_2x2 import pack_constants, parameters, rows

TAPS = 28
#: Bytes of a window's row of 27 that each tap is; the last tap is no weight.
_ORDER = [9 * row + byte for row in range(3) for byte in range(8)] + [8, 26, 17]


def pack_pair(step: int) -> Routine:
    """Windows of two pixels, `step` bytes apart, at three rows to pairs of int16.

    ``(const int8_t *r0, const int8_t *r1, const int8_t *r2, int32_t *a)``
    """
    r = Routine(
        f"pack_rgb{step}",
        "const int8_t *top",
        "const int8_t *mid",
        "const int8_t *low",
        "int32_t *a",
    )
    r("push {r4-r11, lr}")
    for row in ("r0", "r1", "r2"):
        r(f"ldr r4, [{row}]", f"ldr r5, [{row}, #{step}]", f"ldr r6, [{row}, #4]")
        r(f"ldr r7, [{row}, #{step + 4}]")
        for first, second in (("r4", "r5"), ("r6", "r7")):
            r(f"sxtb16 r8, {first}", f"sxtb16 r9, {second}", f"sxtb16 r10, {first}, ror #8")
            r(f"sxtb16 r11, {second}, ror #8", "stmia r3!, {r8-r11}")
    r("ldrsb r4, [r0, #8]", f"ldrsb r5, [r0, #{step + 8}]", "ldrsb r6, [r1, #8]")
    r(f"ldrsb r7, [r1, #{step + 8}]", "ldrsb r10, [r2, #8]", f"ldrsb r11, [r2, #{step + 8}]")
    r("pkhbt r8, r4, r6, lsl #16", "pkhbt r9, r5, r7, lsl #16", "uxth r10, r10", "uxth r11, r11")
    r("stmia r3!, {r8-r11}", "pop {r4-r11, pc}")
    return r


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    if p["C"] != 3 or p["kernel"] != [3, 3] or p["dilations"] != [1, 1]:
        raise NotApplicable("not 3x3 taps of three channels")
    if p["O"] % 2:
        raise NotApplicable(f"{p['O']} output channels")
    channels, weights = channels_of(layer, 27)
    taps = np.zeros((p["O"], TAPS), np.int8)
    taps[:, : len(_ORDER)] = weights[:, _ORDER]
    q = requant.plan(requant.settled(channels), taps)
    p |= {"template": "stem_rgb", "zx": channels.input_zero_point, **q.params}
    # Two pixels at a time, but each row begins anew: one is what can be relied on.
    packed = pack_constants(q, taps)
    return [candidate(layer, p, packed, cost(p), note="int16 weights", tile=1)]


def _edges(p: dict[str, Any]) -> tuple[int, int]:
    """Pairs whose windows lie in x: how many of a row, and the number of the first of them."""
    stride, left = p["strides"][1], p["pads"][1]
    starts = [stride * 2 * i - left for i in range(p["OW"] // 2)]
    inside = [i for i, s in enumerate(starts) if s >= 0 and s + stride + 3 <= p["W"]]
    return len(inside), inside[0] if inside else 0


def _routine(p: dict[str, Any]) -> Routine:
    return rows(p["requant"], p["requant_shift"], TAPS, False)


def cost(p: dict[str, Any]) -> Cost:
    """Of the whole layer; what the compiler makes of the driver is estimated."""
    pairs = -(-p["OW"] // 2)
    inside, _ = _edges(p)
    span = 3 + p["strides"][1]
    pair = _routine(p).cost(channels=p["O"] // 2) + pack_pair(3 * p["strides"][1]).cost()
    # Where a row has one such pair its place is known, and the copy becomes a few words.
    copy = 10 * span + 4 if pairs - inside > 1 else 12
    edge = Cost(3 * copy + 10, 5 * copy + 15)
    row = (pair + Cost(12, 18)) * pairs + edge * (pairs - inside) + Cost(45, 60)
    return Cost(60, 90) + row * p["OH"]


def write(spec: KernelSpec) -> Written:
    p = spec.params
    (sh, sw), out, width = p["strides"], p["O"], 3 * p["W"]
    routine, pack = _routine(p), pack_pair(3 * sw)
    inside, first = _edges(p)
    span = 3 + sw
    patch = -(-3 * span // 4) * 4
    odd = f"i == {p['OW'] // 2} ? odd : pair" if p["OW"] % 2 else "pair"
    place = f"(uint32_t)(i - {first}) < {inside}u" if inside else "0"
    tables = ""
    for name, second in (("pair", out), ("odd", 0))[: 1 + p["OW"] % 2]:
        values = ", ".join(map(str, parameters(out, second, p["zy"], TAPS)))
        tables += f"    static const int32_t {name}[] = {{{values}}};\n"
    text = f"""\
void {spec.name}(const int8_t *x, const int16_t *restrict w, int8_t *y, void *restrict scratch)
{{
{tables}    int32_t *const a = scratch;
    int8_t *const patch = (int8_t *)scratch + {8 * TAPS};
    int8_t *const outside = patch + {3 * patch};
    memset(outside, {p["zx"]}, {width}u);
    for (int32_t oy = 0; oy < {p["OH"]}; oy++) {{
        const int8_t *rows[3];
        for (int32_t k = 0; k < 3; k++) {{
            const int32_t iy = oy * {sh} + k - {p["pads"][0]};
            rows[k] = (uint32_t)iy < {p["H"]}u ? x + iy * {width} : outside;
        }}
        for (int32_t i = 0; i < {-(-p["OW"] // 2)}; i++) {{
            const int32_t ix = i * {2 * sw} - {p["pads"][1]};
            if ({place}) {{
                {pack.name}(rows[0] + ix * 3, rows[1] + ix * 3, rows[2] + ix * 3, a);
            }} else {{
                int8_t *to = patch;
                for (uint32_t k = 0; k < 3u; k++) {{
                    for (int32_t z = ix; z < ix + {span}; z++) {{
                        const int8_t *from = (uint32_t)z < {p["W"]}u ? rows[k] + z * 3 : outside;
                        *to++ = from[0];
                        *to++ = from[1];
                        *to++ = from[2];
                    }}
                }}
                {pack.name}(patch, patch + {3 * span}, patch + {6 * span}, a);
            }}
            {routine.name}(a, w, y, {odd});
            y += {2 * out};
        }}
{f"        y -= {out};" if p["OW"] % 2 else ""}
    }}
}}
"""
    parts = {routine.name: routine.text(), pack.name: pack.text()}
    return Written(text, parts, 8 * TAPS + 3 * patch + -(-width // 4) * 4)


TEMPLATES = (Template("stem_rgb", ("conv2d",), candidates, write),)
