"""unary: a table of 256 entries for int8, and the forms of `edgekit.ops.unary_forms` for int16."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Template,
    Written,
)
from codegen.portable import _elements as el
from edgekit.ops import unary_forms as forms
from edgekit.ops.base import INTEGERS
from edgekit.ops.gates import sigmoid_table
from edgekit.ops.unary_params import unary_params

#: Of an element: instructions as the virtual Cortex-M4 counts them, cycles estimated.
COSTS = {
    "Lookup": Cost(3, 5),
    "Interpolated": Cost(12, 15),
    "Octaves": Cost(36, 45),
    "Segments": Cost(17, 21),
    "Whole": Cost(17, 21),
    "Square": Cost(17, 21),
    "InverseSqrt": Cost(391, 480),
    "Sigmoid16": Cost(20, 25),
    "Tanh16": Cost(29, 36),
}
#: Where the functions are that are not in ek_element.h alone.
HEADERS = {
    "Lookup": [],
    "InverseSqrt": ["ek_element.h", "ek_norm.h"],
    "Sigmoid16": ["ek_recurrent.h"],
    "Tanh16": ["ek_recurrent.h"],
}
#: Elements of a round of the table's loop.
UNROLL = 4


def _candidates(layer: Layer) -> list[Candidate]:
    x, out = layer.inputs[0], layer.output
    if x.dtype not in INTEGERS or out.dtype not in INTEGERS:
        raise NotApplicable(f"{x.dtype} to {out.dtype}")
    form = unary_params(layer.node, list(layer.inputs), out)
    name = type(form).__name__
    numbers: dict[str, Any] = {"form": name}
    tables: dict[str, np.ndarray] = {}
    for key, value in asdict(form).items():
        if isinstance(value, np.ndarray):
            tables[key] = value.reshape(-1)
        elif key == "out":
            numbers["limits"] = value
        else:
            numbers[key] = [list(line) for line in value] if key == "lines" else value
    if isinstance(form, forms.InverseSqrt):
        numbers["largest"] = form.largest
    if isinstance(form, forms.Octaves):
        numbers["sides"] = len(form.table)
    if isinstance(form, forms.Sigmoid16 | forms.Tanh16):
        tables["table"] = (sigmoid_table().astype(np.int32) - 32768).astype(np.int16)
    numbers["headers"] = HEADERS.get(name, ["ek_element.h"])
    return [el.candidate("unary", layer, numbers, COSTS[name], tables)]


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    if p["form"] == "Lookup":
        return Written(_lookup(spec), {}, 0)
    kind = el.C_TYPES[spec.operands[-1].dtype]
    count = spec.operands[-1].count
    value = "\n".join(f"        {line}" for line in _VALUES[p["form"]](p).splitlines())
    body = (
        f"    for (int32_t i = 0; i < {count}; ++i) {{\n"
        f"        const int32_t x = a[i];\n{value}\n        y[i] = ({kind})value;\n    }}"
    )
    return Written(el.function(spec, body), {}, 0)


def _lookup(spec: KernelSpec) -> str:
    count = spec.operands[-1].count
    kind = el.C_TYPES[spec.operands[-1].dtype]
    setup = f"    const {kind} *const at = table + 128;\n"
    whole = count - count % UNROLL
    lines = []
    if whole:
        lines.append(f"    for (int32_t i = 0; i < {whole}; i += {UNROLL}) {{")
        lines += [f"        const int32_t x{k} = a[i + {k}];" for k in range(UNROLL)]
        lines += [f"        const {kind} y{k} = at[x{k}];" for k in range(UNROLL)]
        lines += [f"        y[i + {k}] = y{k};" for k in range(UNROLL)]
        lines.append("    }")
    lines += [f"    y[{i}] = at[a[{i}]];" for i in range(whole, count)]
    return el.function(spec, "\n".join(lines), setup)


def _clamped(p: dict[str, Any], y: str, offset: int = 0) -> str:
    limits = p["limits"]
    zero_point = limits["zero_point"] + offset
    return f"ek_element_clamped({y}, {zero_point}, {limits['qmin']}, {limits['qmax']})"


def _rounded(p: dict[str, Any], y: str) -> str:
    """A number of a table with `fraction` bits; entries of int16 results have none."""
    if p["fraction"] == 0:
        return f"const int32_t value = {y};"
    return f"const int32_t value = ek_element_rounded({y}, {p['fraction']}, -128, 127);"


def _interpolated(p: dict[str, Any]) -> str:
    return _rounded(p, "ek_element_interpolated(table, x)")


def _octaves(p: dict[str, Any]) -> str:
    if p["sides"] == 2:
        entries = forms.OCTAVE_ENTRIES
        return _rounded(p, f"ek_element_octaves(x < 0 ? table + {entries} : table, x < 0 ? -x : x)")
    return _rounded(p, "ek_element_octaves(table, ek_max(x, 0))")


def _segments(p: dict[str, Any]) -> str:
    lines = [f"const int32_t v = x - ({p['zero_point']});", "int32_t value;"]
    for k, (start, multiplier, shift, offset) in reversed(list(enumerate(p["lines"]))):
        line = _clamped(p, f"ek_multiply(v, {multiplier}, {shift})", offset)
        head = f"if (v >= {start}) {{" if k else "{"
        lines.append(f"{'} else ' if k + 1 < len(p['lines']) else ''}{head}")
        lines.append(f"    value = {line};")
    return "\n".join([*lines, "}"])


def _whole(p: dict[str, Any]) -> str:
    fixed = f"ek_multiply(x - ({p['zero_point']}), {p['multiplier']}, {p['shift']})"
    whole = f"ek_element_{p['rounding']}(fixed, {p['fraction']})"
    y = f"ek_multiply({whole}, {p['out_multiplier']}, {p['out_shift']})"
    return f"const int32_t fixed = {fixed};\nconst int32_t value = {_clamped(p, y)};"


def _square(p: dict[str, Any]) -> str:
    y = f"ek_multiply(ek_element_product(v, v), {p['multiplier']}, {p['shift']})"
    return f"const int32_t v = x - ({p['zero_point']});\nconst int32_t value = {_clamped(p, y)};"


def _inverse_sqrt(p: dict[str, Any]) -> str:
    left = forms.InverseSqrt.LEFT
    y = f"ek_multiply(large, {p['multiplier']}, {p['shift'] - left})"
    return "\n".join(
        [
            f"const int32_t v = x - ({p['zero_point']});",
            "int32_t shift;",
            "const int32_t root = ek_norm_inverse_sqrt(ek_max(v, 1), &shift);",
            f"const int32_t scaled = ek_multiply(1, root, shift + {left});",
            f"const int32_t large = ek_min(scaled, {p['largest']});",
            f"const int32_t value = v <= 0 ? {p['limits']['qmax']} : {_clamped(p, y)};",
        ]
    )


def _of_thirds(name: str, p: dict[str, Any]) -> str:
    half = (1 << p["shift"]) >> 1
    scaled = f"(x * {p['multiplier']} + {half}) >> {p['shift']}"
    return f"const int32_t value = ek_rec_{name}(table, {scaled});"


_VALUES = {
    "Interpolated": _interpolated,
    "Octaves": _octaves,
    "Segments": _segments,
    "Whole": _whole,
    "Square": _square,
    "InverseSqrt": _inverse_sqrt,
    "Sigmoid16": lambda p: _of_thirds("sigmoid3", p),
    "Tanh16": lambda p: _of_thirds("tanh3", p),
}

TEMPLATES = (Template("unary", ("unary",), _candidates, _write),)
