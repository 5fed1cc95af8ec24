"""layer_norm, rms_norm, instance_norm and group_norm: one kernel for all.

It sees its operand as [rows, pixels, groups, channels] (`edgekit.ops.normalize`).
"""

from __future__ import annotations

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, Operand, Template, Written
from codegen.overlap import element_steps, sharing
from codegen.portable._text import C_TYPES, integer, requantize
from edgekit.ops import operator
from edgekit.ops.normalize import NORMAL_BITS, Normalization, norm_params
from edgekit.ops.requant import tensor_quant

OPS = ("layer_norm", "rms_norm", "instance_norm", "group_norm")


def _candidates(layer: Layer) -> list[Candidate]:
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
        **p._asdict(),
    }
    groups = view.rows * view.groups
    # Counted in compiled code: roots and reciprocals by bits, two passes over the numbers.
    cost = Cost(1000 * groups + 38 * x.size, 1200 * groups + 52 * x.size)
    spec = KernelSpec(layer.node.op, "c99", tuple(operands), params)
    candidate = Candidate(spec, (x.name,), constants, cost=cost)
    # A number is read for the last time right before its result is written.
    steps = element_steps(np.arange(x.size), x.dtype, out.dtype) if view.groups == 1 else None
    if steps is not None and view.pixels > 1:
        steps = None
    return [sharing(candidate, steps, same=x.dtype == out.dtype)]


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    rows, pixels, groups, channels = p["view"]
    kind, result = spec.operands[0].dtype, spec.operands[-1].dtype
    count, stride = pixels * channels, groups * channels
    # A square of int8 is at most 255**2, and there are at most 2**15 of them.
    sum_of_squares = "uint32_t" if kind == "int8" else "uint64_t"
    offset = f" - {p['zero']}" if p["zero"] > 0 else f" + {-p['zero']}" if p["zero"] else ""
    beta = ", const int32_t *beta" if len(spec.operands) == 4 else ""
    terms = f"{count}u * (uint64_t)squares"
    if p["centred"]:
        terms += " - (uint64_t)((int64_t)sum * sum)"
    deviation = f"{count} * v - sum" if p["centred"] else f"{count} * v"
    loops = f"""\
            for (int32_t at = begin; at < begin + {pixels * stride}; at += {stride}) {{
                for (int32_t c = 0; c < {channels}; ++c) {{
                    const int32_t v = x[at + c]{offset};
"""
    affine = f"gamma[group * {channels} + c], " + (f"beta[group * {channels} + c]" if beta else "0")
    text = f"""\
void {spec.name}(const {C_TYPES[kind]} *x, const int16_t *gamma{beta}, {C_TYPES[result]} *y)
{{
    for (int32_t row = 0; row < {rows}; ++row) {{
        for (int32_t group = 0; group < {groups}; ++group) {{
            const int32_t begin = row * {pixels * stride} + group * {channels};
            {"int32_t sum = 0;" if p["centred"] else ""}
            {sum_of_squares} squares = 0;
{loops}\
                    {"sum += v;" if p["centred"] else ""}
                    squares += ({sum_of_squares})(v * v);
                }}
            }}
            int32_t pairs;
            const uint64_t spread = {terms} + UINT64_C({p["epsilon"]});
            const int32_t inverse = ek_norm_inverse_root(spread, &pairs);
            const int32_t right = {62 - NORMAL_BITS} - pairs;
{loops}\
                    const int32_t n = ek_norm_scaled({deviation}, inverse, right);
                    const int32_t acc = ek_norm_affine(n, {affine});
                    y[at + c] = {requantize("acc", result, p)};
                }}
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (Template("normalize", OPS, _candidates, _write),)
