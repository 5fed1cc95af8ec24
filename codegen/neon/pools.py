"""max_pool2d and average_pool2d: windows of eight or sixteen channels at a time.

A mean's divisor n is known, so that it divides by a multiplication: with t = |sum| + n / 2 and
M = ceil(2^31 / n), floor(t / n) is (t * M) >> 31, since M exceeds 2^31 / n by less than 1, t times
that is below 2^31 / n as long as t * n is below 2^31, and t / n is at least 1 / n away from the
next whole number. Parts are rows of results.
"""

from __future__ import annotations

from typing import Any

from codegen.int8 import int8_only
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
from edgekit.ops.pooling import counts_padding
from edgekit.ops.requant import clamp_of_output

#: Pixels of a window of a mean: 128 n + n / 2 times n is below 2^31.
MAX_PIXELS = 4000
#: Of one row of it, whose sum has 16 bits; and of windows whose size padding changes, which have a
#: table of reciprocals.
MAX_RUN = 255
#: Pixels of windows without padding that compilers unroll.
UNROLLED = 9


def candidates(layer: Layer) -> list[Candidate]:
    """One, for windows without dilations."""
    int8_only(layer)
    kernel = layer.node.attrs["kernel"]
    p: dict[str, Any] = {
        **_window.params(layer, (kernel[0], kernel[1])),
        "clamp": list(clamp_of_output(layer.node, layer.output)),
        "template": f"neon_{layer.node.op}",
    }
    if p["dilations"] != [1, 1]:
        raise NotApplicable("dilations")
    _, pixels = _run(p)
    if layer.node.op == "average_pool2d":
        if counts_padding(layer.node):
            raise NotApplicable("padding that counts")
        if kernel[0] * kernel[1] > MAX_PIXELS or pixels > MAX_RUN:
            raise NotApplicable(f"windows of {kernel[0]}x{kernel[1]} pixels")
        if _padded(p) and kernel[0] * kernel[1] > MAX_RUN:
            raise NotApplicable(f"padded windows of {kernel[0]}x{kernel[1]} pixels")
    spec = KernelSpec(
        layer.node.op,
        "neon",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        p,
    )
    return [Candidate(spec, (layer.inputs[0].name,), {}, cost=_cost(layer.node.op, p))]


def _padded(p: dict[str, Any]) -> bool:
    """Whether a window is cut off at an edge."""
    cut = [(p[o] - 1) * p["strides"][i] + p["kernel"][i] - p["pads"][i] > p[size]
           for i, (o, size) in enumerate((("OH", "H"), ("OW", "W")))]  # fmt: skip
    return any(cut) or any(p["pads"][:2])


def _run(p: dict[str, Any]) -> tuple[int, int]:
    """Rows of a window, and pixels of each: one row where all of them lie side by side."""
    kh, kw = p["kernel"]
    if kw == p["W"] and not _padded(p) and kh * kw <= MAX_RUN:
        return 1, kh * kw
    return kh, kw


def _cost(op: str, p: dict[str, Any]) -> Cost:
    """Fitted to what zig's code executes (tests/codegen/neon/test_costs.py)."""
    rows, pixels = _run(p)
    c, mean = p["C"], op == "average_pool2d"
    lanes = 8 if mean else 16
    blocks = c // lanes + -(-(c % lanes) // 8) if c >= 8 else c
    taps = rows * pixels * (6 if _padded(p) or rows * pixels > UNROLLED else 2)
    each = blocks * (taps + (rows * 3 + 22 if mean else 3)) + 10 + 14 * _padded(p)
    total = p["OH"] * p["OW"] * each
    return Cost(total, total)


def write(spec: KernelSpec) -> Written:
    """Loops over windows; what is done with one is a function beside it."""
    p, mean = spec.params, spec.op == "average_pool2d"
    (kh, kw), (sh, sw), (top, left) = p["kernel"], p["strides"], p["pads"][:2]
    c, pitch = p["C"], p["W"] * p["C"]
    name = spec.name
    rows, pixels = _run(p)
    place = f"ox * {sw} - {left}" if left else f"ox * {sw}"
    upper = f"(int32_t)oy * {sh} - {top}" if top else f"(int32_t)oy * {sh}"
    table = ""
    if _padded(p):
        window = (
            f"            const int32_t above = ek_max(iy, 0), before = ek_max(ix, 0);\n"
            f"            const int32_t rows = ek_min(iy + {kh}, {p['H']}) - above;\n"
            f"            const int32_t pixels = ek_min(ix + {kw}, {p['W']}) - before;\n"
        )
        if mean:
            values = ", ".join(f"{-(-(1 << 31) // n)}u" for n in range(1, kh * kw + 1))
            table = f"    static const uint32_t reciprocals[] = {{{values}}};\n"
        numbers = "rows * pixels, reciprocals[rows * pixels - 1], " if mean else ""
        call = f"x + above * {pitch} + before * {c}, y, rows, pixels, {numbers}"
    else:
        window = ""
        numbers = f"{kh * kw}, {-(-(1 << 31) // (kh * kw))}u, " if mean else ""
        call = f"x + iy * {pitch} + ix * {c}, y, {rows}, {pixels}, {numbers}"
    low, high = p["clamp"]
    text = (
        f"{_window_function(spec)}"
        f"void {name}(const int8_t *x, int8_t *y, uint32_t begin, uint32_t end)\n{{\n{table}"
        f"    y += begin * {p['OW'] * c}u;\n"
        f"    for (uint32_t oy = begin; oy < end; oy++) {{\n"
        f"        const int32_t iy = {upper};\n"
        f"        for (int32_t ox = 0; ox < {p['OW']}; ox++, y += {c}) {{\n"
        f"            const int32_t ix = {place};\n{window}"
        f"            {name}_window({call}{low}, {high});\n        }}\n    }}\n}}\n"
    )
    return Written(text, {}, 0, p["OH"])


def _window_function(spec: KernelSpec) -> str:
    """Blocks of channels; the last one overlaps the one before, or is less than eight."""
    p, mean = spec.params, spec.op == "average_pool2d"
    c = p["C"]
    more = " int32_t count, uint32_t reciprocal," if mean else ""
    head = (
        f"EK_INLINE void {spec.name}_window(const int8_t *x, int8_t *y, int32_t rows, "
        f"int32_t pixels,{more} int32_t low, int32_t high)\n{{\n"
    )
    if c < 8:
        return head + _scalar(p, mean) + "}\n"
    text, at = "", 0
    for lanes in (8,) if mean else (16, 8):
        until = c // lanes * lanes
        if until > at:
            text += f"    for (int32_t c = {at}; c < {until}; c += {lanes}) {{\n"
            text += _block(p, mean, lanes) + "    }\n"
            at = until
    if at < c:
        text += f"    {{\n        const int32_t c = {c - 8};\n{_block(p, mean, 8)}    }}\n"
    return head + text + "}\n"


def _loops(p: dict[str, Any], step: str, row: str = "", after: str = "", c: str = "c") -> str:
    """`step` for every pixel, `from` being its bytes; `row` and `after` around each row."""
    return (
        f"        for (int32_t ky = 0; ky < rows; ky++) {{\n"
        f"            const int8_t *from = x + ky * {p['W'] * p['C']} + {c};\n{row}"
        f"            for (int32_t kx = 0; kx < pixels; kx++, from += {p['C']}) {{\n"
        f"                {step}\n            }}\n{after}        }}\n"
    )


def _block(p: dict[str, Any], mean: bool, lanes: int) -> str:
    clamped = p["clamp"] != [-128, 127]
    if mean:
        clamp = "ek_n_clamp({}, vdup_n_s8((int8_t)low), vdup_n_s8((int8_t)high))"
        low, high = (f"ek_n_divided({half}, count, reciprocal)" for half in "lh")
        found = f"ek_n_narrow({low}, {high}, vdupq_n_s16(0))"
        found = clamp.format(found) if clamped else found
        return (
            "        int32x4_t l = vdupq_n_s32(0), h = l;\n"
            + _loops(
                p,
                "sum = vaddw_s8(sum, vld1_s8(from));",
                "            int16x8_t sum = vdupq_n_s16(0);\n",
                "            l = vaddw_s16(l, vget_low_s16(sum));\n"
                "            h = vaddw_s16(h, vget_high_s16(sum));\n",
            )
            + f"        vst1_s8(y + c, {found});\n"
            + ("" if clamped else "        (void)low;\n        (void)high;\n")
        )
    q = "q" if lanes == 16 else ""
    text = f"        int8x{lanes}_t best = vdup{q}_n_s8(-128);\n" + _loops(
        p, f"best = vmax{q}_s8(best, vld1{q}_s8(from));"
    )
    if clamped:
        text += (
            f"        best = vmin{q}_s8(vmax{q}_s8(best, vdup{q}_n_s8((int8_t)low)), "
            f"vdup{q}_n_s8((int8_t)high));\n"
        )
    unused = "" if clamped else "        (void)low;\n        (void)high;\n"
    return text + f"        vst1{q}_s8(y + c, best);\n{unused}"


def _scalar(p: dict[str, Any], mean: bool) -> str:
    start, step = ("0", "all += *from;") if mean else ("-128", "all = ek_max(all, *from);")
    found = "ek_average(all, count)" if mean else "all"
    unused = "    (void)reciprocal;\n" if mean else ""
    return (
        f"{unused}    for (int32_t c = 0; c < {p['C']}; c++) {{\n"
        f"        int32_t all = {start};\n{_loops(p, step)}"
        f"        y[c] = ek_clamp8({found}, low, high);\n    }}\n"
    )


TEMPLATES = tuple(
    Template(f"neon_{op}", (op,), candidates, write) for op in ("max_pool2d", "average_pool2d")
)
