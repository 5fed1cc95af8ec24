"""average_pool2d of int8 without padding: sums in lanes of int16, then one multiplication each.

The mean of n pixels, halves away from zero, is (c + ((m * sum) >> 16)) >> 16 with m a little above
2^32 / n: above zero that rounds halves up, below it down. m and c are searched for among all sums
that there are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.schedules import _window
from codegen.thumb.linear import MASK
from codegen.thumb.routine import Routine
from edgekit.ops.requant import clamp_of_output

#: Channels of one round: two words of a pixel.
CHANNELS = 8
#: Pixels whose sum surely fits into int16.
MAX_PIXELS = 255


@cache
def divisor(count: int) -> tuple[int, int] | None:
    """m and c for means of `count` pixels, or None."""
    total = np.arange(-128 * count, 127 * count + 1, dtype=np.int64)
    want = np.sign(total) * ((np.abs(total) + count // 2) // count)
    for m in range((1 << 32) // count, (1 << 32) // count + 1000):
        if m >= 1 << 31:
            return None
        product = m * total >> 16
        least, most = (
            int(((want << 16) - product).max()),
            int((((want + 1) << 16) - 1 - product).min()),
        )
        if least <= most:
            assert (((least + most) // 2 + product) >> 16 == want).all()
            return m, (least + most) // 2
    return None


@cache
def routine() -> Routine:
    """``(x, y, step, gap, columns, rows, channels, m, c)``: one window, `channels` of them.

    `step` is bytes from pixel to pixel, `gap` from behind a row's last to the next row's first.
    """
    r = Routine(
        "average", "const int8_t *x", "int8_t *y", "int32_t step", "int32_t gap",
        "int32_t columns", "int32_t rows", "int32_t channels", "int32_t m", "int32_t c",
    )  # fmt: skip
    at = r.enter()
    columns, rows, channels, m, c = (f"[sp, #{at + 4 * i}]" for i in range(5))
    sums, words, pixel, count, left = ["r4", "r5", "r6", "r7"], ["r8", "r9"], "r10", "r11", "r12"
    with r.until("groups", "r11", "#0"):
        r("mov r10, r0", f"ldr {left}, {rows}")
        r(*(f"mov {s}, #0" for s in sums))
        with r.loop("rows", left):
            r(f"ldr {count}, {columns}")
            with r.loop("columns", count):
                r(f"ldrd {words[0]}, {words[1]}, [{pixel}]", f"add {pixel}, {pixel}, r2")
                for n, word in enumerate(words):
                    r(f"sxtab16 {sums[2 * n]}, {sums[2 * n]}, {word}")
                    r(f"sxtab16 {sums[2 * n + 1]}, {sums[2 * n + 1]}, {word}, ror #8")
            r(f"add {pixel}, {pixel}, r3")
        r(f"ldr {words[0]}, {m}", f"ldr {words[1]}, {c}")
        r.constant(pixel, MASK)
        for s in sums:
            r(f"smlawb {count}, {words[0]}, {s}, {words[1]}")
            r(f"smlawt {s}, {words[0]}, {s}, {words[1]}")
            r(f"pkhtb {s}, {s}, {count}, asr #16")
        for even, odd in ((sums[0], sums[1]), (sums[2], sums[3])):
            r(f"uxtb16 {even}, {even}", f"and {odd}, {pixel}, {odd}, lsl #8")
            r(f"orr {even}, {even}, {odd}", f"str {even}, [r1], #4")
        r(f"add r0, r0, #{CHANNELS}")
        r(f"ldr r11, {channels}", f"sub r11, r11, #{CHANNELS}", f"str r11, {channels}")
    r.leave()
    return r


def _candidates(layer: Layer) -> list[Candidate]:
    x, y = layer.inputs[0], layer.output
    if (x.dtype, y.dtype) != ("int8", "int8"):
        raise NotApplicable("activations are not int8")
    kernel = layer.node.attrs["kernel"]
    p = _window.params(layer, (kernel[0], kernel[1]))
    count = kernel[0] * kernel[1]
    if any(p["pads"]):
        raise NotApplicable("windows reach into padding")
    if p["dilations"] != [1, 1]:
        raise NotApplicable("dilations")
    if p["C"] % 4 or p["C"] < CHANNELS:
        raise NotApplicable(f"{p['C']} channels")
    if clamp_of_output(layer.node, y) != (-128, 127):
        raise NotApplicable("results are clamped")
    found = divisor(count) if 2 <= count <= MAX_PIXELS else None
    if found is None:
        raise NotApplicable(f"means of {count} pixels")
    spec = KernelSpec(
        "average_pool2d",
        "thumb_dsp",
        (Operand("x", "int8", x.size, "input"), Operand("y", "int8", y.size, "output")),
        {**p, "template": "average", "m": found[0], "c": found[1]},
    )
    columns, rows = _window_rows(p)
    each = routine().cost(groups=p["C"] // CHANNELS, rows=rows, columns=columns)
    if p["C"] % CHANNELS:
        each += routine().cost(groups=1, rows=rows, columns=columns) + Cost(9, 12)
    cost = (each + Cost(9, 12)) * (p["OH"] * p["OW"]) + Cost(14, 18)
    return [Candidate(spec, (x.name,), {}, cost=cost)]


def _window_rows(p: dict[str, Any]) -> tuple[int, int]:
    """Columns and rows of a window; rows that touch each other are one."""
    height, width = p["kernel"]
    return (height * width, 1) if width == p["W"] else (width, height)


def _write(spec: KernelSpec) -> Written:
    p, code = spec.params, routine()
    columns, rows = _window_rows(p)
    channels, row = p["C"], p["W"] * p["C"]
    whole = channels // CHANNELS * CHANNELS
    gap = row - columns * channels if rows > 1 else 0
    # What is no multiple of eight channels is done with those before it once more.
    groups = [(0, whole)] + [(channels - CHANNELS, CHANNELS)] * (whole < channels)
    calls = [
        f"{code.name}(x + {first}, y + {first}, {channels}, {gap}, {columns}, {rows}, {count}, "
        f"{p['m']}, {p['c']});\n"
        for first, count in groups
    ]
    if p["OH"] * p["OW"] == 1:
        body = "".join(f"    {call}" for call in calls)
    else:
        body = (
            "    const int8_t *const image = x;\n"
            f"    for (int32_t i = 0; i < {p['OH']}; ++i) {{\n"
            f"        for (int32_t j = 0; j < {p['OW']}; ++j) {{\n"
            f"            x = image + i * {p['strides'][0] * row} + "
            f"j * {p['strides'][1] * channels};\n"
            + "".join(f"            {call}" for call in calls)
            + f"            y += {channels};\n        }}\n    }}\n"
        )
    text = f"void {spec.name}(const int8_t *x, int8_t *y)\n{{\n{body}}}\n"
    return Written(text, {code.name: code.text()}, 0)


TEMPLATES = (Template("average", ("average_pool2d",), _candidates, _write),)
