"""svdf: the memory moves on by one column, then features and time weights, filter by filter."""

from __future__ import annotations

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
from codegen.portable.cells import result, signature
from edgekit.ops.svdf import svdf_params


def _candidates(layer: Layer) -> list[Candidate]:
    x, state, *weights = layer.inputs
    if any(v.name not in layer.constants for v in weights):
        raise NotApplicable("weights that are not constant")
    feature, time, bias = (layer.constants[v.name] for v in weights)
    p = svdf_params(layer.node, list(layer.inputs), list(layer.outputs))
    folded = -p.x_zero_point * feature.astype(np.int64).sum(1)
    constants = {
        "feature": feature,
        "folded": folded.astype(np.int32),
        "time": time,
        "bias": bias,
    }
    role = "constant" if state.name in layer.constants else "input"
    if role == "constant":
        constants = {"state": layer.constants[state.name], **constants}
    operands = [
        Operand("x", x.dtype, x.size, "input"),
        Operand("state", state.dtype, state.size, role),
        *(
            Operand(n, str(c.dtype), c.size, "constant")
            for n, c in constants.items()
            if n != "state"
        ),
        Operand("y", layer.output.dtype, layer.output.size, "output"),
        Operand("memory", state.dtype, state.size, "output"),
    ]
    params = {
        "template": "svdf",
        "headers": ["ek_recurrent.h"],
        "inputs": x.shape[1],
        "filters": feature.shape[0],
        "depth": time.shape[1],
        "rank": feature.shape[0] // bias.size,
        "state": list(p.state),
        "zero_point": p.zero_point,
        "y": list(p.out),
    }
    spec = KernelSpec("svdf", "c99", tuple(operands), params)
    work = 4 * feature.size + 10 * time.size + 40 * feature.shape[0]
    names = tuple(v.name for v in (x, state) if v.name not in layer.constants)
    return [Candidate(spec, names, constants, cost=Cost(work, work + work // 2))]


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    kinds = {o.name: o.dtype for o in spec.operands}
    depth, zero, memory = p["depth"], p["zero_point"], C_TYPES[kinds["state"]]
    dot = {"int8": "ek_rec_dot8", "int16": "ek_rec_dot16"}[kinds["x"]]
    acc = f"{dot}(x, feature + f * {p['inputs']}, {p['inputs']}, folded[f])"
    text = f"""\
{signature(spec)}
{{
    for (int32_t unit = 0; unit < {spec.operands[-2].count}; ++unit) {{
        uint32_t sum = (uint32_t)bias[unit];
        for (int32_t f = unit * {p["rank"]}; f < (unit + 1) * {p["rank"]}; ++f) {{
            const {memory} *const before = state + f * {depth};
            {memory} *const after = memory + f * {depth};
            for (int32_t k = 1; k < {depth}; ++k) {{
                after[k - 1] = before[k];
            }}
            after[{depth - 1}] = ({memory})({result(acc, p["state"], kinds["state"])} + ({zero}));
            for (int32_t k = 0; k < {depth}; ++k) {{
                sum += (uint32_t)(time[f * {depth} + k] * (after[k] - ({zero})));
            }}
        }}
        y[unit] = {result("(int32_t)sum", p["y"], kinds["y"])};
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (Template("svdf", ("svdf",), _candidates, _write),)
