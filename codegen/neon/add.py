"""add of tensors of one shape, eight elements at a time, with SPEC's roundings.

Parts are runs of elements; a result may take the place of its first operand.
"""

from __future__ import annotations

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
from codegen.neon.requant import INSTRUCTIONS, VectorRequant
from codegen.overlap import sharing
from edgekit.ops.requant import add_params, tensor_quant

LANES = 8
#: Elements of a part.
BLOCK = 1024


def candidates(layer: Layer) -> list[Candidate]:
    """One, for int8 tensors of the result's shape."""
    int8_only(layer)
    for value in (*layer.inputs, layer.output):
        if value.dtype != "int8" or value.shape != layer.output.shape:
            raise NotApplicable("tensors of other widths or shapes")
    p = _params(layer)
    operands, constants, names = [], {}, []
    for letter, value in zip("ab", layer.inputs, strict=True):
        data = layer.constants.get(value.name)
        operands.append(
            Operand(letter, "int8", value.size, "constant" if data is not None else "input")
        )
        if data is None:
            names.append(value.name)
        else:
            constants[letter] = np.ascontiguousarray(data)
    operands.append(Operand("y", "int8", layer.output.size, "output"))
    spec = KernelSpec("add", "neon", tuple(operands), p)
    each = 24 + 2 * sum(INSTRUCTIONS[form] for form in p["forms"])
    total = -(-p["count"] // LANES) * each + 60
    candidate = Candidate(spec, tuple(names), constants, cost=Cost(total, total))
    return (
        [candidate] if layer.inputs[0].name in layer.constants else [sharing(candidate, same=True)]
    )


def _params(layer: Layer) -> dict[str, Any]:
    values = list(layer.inputs)
    a = add_params(layer.node, values, layer.output)
    za, zb, zo = (tensor_quant(v)[1] for v in (*values, layer.output))
    forms = [_form(shift, False) for shift in (a.shift_a, a.shift_b)]
    # Sums of two operands are below 2^29.
    forms.append(_form(a.shift_out, a.qmin == zo))
    return {
        "numbers": [za, a.multiplier_a, a.shift_a, zb, a.multiplier_b, a.shift_b,
                    a.multiplier_out, a.shift_out],
        "left": a.left_shift,
        "forms": forms,
        "zy": zo,
        "low": a.qmin,
        "high": a.qmax,
        "count": layer.output.size,
        "template": "neon_add",
    }  # fmt: skip


def _form(shift: int, relu: bool) -> str:
    """Of `codegen.neon.requant`; a shift of 0 loses nothing that could be rounded."""
    if shift > 0:
        return "any"
    return "relu" if relu or shift == 0 else "right"


def write(spec: KernelSpec) -> Written:
    """A loop over vectors, and the same for a rest in a buffer."""
    p = spec.params
    how = VectorRequant(p["forms"][2], p["zy"], p["low"], p["high"])
    za, ma, sa, zb, mb, sb, mo, so = p["numbers"]
    name, count = spec.name, p["count"]
    vectors = [("ma", ma), ("sa", sa), ("mb", mb), ("sb", sb), ("mo", mo), ("so", so)]
    # 16 bits hold a difference shifted by 6, a widening shift adds up to 15.
    first = max(p["left"] - 15, 0)
    halves = []
    for letter, form in zip("ab", p["forms"], strict=False):
        for half in ("low", "high"):
            wide = f"vshll_n_s16(vget_{half}_s16(d{letter}), {p['left'] - first})"
            halves.append(
                f"    const int32x4_t {letter}_{half} = ek_n_rescale_{form}({wide}, m{letter}, "
                f"s{letter});\n"
            )
    results = [how.rescaled(f"vaddq_s32(a_{h}, b_{h})", "mo", "so") for h in ("low", "high")]
    shift = f"vshlq_n_s16({{}}, {first})" if first else "{}"
    text = (
        f"EK_INLINE int8x8_t {name}_eight(int8x8_t a, int8x8_t b, int32_t zp, int32_t low, "
        f"int32_t high)\n{{\n{how.constants()}"
        + "".join(f"    const int32x4_t {n} = vdupq_n_s32({v});\n" for n, v in vectors)
        + f"    const int16x8_t da = {shift.format(f'vsubl_s8(a, vdup_n_s8({za}))')};\n"
        f"    const int16x8_t db = {shift.format(f'vsubl_s8(b, vdup_n_s8({zb}))')};\n"
        f"{''.join(halves)}    return {how.narrowed(*results)};\n}}\n"
        f"void {name}(const int8_t *a, const int8_t *b, int8_t *y, uint32_t begin, uint32_t end)\n"
        f"{{\n    const int32_t until = ek_min((int32_t)end * {BLOCK}, {count});\n"
        f"    int32_t i = (int32_t)begin * {BLOCK};\n"
        f"    for (; i + {LANES} <= until; i += {LANES}) {{\n"
        f"        vst1_s8(y + i, {name}_eight(vld1_s8(a + i), vld1_s8(b + i), {how.numbers}));\n"
        f"    }}\n"
    )
    if rest := count % LANES:
        text += (
            f"    if (i < until) {{\n        int8_t rest[2][{LANES}] = {{{{0}}}};\n"
            f"        memcpy(rest[0], a + i, {rest});\n"
            f"        memcpy(rest[1], b + i, {rest});\n"
            f"        const int8x8_t found = {name}_eight(vld1_s8(rest[0]), vld1_s8(rest[1]), "
            f"{how.numbers});\n"
            f"        ek_n_store_part(y + i, found, {rest});\n    }}\n"
        )
    return Written(text + "}\n", {}, 0, -(-count // BLOCK))


TEMPLATES = (Template("neon_add", ("add",), candidates, write),)
