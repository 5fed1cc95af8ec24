"""layer_norm, rms_norm, instance_norm and group_norm: one kernel for all.

It sees its operand as [rows, pixels, groups, channels] (`edgekit.ops.normalize`).
"""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np

from codegen.kernel import C_TYPES, Candidate, Cost, KernelSpec, Layer, Operand, Template, Written
from codegen.overlap import element_steps, sharing
from codegen.portable._text import integer, requantize
from edgekit.ops import operator
from edgekit.ops.normalize import GAMMA_BITS, NORMAL_BITS, Normalization, norm_params
from edgekit.ops.requant import tensor_quant

OPS = ("layer_norm", "rms_norm", "instance_norm", "group_norm")


def layer_candidate(layer: Layer, family: str, group: Cost, number: Cost) -> Candidate:
    """The kernel in a family, with what a group and each of its numbers cost."""
    op = operator(layer.node.op)
    assert isinstance(op, Normalization)
    values, out = list(layer.inputs), layer.output
    x, gamma, *beta = values
    view = op.view(layer.node, x.shape)
    p = norm_params(layer.node, values, out, view.members)
    operands = [integer(x, "input", "x"), Operand("gamma", "int16", gamma.size, "constant")]
    constants = {"gamma": layer.constants[gamma.name]}
    if beta:
        operands.append(Operand("beta", "int32", gamma.size, "constant"))
        constants["beta"] = layer.constants[beta[0].name]
    operands.append(integer(out, "output", "y"))
    params = {
        "template": "normalize",
        "headers": ["ek_norm.h"],
        "view": list(view),
        "centred": op.centred,
        "zero": tensor_quant(x)[1],
        "zero_point": tensor_quant(out)[1],
        "bound": _bound(layer, view.members),
        "spread": _spread(x.dtype, view.members, op.centred, p.epsilon),
        **p._asdict(),
    }
    cost = group * (view.rows * view.groups) + number * x.size
    spec = KernelSpec(layer.node.op, family, tuple(operands), params)
    candidate = Candidate(spec, (x.name,), constants, cost=cost)
    # A number is read for the last time right before its result is written.
    steps = element_steps(np.arange(x.size), x.dtype, out.dtype) if view.groups == 1 else None
    if steps is not None and view.pixels > 1:
        steps = None
    return sharing(candidate, steps, same=x.dtype == out.dtype)


def _candidates(layer: Layer) -> list[Candidate]:
    return [layer_candidate(layer, "c99", Cost(600, 760), Cost(50, 64))]


def _bound(layer: Layer, members: int) -> int:
    """No accumulator is as large as this."""
    vectors = [layer.constants[v.name].astype(np.int64) for v in layer.inputs[1:]]
    gamma, *beta = (np.abs(v).max() for v in vectors)
    largest = math.isqrt(members) + 1 << NORMAL_BITS
    return int(largest * gamma >> GAMMA_BITS) + sum(map(int, beta)) + 2


def _spread(dtype: str, members: int, centred: bool, epsilon: int) -> int:
    """The largest V (SPEC) that there is: no number is farther from the mean than half the range,
    or from the zero point than all of it (half for int16)."""
    span = 1 << 16 if dtype == "int16" else 256
    farthest = span // 2 if centred or dtype == "int16" else span
    return (members * farthest) ** 2 + epsilon


def _loops(p: dict[str, Any], body: str) -> str:
    """C text that runs `body` for every number of a group: `at` is its place behind the group's
    first, `channel` its channel in the group."""
    _, pixels, groups, channels = p["view"]
    stride = groups * channels
    head = [f"for (int32_t pixel = 0; pixel < {pixels}; ++pixel) {{"] * (pixels > 1)
    if channels > 1:
        head.append(f"for (int32_t channel = 0; channel < {channels}; ++channel) {{")
    else:
        body = body.replace("[channel]", "[0]")
    at = " + ".join([f"pixel * {stride}"] * (pixels > 1) + ["channel"] * (channels > 1)) or "0"
    depth = len(head) or 1
    lines = [" " * 4 * i + line for i, line in enumerate(head or ["{"])]
    lines.append(" " * 4 * depth + f"const int32_t at = {at};")
    lines += [" " * 4 * depth + line for line in body.splitlines()]
    lines += [" " * 4 * i + "}" for i in reversed(range(depth))]
    return textwrap.indent("\n".join(lines), " " * 12)


def write(spec: KernelSpec) -> Written:
    """The kernel in either family: only what a normalized number and its result are differs."""
    p = spec.params
    dsp = spec.family == "thumb_dsp"
    rows, pixels, groups, channels = p["view"]
    kind, result = spec.operands[0].dtype, spec.operands[-1].dtype
    count = pixels * channels
    # A square of int8 is at most 255**2, and there are at most 2**15 of them.
    squares = "uint32_t" if kind == "int8" else "uint64_t"
    offset = f" - {p['zero']}" if p["zero"] > 0 else f" + {-p['zero']}" if p["zero"] else ""
    beta = len(spec.operands) == 4
    terms, deviation = f"{count}u * (uint64_t)squares", f"{count} * v"
    if p["centred"]:
        terms += " - (uint64_t)((int64_t)sum * sum)"
        deviation += " - sum"
    read = f"const int32_t v = from[at]{offset};\n"
    add = "sum += v;\n" if p["centred"] else ""
    affine = "scales[channel], " + ("shifts[channel]" if beta else "0")
    vectors = f"const int16_t *scales = gamma + group * {channels};"
    if beta:
        vectors += f"\n            const int32_t *shifts = beta + group * {channels};"
    declared = "const int16_t *gamma" + ", const int32_t *beta" * beta
    sums = _loops(p, f"{read}{add}squares += ({squares})(v * v);")
    results = _loops(
        p,
        f"{read}const int32_t n = {_scaled(deviation, dsp)};\n"
        f"const int32_t acc = ek_norm_affine(n, {affine});\n"
        f"to[at] = {_rescaled(result, p) if dsp else _requantized(result, p)};",
    )
    right = f"right = {62 - NORMAL_BITS} - pairs"
    text = f"""\
void {spec.name}(const {C_TYPES[kind]} *x, {declared}, {C_TYPES[result]} *y)
{{
    for (int32_t row = 0; row < {rows}; ++row) {{
        for (int32_t group = 0; group < {groups}; ++group) {{
            const int32_t begin = row * {count * groups} + group * {channels};
            const {C_TYPES[kind]} *from = x + begin;
            {C_TYPES[result]} *to = y + begin;
            {vectors}
            {"int32_t sum = 0;" if p["centred"] else ""}
            {squares} squares = 0;
{sums}
            int32_t pairs;
            const uint64_t spread = {terms} + UINT64_C({p["epsilon"]});
            const int32_t inverse = ek_norm_inverse_root(spread, &pairs);
            const int32_t {f"left = pairs - {30 - NORMAL_BITS}" if dsp else right};
{results}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


def _scaled(deviation: str, dsp: bool) -> str:
    """C text of a normalized number; with the DSP extension, shifted so that the product's upper
    word is the result."""
    if dsp:
        return f"ek_smmulr((int32_t)((uint32_t)({deviation}) << left), inverse)"
    return f"ek_norm_scaled({deviation}, inverse, right)"


def _rescaled(dtype: str, p: dict[str, Any]) -> str:
    """C text of the result with the DSP extension."""
    bits, power = dtype[3:], 1 << (32 + p["shift"])
    scaled = f"ek_rescale(2 * acc, {p['multiplier']}, {power}, {p['zero_point']})"
    info = np.iinfo(dtype)
    if (p["qmin"], p["qmax"]) == (info.min, info.max):
        return f"ek_ssat{bits}({scaled})"
    return f"ek_clamp{bits}({scaled}, {p['qmin']}, {p['qmax']})"


def short(p: dict[str, Any]) -> bool:
    """Whether the accumulator and the shift allow the short requantization."""
    return p["bound"] < 1 << 30 and -30 <= p["shift"] <= -2


def _requantized(dtype: str, p: dict[str, Any]) -> str:
    """C text of the result; the short form where the accumulator and the shift allow it."""
    if not short(p):
        return requantize("acc", dtype, p)
    scaled = f"ek_rescaled_right(acc, {p['multiplier']}, {-p['shift'] - 1}, {p['zero_point']})"
    return f"ek_clamp{dtype[3:]}({scaled}, {p['qmin']}, {p['qmax']})"


TEMPLATES = (Template("normalize", OPS, _candidates, write),)
