"""resize by interpolation: sums over taps, whose places and weights are tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from codegen.kernel import (
    C_TYPES,
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.portable._moves import strides_of
from edgekit.ops.requant import clamp_of_output
from edgekit.ops.resize import changed_axes
from edgekit.ops.sampling import Q, taps_of

#: Instructions of a tap and of a result; nobody counted them on a core.
PER_TAP, PER_RESULT = 9, 40
#: Taps whose places and weights are found once for all channels of a pixel, on the stack.
MOST_SHARED = 16


def _candidates(layer: Layer) -> list[Candidate]:
    node, x, y = layer.node, layer.inputs[0], layer.output
    if node.attrs.get("mode", "nearest") == "nearest":
        raise NotApplicable("nearest elements are copied")
    if x.dtype not in ("int8", "int16"):
        raise NotApplicable(f"{x.dtype} operands")
    changed = changed_axes(node, x.shape)
    taps = {i: taps_of(node, i, x.shape[i], whole=True) for i in changed}
    loops: list[list[int]] = []  # size, elements of x between rounds, taps (0: the axis stays)
    for i, (size, step) in enumerate(zip(y.shape, strides_of(x.shape), strict=True)):
        kept = i not in changed
        if kept and loops and not loops[-1][2] and loops[-1][1] == step * size:
            loops[-1] = [loops[-1][0] * size, step, 0]
        elif not kept or size > 1:
            loops.append([size, step, 0 if kept else taps[i][0].shape[1]])
    tables, count = {}, 1
    for number, i in enumerate(changed):
        at, weights = taps[i]
        tables[f"at{number}"] = at.astype(np.int16).reshape(-1)
        tables[f"w{number}"] = weights.astype(np.int16).reshape(-1)
        count *= at.shape[1]
        if x.shape[i] >= 1 << 15:
            raise NotApplicable(f"an axis of {x.shape[i]}")
    largest = max((int(np.abs(w).sum(1).max()) for _, w in taps.values()), default=1)
    narrow = largest ** len(taps) * (128 if x.dtype == "int8" else 32768) < 1 << 31
    params: dict[str, Any] = {
        "template": "resizes",
        "loops": loops,
        "narrow": narrow,
        "shift": Q * len(changed),
        "clamp": list(clamp_of_output(node, y)),
    }
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        *(Operand(name, "int16", t.size, "constant") for name, t in tables.items()),
        Operand("y", y.dtype, y.size, "output"),
    )
    steps = y.size * (PER_RESULT + PER_TAP * count)
    spec = KernelSpec("resize", "c99", operands, params)
    return [Candidate(spec, (x.name,), tables, cost=Cost(steps, steps * 3 // 2))]


def _write(spec: KernelSpec) -> Written:
    p, x, y = spec.params, spec.operands[0], spec.operands[-1]
    total = "int32_t" if p["narrow"] else "int64_t"
    low, high = p["clamp"]
    parameters = [
        f"const {C_TYPES[x.dtype]} *restrict x",
        *(f"const int16_t *restrict {o.name}" for o in spec.operands[1:-1]),
        f"{C_TYPES[y.dtype]} *restrict y",
    ]
    suffix = "16" if y.dtype == "int16" else "8"
    half = (1 << p["shift"]) >> 1
    result = [
        f"sum = sum < 0 ? -((-sum + {half}) >> {p['shift']}) : (sum + {half}) >> {p['shift']};",
        f"*y++ = ek_clamp{suffix}((int32_t)sum, {low}, {high});",
    ]
    loops = [(k, *loop) for k, loop in enumerate(p["loops"])]
    taps = [loop for loop in loops if loop[3]]
    count = math.prod(loop[3] for loop in taps)
    shared = bool(loops) and not loops[-1][3] and bool(taps) and count <= MOST_SHARED
    outer = loops[:-1] if shared else loops
    lines = [f"for (int32_t i{k} = 0; i{k} < {size}; ++i{k}) {{" for k, size, _, _ in outer]
    places = [f"i{k} * {step}" for k, _, step, n in outer if not n]
    depth, product = len(lines), ""
    if shared:
        lines += [f"const {C_TYPES[x.dtype]} *from[{count}];", f"{total} m[{count}];",
                  "int32_t n = 0;"]  # fmt: skip
    else:
        lines.append(f"{total} sum = 0;")
    for number, (k, _, step, n) in enumerate(taps):
        t, before = f"t{number}", f" * {product}" if product else ""
        lines += [
            f"for (int32_t {t} = i{k} * {n}; {t} < i{k} * {n} + {n}; ++{t}) {{",
            f"const {total} m{number} = ({total})w{number}[{t}]{before};",
        ]
        product = f"m{number}"
        places.append(f"at{number}[{t}] * {step}")
    at = " + ".join(places) or "0"
    if shared:
        lines += [f"from[n] = x + {at};", f"m[n++] = {product};"]
    else:
        lines.append(f"sum += {product + ' * ' if product else ''}x[{at}];")
    lines += ["}"] * len(taps)
    if shared:
        k, size, step, _ = loops[-1]
        place = f"i{k}" if step == 1 else f"i{k} * {step}"
        lines += [
            f"for (int32_t i{k} = 0; i{k} < {size}; ++i{k}) {{",
            f"{total} sum = 0;",
            f"for (n = 0; n < {count}; ++n) {{",
            f"sum += m[n] * from[n][{place}];",
            "}",
            *result,
            "}",
        ]
    else:
        lines += result
    lines += ["}"] * depth
    body = "\n".join(_indented(lines))
    return Written(f"void {spec.name}({', '.join(parameters)})\n{{\n{body}\n}}\n", {}, 0)


def _indented(lines: list[str]) -> list[str]:
    """Lines as blocks open and close."""
    found, depth = [], 1
    for line in lines:
        depth -= line == "}"
        found.append("    " * depth + line)
        depth += line.endswith("{")
    return found


TEMPLATES = (Template("resizes", ("resize",), _candidates, _write),)
