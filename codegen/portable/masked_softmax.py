"""masked_softmax: exponentials of what a mask keeps, in two passes over each row."""

from __future__ import annotations

from math import prod

import numpy as np

from codegen.kernel import C_TYPES, Candidate, Cost, KernelSpec, Layer, Operand, Template, Written
from codegen.overlap import element_steps, sharing
from codegen.portable._text import integer
from edgekit.ops.masked_softmax import without_units
from edgekit.ops.requant import softmax16_params, softmax_params


def _candidates(layer: Layer) -> list[Candidate]:
    x, mask = layer.inputs
    out = layer.output
    width = out.shape[-1]
    constants: dict[str, np.ndarray] = {}
    names = [x.name]
    fixed = mask.name in layer.constants
    if fixed:
        constants["mask"] = layer.constants[mask.name]
    else:
        names.append(mask.name)
    operands = [
        integer(x, "input", "x"),
        Operand("mask", "bool", mask.size, "constant" if fixed else "input"),
    ]
    rows = out.size // width
    params = {
        "template": "masked_softmax",
        "rows": rows,
        "width": width,
        "mask_rows": prod(without_units(mask.shape)[:-1]) if mask.size > 1 else 1,
        "mask_width": mask.shape[-1] if mask.shape else 1,
    }
    if out.dtype == "int16":
        p16 = softmax16_params(layer.node, [x], out)
        params |= {"multiplier": p16.multiplier, "shift": p16.shift}
        tables = {"exponentials": p16.exp_table, "reciprocals": p16.reciprocal_table}
    else:
        tables = {"table": softmax_params(layer.node, [x], out).exp_table}
    for name, table in tables.items():
        operands.append(Operand(name, str(table.dtype), table.size, "constant"))
        constants[name] = table
    operands.append(integer(out, "output", "y"))
    spec = KernelSpec("masked_softmax", "c99", tuple(operands), params)
    cost = Cost(40 * out.size + 120 * rows, 54 * out.size + 160 * rows)
    # The maximum and the sum of a row are there before its first result.
    steps = element_steps(np.arange(out.size), x.dtype, out.dtype)
    return [sharing(Candidate(spec, tuple(names), constants, cost=cost), steps)]


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    kind = spec.operands[0].dtype
    width, rows, mask_rows = p["width"], p["rows"], p["mask_rows"]
    element = C_TYPES[kind]
    row = f"row % {mask_rows}" if 1 < mask_rows < rows else "row" if mask_rows > 1 else "0"
    at = "c" if p["mask_width"] > 1 else "0"
    if kind == "int16":
        tables = "const int16_t *exponentials, const int16_t *reciprocals"
        factor = f"{p['multiplier']}, {p['shift']}"
        exponential = f"""\
                const int32_t place = ek_softmax16_at(x[c] - largest, {factor});
                const int16_t *entry = exponentials + 256 + (place >> 7);
                const int32_t e = ek_interpolate(entry[0], entry[1], place & 127);
"""
        share = """\
        const int32_t inverse = ek_softmax16_inverse_at(sum);
        const int16_t *share = reciprocals + 256 + (inverse >> 7);
        const int32_t scale = ek_interpolate(share[0], share[1], inverse & 127);
        const int32_t shift = ek_softmax16_shift(sum);
"""
        part, value, nothing, least = "e", "ek_softmax16_value(e, scale, shift)", 0, 1 << 15
    else:
        tables = "const int32_t *table"
        exponential = "                const int32_t e = table[largest - x[c]];\n"
        share = """\
        const int32_t scale = ek_softmax_scale(sum);
        const int32_t shift = ek_softmax_shift(sum);
"""
        part, value = "(int32_t)(((uint32_t)e + 2048u) >> 12)", "ek_softmax_value(e, scale, shift)"
        nothing, least = -128, 1 << 19
    text = f"""\
void {spec.name}(const {element} *x, const uint8_t *mask, {tables}, {element} *y)
{{
    for (int32_t row = 0; row < {rows}; ++row, x += {width}, y += {width}) {{
        const uint8_t *kept = mask + {row} * {p["mask_width"]};
        int32_t largest = {np.iinfo(kind).min}, sum = 0;
        for (int32_t c = 0; c < {width}; ++c) {{
            if (kept[{at}] != 0u) {{
                largest = ek_max(largest, x[c]);
            }}
        }}
        for (int32_t c = 0; c < {width}; ++c) {{
            if (kept[{at}] != 0u) {{
{exponential}\
                sum += {part};
            }}
        }}
        sum = sum != 0 ? sum : {least}; /* nothing is kept */
{share}\
        for (int32_t c = 0; c < {width}; ++c) {{
            if (kept[{at}] != 0u) {{
{exponential}\
                y[c] = {value};
            }} else {{
                y[c] = {nothing};
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (Template("masked_softmax", ("masked_softmax",), _candidates, _write),)
