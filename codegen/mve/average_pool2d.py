"""average_pool2d: eight channels at a time are summed as int16 and divided by a multiplication.

The divisor n is a constant, so windows with padding are refused. With t = |sum| + n / 2 below 2^16
and M = ceil(2^32 / n), floor(t / n) is (t * M) >> 32: M exceeds 2^32 / n by less than 1, t times
that is below 2^16, and t / n is at least 1 / n away from the next whole number.
"""

from __future__ import annotations

from functools import cache
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
from codegen.mve.routine import MveRoutine
from codegen.schedules import _window
from edgekit.ops.requant import clamp_of_output

LANES = 8
#: Pixels of a window: 128 times as many, and half as many more, are below 2^15.
MAX_PIXELS = 255
_ARGUMENTS = ("rows", "pixels", "stride", "skip", "half", "reciprocal", "low", "high", "channels")
#: Instructions around a call, for one window.
CALL = 30


def candidates(layer: Layer) -> list[Candidate]:
    """One, for windows of 2 to 255 pixels without padding."""
    int8_only(layer)
    kernel = layer.node.attrs["kernel"]
    p: dict[str, Any] = {
        **_window.params(layer, (kernel[0], kernel[1])),
        "clamp": list(clamp_of_output(layer.node, layer.output)),
        "template": "mve_average_pool",
    }
    if any(p["pads"]):
        raise NotApplicable("padding")
    if p["dilations"] != [1, 1]:
        raise NotApplicable("dilations")
    if not 2 <= kernel[0] * kernel[1] <= MAX_PIXELS:
        raise NotApplicable(f"windows of {kernel[0] * kernel[1]} pixels")
    spec = KernelSpec(
        "average_pool2d",
        "arm_mve",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        p,
    )
    rows, pixels = _rows(p)
    each = routine(p["C"] % LANES != 0).cost(
        groups=-(-p["C"] // LANES), rows=rows, pixels=pixels
    ) + Cost(CALL, CALL)
    return [Candidate(spec, (layer.inputs[0].name,), {}, cost=p["OH"] * p["OW"] * each)]


def _rows(p: dict[str, Any]) -> tuple[int, int]:
    """Runs of consecutive pixels in a window, and pixels of each."""
    kh, kw = p["kernel"]
    return (1, kh * kw) if kw == p["W"] else (kh, kw)


@cache
def routine(partial: bool) -> MveRoutine:
    """One window: `rows` runs of `pixels` pixels that are `stride` apart, `skip` between runs."""
    r = MveRoutine(
        "mve_average", "const int8_t *x", "int8_t *y", *(f"int32_t {n}" for n in _ARGUMENTS)
    )
    first = r.enter(0)
    at = {"rows": "r2", "pixels": "r3"}
    at |= {name: f"[sp, #{first + 4 * i}]" for i, name in enumerate(_ARGUMENTS[2:])}
    r(f"ldr r4, {at['stride']}", f"ldr r5, {at['skip']}", f"ldr r6, {at['half']}")
    r(f"ldr r8, {at['reciprocal']}", "vdup.32 q4, r8")
    r(f"ldr r8, {at['low']}", f"ldr r9, {at['high']}", "vdup.16 q5, r8", "vdup.16 q6, r9")
    r(f"ldr r10, {at['channels']}", "mov r12, #0")
    t = "t" if partial else ""
    with r.until("groups", "r10", "#0", "gt"):
        r("mov r7, r0", "vdup.16 q0, r12", "mov r11, r2")
        if partial:
            r("vctp.16 r10")
        with r.loop("rows", "r11"):
            r("mov lr, r3")
            with r.low_overhead_loop("pixels"):
                if partial:
                    r("vpst")
                r(f"vldrb{t}.s16 q1, [r7]", "vadd.i16 q0, q0, q1", "add r7, r7, r4")
            r("add r7, r7, r5")
        r("vmovlb.s16 q1, q0", "vmovlt.s16 q2, q0")
        for q in ("q1", "q2"):
            r(f"vabs.s32 q3, {q}", "vadd.i32 q3, q3, r6", "vmulh.u32 q3, q3, q4")
            # The sign back: exclusive or with it, and minus it.
            r(f"vshr.s32 {q}, {q}, #31", f"veor q3, q3, {q}", f"vsub.i32 {q}, q3, {q}")
        r("vmovnb.i32 q1, q1", "vmovnt.i32 q1, q2")
        r("vmax.s16 q1, q1, q5", "vmin.s16 q1, q1, q6")
        if partial:
            r("vpst")
        r(f"vstrb{t}.16 q1, [r1], #{LANES}", f"add r0, #{LANES}", f"sub r10, #{LANES}")
    r.leave(0)
    return r


def write(spec: KernelSpec) -> Written:
    """A call of the routine for every window."""
    p = spec.params
    r = routine(p["C"] % LANES != 0)
    rows, pixels = _rows(p)
    count = p["kernel"][0] * p["kernel"][1]
    c = p["C"]
    skip = (p["W"] - pixels) * c if rows > 1 else 0
    reciprocal = -(-(1 << 32) // count)
    call = (
        f"{r.name}(x + (oy * {p['strides'][0] * p['W'] * c} + ox * {p['strides'][1] * c}), "
        f"y + (oy * {p['OW']} + ox) * {c}, {rows}, {pixels}, {c}, {skip}, {count // 2}, "
        f"(int32_t){reciprocal}u, {p['clamp'][0]}, {p['clamp'][1]}, {c});\n"
    )
    text = (
        f"void {spec.name}(const int8_t *x, int8_t *y)\n{{\n"
        f"    for (int32_t oy = 0; oy < {p['OH']}; oy++) {{\n"
        f"        for (int32_t ox = 0; ox < {p['OW']}; ox++) {{\n"
        f"            {call}        }}\n    }}\n}}\n"
    )
    return Written(text, {r.name: r.text()}, 0)


TEMPLATES = (Template("mve_average_pool", ("average_pool2d",), candidates, write),)
