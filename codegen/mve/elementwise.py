"""add and mul of tensors of one shape, four elements at a time, with SPEC's roundings."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

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
from codegen.overlap import element_steps, sharing
from edgekit.ops.requant import add_params, mul_params, tensor_quant

#: Registers of a routine's numbers, in the order of its arguments.
_NUMBERS = {
    "add": ("za", "ma", "sa", "zb", "mb", "sb", "mo", "so", "zo"),
    "mul": ("za", "zb", "mo", "so", "zo"),
}
_CORE = ("r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11")


def candidates(layer: Layer) -> list[Candidate]:
    """One, for int8 tensors of the result's shape."""
    int8_only(layer)
    op = layer.node.op
    for value in (*layer.inputs, layer.output):
        if value.dtype != "int8" or value.shape != layer.output.shape:
            raise NotApplicable("tensors of other widths or shapes")
    p = _params(layer)
    operands, constants = [], {}
    names = []
    for letter, value in zip("ab", layer.inputs, strict=True):
        data = layer.constants.get(value.name)
        role = "input" if data is None else "constant"
        operands.append(Operand(letter, "int8", value.size, role))
        if data is None:
            names.append(value.name)
        else:
            constants[letter] = np.ascontiguousarray(data)
    operands.append(Operand("y", "int8", layer.output.size, "output"))
    spec = KernelSpec(op, "arm_mve", tuple(operands), {**p, "template": "mve_elementwise"})
    cost = _routine_of(op, p).cost(vectors=layer.output.size // 4) + Cost(30, 30)
    candidate = Candidate(spec, tuple(names), constants, cost=cost)
    if layer.inputs[0].name in layer.constants:
        return [candidate]
    steps = element_steps(np.arange(layer.output.size), "int8", "int8")
    return [sharing(candidate, steps, same=True)]


def _params(layer: Layer) -> dict[str, Any]:
    values = list(layer.inputs)
    za, zb, zo = (tensor_quant(v)[1] for v in (*values, layer.output))
    if layer.node.op == "add":
        a = add_params(layer.node, values, layer.output)
        scale = 1 << a.left_shift
        numbers = [-za * scale, a.multiplier_a, a.shift_a, -zb * scale, a.multiplier_b, a.shift_b,
                   a.multiplier_out, a.shift_out, zo]  # fmt: skip
        shifts, low, high = [a.shift_a, a.shift_b, a.shift_out], a.qmin, a.qmax
    else:
        m = mul_params(layer.node, values, layer.output)
        numbers = [-za, -zb, m.multiplier, m.shift, zo]
        shifts, low, high = [m.shift], m.qmin, m.qmax
    if max(shifts) > 0:
        raise NotApplicable(f"left shifts of up to {max(shifts)}")
    # Halves of negative numbers need their fix where something is shifted out, and at the end only
    # where they are not clamped away.
    fixes = [s < 0 for s in shifts]
    fixes[-1] = fixes[-1] and low != zo
    return {"numbers": numbers, "fixes": fixes, "low": low, "high": high,
            "count": layer.output.size}  # fmt: skip


def _routine_of(op: str, p: dict[str, Any]) -> MveRoutine:
    clamped = (p["low"], p["high"]) != (-128, 127)
    return routine(op, tuple(p["fixes"]), clamped, p["count"] % 4 != 0, p["count"] >= 4)


@cache
def routine(op: str, fixes: tuple[bool, ...], clamped: bool, rest: bool, whole: bool) -> MveRoutine:
    """`count` elements of two operands; `rest`: the last vector is not full."""
    numbers = _NUMBERS[op]
    r = MveRoutine(
        f"mve_{op}", "const int8_t *a", "const int8_t *b", "int8_t *y", "int32_t count",
        *(f"int32_t {name}" for name in (*numbers, "low", "high")),
    )  # fmt: skip
    first = r.enter(1)
    at = {name: f"[sp, #{first + 4 * i}]" for i, name in enumerate((*numbers, "low", "high"))}
    r("str r3, [sp]")
    if clamped:
        r(f"ldr r4, {at['low']}", f"ldr r5, {at['high']}", "vdup.32 q6, r4", "vdup.32 q7, r5")
    if op == "add":
        r("movw r4, #0", "movt r4, #16", "vdup.32 q5, r4")
    core = dict(zip(numbers, _CORE, strict=False))
    r(*(f"ldr {register}, {at[name]}" for name, register in core.items()), "mov r12, #1")
    if whole:
        r("ldr lr, [sp]", "lsr lr, lr, #2")
        with r.low_overhead_loop("vectors"):
            _element(r, op, core, fixes, clamped, "")
    if rest:
        r("ldr lr, [sp]", "and lr, lr, #3", "vctp.32 lr")
        _element(r, op, core, fixes, clamped, "t")
    r.leave(1)
    return r


def _element(
    r: MveRoutine, op: str, core: dict[str, str], fixes: tuple[bool, ...], clamped: bool, t: str
) -> None:
    if t:
        r("vpstt")
    r(f"vldrb{t}.s32 q0, [r0], #4", f"vldrb{t}.s32 q1, [r1], #4")
    if op == "add":
        r(f"vmlas.s32 q0, q5, {core['za']}", f"vmlas.s32 q1, q5, {core['zb']}")
        r(f"vqrdmulh.s32 q0, q0, {core['ma']}", f"vqrdmulh.s32 q1, q1, {core['mb']}")
        for q, fix, shift in (("q0", fixes[0], "sa"), ("q1", fixes[1], "sb")):
            if fix:
                r(f"vqdmlah.s32 {q}, {q}, r12", f"vrshl.s32 {q}, {core[shift]}")
        r("vadd.i32 q0, q0, q1")
    else:
        r(f"vadd.i32 q0, q0, {core['za']}", f"vadd.i32 q1, q1, {core['zb']}", "vmul.i32 q0, q0, q1")
    r(f"vqrdmulh.s32 q0, q0, {core['mo']}")
    if fixes[-1]:
        r("vqdmlah.s32 q0, q0, r12")
    r(f"vrshl.s32 q0, {core['so']}", f"vadd.i32 q0, q0, {core['zo']}")
    if clamped:
        r("vmax.s32 q0, q0, q6", "vmin.s32 q0, q0, q7")
    else:
        r("vqmovnb.s32 q0, q0", "vqmovnb.s16 q0, q0")
    if t:
        r("vpst")
    r(f"vstrb{t}.32 q0, [r2], #4")


def write(spec: KernelSpec) -> Written:
    """A call of the routine."""
    p = spec.params
    r = _routine_of(spec.op, p)
    numbers = ", ".join(map(str, (*p["numbers"], p["low"], p["high"])))
    text = (
        f"void {spec.name}(const int8_t *a, const int8_t *b, int8_t *y)\n{{\n"
        f"    {r.name}(a, b, y, {p['count']}, {numbers});\n}}\n"
    )
    return Written(text, {r.name: r.text()}, 0)


TEMPLATES = (Template("mve_elementwise", ("add", "mul"), candidates, write),)
