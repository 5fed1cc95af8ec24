"""add, sub and clip of int8 as linear forms: ssat8((c + ((m1 * a) >> 8) + ((m2 * b) >> 8)) >> 16).

An operator of one or two int8 operands is a function of 256 or 65,536 points. The reference gives
all of them; numbers m1, m2 and c are searched for that give the same, point by point, and nothing
is taken that does not. For given multipliers every point bounds c from both sides, so that one pass
over the points decides. Bytes become lanes of 256 times their value, which is one AND for two.
"""

from __future__ import annotations

import itertools
from functools import cache

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
from codegen.overlap import sharing
from codegen.thumb.routine import Routine
from edgekit.ops import operator
from edgekit.ops.requant import tensor_quant

#: Elements of a round of the loop.
STEP = 8
#: Distances from the ideal multipliers that are tried, in this order.
TRIED = (0, 1, -1, 2, -2, 1 << 8, -(1 << 8), 1 << 12, -(1 << 12))
MASK = 0xFF00FF00
LIMIT = 1 << 31


def search(want: np.ndarray, ratios: list[float]) -> tuple[list[int], int] | None:
    """Multipliers and c of a form that gives `want` exactly, or None.

    Args:
        want: int64 with an axis of 256 points (-128 to 127) for each operand, results in int8.
        ratios: what a step of each operand is in steps of the result.
    """
    x = np.arange(-128, 128, dtype=np.int64)
    axes = [x.reshape([-1 if i == k else 1 for i in range(want.ndim)]) for k in range(want.ndim)]
    ideal = [round(ratio * (1 << 24)) for ratio in ratios]
    low_edge, high_edge = want > -128, want < 127
    for shifts in itertools.product(TRIED, repeat=want.ndim):
        numbers = [m + d for m, d in zip(ideal, shifts, strict=True)]
        if max(map(abs, numbers)) >= LIMIT:
            continue
        total = sum((m * axis >> 8 for m, axis in zip(numbers, axes, strict=True)), np.int64(0))
        least = max(int(np.where(low_edge, (want << 16) - total, -LIMIT).max()), -LIMIT)
        most = min(int(np.where(high_edge, ((want + 1) << 16) - 1 - total, LIMIT).min()), LIMIT)
        if least > most:
            continue
        c = (least + most) // 2
        reach = sum(abs(m) for m in numbers) // 2 + abs(c) + 2
        if reach >= LIMIT:
            continue
        assert (np.clip((total + c) >> 16, -128, 127) == want).all()
        return numbers, c
    return None


def _points(layer: Layer) -> np.ndarray:
    """The operator's results at all points, by the reference."""
    count = len(layer.inputs)
    x = np.arange(-128, 128).astype(np.int8)
    operands = [
        np.broadcast_to(x.reshape([-1 if i == k else 1 for i in range(count)]), (256,) * count)
        for k in range(count)
    ]
    found = operator(layer.node.op).reference_int(
        layer.node, [o[None] for o in operands], list(layer.inputs), layer.output
    )
    return found[0].astype(np.int64)


def _candidates(layer: Layer) -> list[Candidate]:
    values = [*layer.inputs, layer.output]
    if layer.node.attrs.get("float") or any(v.dtype != "int8" for v in values):
        raise NotApplicable("operands are not int8")
    if layer.constants:
        raise NotApplicable("an operand is constant")
    if any(v.shape != layer.output.shape for v in layer.inputs):
        raise NotApplicable("operands broadcast")
    out_scale = tensor_quant(layer.output)[0]
    ratios = [tensor_quant(v)[0] / out_scale for v in layer.inputs]
    if layer.node.op == "sub":
        ratios[1] = -ratios[1]
    found = search(_points(layer), ratios)
    if found is None:
        raise NotApplicable("no linear form gives the reference's results")
    numbers, c = found
    orders = [(0, 1), (1, 0)] if len(numbers) == 2 else [(0,)]
    return [_candidate(layer, [numbers[i] for i in order], c, order) for order in orders]


def _candidate(layer: Layer, numbers: list[int], c: int, order: tuple[int, ...]) -> Candidate:
    """With the operands in this `order`: the output may take the memory of the first."""
    names = [layer.inputs[i].name for i in order]
    size = layer.output.size
    spec = KernelSpec(
        layer.node.op,
        "thumb_dsp",
        (
            *(Operand("ab"[k], "int8", size, "input") for k in range(len(order))),
            Operand("y", "int8", size, "output"),
        ),
        {"template": "linear", "multipliers": numbers, "addend": c, "size": size},
    )
    cost = Cost(14 + 11 * (size % STEP), 20 + 16 * (size % STEP))
    if size >= STEP:
        cost += routine(len(numbers)).cost(rounds=size // STEP)
    candidate = Candidate(spec, tuple(names), {}, cost=cost)
    if len(set(names)) < len(names):
        return candidate
    rounds = np.arange(-(-size // STEP)) * STEP
    return sharing(candidate, np.stack([rounds, rounds + STEP], 1), same=True)


@cache
def routine(operands: int) -> Routine:
    """``(a, [b,] y, end, m1, [m2,] c)``: `end` of y, which is whole rounds after it."""
    pointers = ["const int8_t *a", "const int8_t *b", "int8_t *y", "const int8_t *end"]
    numbers = ["int32_t m1", "int32_t m2", "int32_t c"]
    if operands == 1:
        del pointers[1], numbers[1]
    r = Routine("linear", *pointers, *numbers)
    at = r.enter()
    c, mask, high = "r7", "r8", "lr"
    a, b, y = ["r9", "r10"], ["r11", "r12"], f"r{operands}"
    if operands == 1:
        m, lanes, end = ["r3"], ["r4"], "r2"
        r(f"ldr {c}, [sp, #{at}]")
    else:
        # The end waits on the stack: all registers are in use.
        m, lanes, end = ["r5", "r6"], ["r3", "r4"], a[0]
        r(f"ldrd r5, r6, [sp, #{at}]", f"ldr {c}, [sp, #{at + 8}]", "push {r3}")
    r.constant(mask, MASK)
    words = [a, b][:operands]
    with r.until("rounds", y, end):
        for k, pair in enumerate(words):
            r(f"ldmia r{k}!, {{{', '.join(pair)}}}")
        for n in range(2):
            _word(r, [pair[n] for pair in words], m, c, mask, lanes, high)
        r(f"stmia {y}!, {{{', '.join(a)}}}")
        if operands == 2:
            r(f"ldr {end}, [sp]")
    if operands == 2:
        r("pop {r3}")
    r.leave()
    return r


def _word(
    r: Routine, x: list[str], m: list[str], c: str, mask: str, lanes: list[str], high: str
) -> None:
    """Four elements of each operand to four results in the first operand's register."""
    even = lanes[0]
    # Bytes 0 and 2, then 1 and 3: lanes of 256 * x.
    for lane, word in zip(lanes, x, strict=True):
        r(f"and {lane}, {mask}, {word}, lsl #8")
    for word in x:
        r(f"and {word}, {word}, {mask}")
    for group, into in ((lanes, even), (x, x[0])):
        for half, to in (("b", high), ("t", into)):
            add = c
            for number, lane in zip(m, group, strict=True):
                r(f"smlaw{half} {to}, {number}, {lane}, {add}")
                add = to
        r(f"pkhtb {into}, {into}, {high}, asr #16")
    r(f"ssat16 {even}, #8, {even}", f"ssat16 {x[0]}, #8, {x[0]}")
    r(f"uxtb16 {even}, {even}", f"and {x[0]}, {mask}, {x[0]}, lsl #8")
    r(f"orr {x[0]}, {x[0]}, {even}")


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    names = [o.name for o in spec.operands]
    inputs, whole, size = names[:-1], p["size"] // STEP * STEP, p["size"]
    code = routine(len(inputs))
    numbers = ", ".join(map(str, [*p["multipliers"], p["addend"]]))
    lines = []
    if whole:
        lines.append(f"{code.name}({', '.join(names)}, y + {whole}, {numbers});")
    if whole < size:
        terms = " + ".join(
            f"(int32_t)(((int64_t){m} * {name}[i]) >> 8)"
            for m, name in zip(p["multipliers"], inputs, strict=True)
        )
        lines += [
            f"for (int32_t i = {whole}; i < {size}; ++i) {{",
            f"    y[i] = ek_ssat8(({p['addend']} + {terms}) >> 16);",
            "}",
        ]
    arguments = ", ".join([*(f"const int8_t *{name}" for name in inputs), "int8_t *y"])
    body = "".join(f"    {line}\n" for line in lines)
    parts = {code.name: code.text()} if whole else {}
    return Written(f"void {spec.name}({arguments})\n{{\n{body}}}\n", parts, 0)


TEMPLATES = (Template("linear", ("add", "sub", "clip"), _candidates, _write),)
