"""Pooling with dilations, or with padding that a mean counts: plain loops."""

from __future__ import annotations

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
from codegen.schedules import _window
from edgekit.ops import windows as win
from edgekit.ops.average_pool2d import divisors
from edgekit.ops.pooling import counts_padding
from edgekit.ops.requant import clamp_of_output, tensor_quant

#: Instructions of a tap and of a result; nobody counted them on a core.
PER_TAP, PER_RESULT = 14, 40


def _candidates(layer: Layer) -> list[Candidate]:
    node, x, y = layer.node, layer.inputs[0], layer.output
    mean = node.op == "average_pool2d"
    if x.dtype not in ("int8", "int16"):
        raise NotApplicable(f"{x.dtype} operands")
    if not mean or (win.pair(node, "dilations", 1) == (1, 1) and not counts_padding(node)):
        raise NotApplicable("other kernels do this")
    kernel = win.pair(node, "kernel")
    params: dict[str, Any] = {
        "template": "pools",
        **_window.params(layer, kernel),
        "clamp": list(clamp_of_output(node, y)),
        "zero_point": tensor_quant(x)[1] if counts_padding(node) else 0,
    }
    real, counted = divisors(node, x.shape)
    counts = np.stack([counted - real, counted], -1).astype(np.int16).reshape(-1, 2)
    alike = bool((counts == counts[0]).all())
    if alike:
        params["counts"] = [int(v) for v in counts[0]]
    if counted.max() >= 1 << 15:
        raise NotApplicable(f"windows of {counted.max()} pixels")
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        *(() if alike else (Operand("counts", "int16", counts.size, "constant"),)),
        Operand("y", y.dtype, y.size, "output"),
    )
    constants = {} if alike else {"counts": counts.reshape(-1)}
    steps = y.size * (PER_RESULT + PER_TAP * kernel[0] * kernel[1])
    spec = KernelSpec("average_pool2d", "c99", operands, params)
    return [Candidate(spec, (x.name,), constants, cost=Cost(steps, steps * 3 // 2))]


def _write(spec: KernelSpec) -> Written:
    p, x, y = spec.params, spec.operands[0], spec.operands[-1]
    h, w, c, oh, ow = (p[k] for k in ("H", "W", "C", "OH", "OW"))
    top, left = p["pads"][:2]
    (kh, kw), (sh, sw), (dh, dw), (low, high) = (
        p[k] for k in ("kernel", "strides", "dilations", "clamp")
    )
    table = "counts" not in p
    outside, count = ("counts[0]", "counts[1]") if table else map(str, p["counts"])
    operand = ", const int16_t *restrict counts" if table else ""
    advance = ", counts += 2" if table else ""
    padding = f" + {outside} * ({p['zero_point']})" if p["zero_point"] else ""
    suffix = "16" if y.dtype == "int16" else "8"
    text = f"""\
void {spec.name}(const {C_TYPES[x.dtype]} *restrict x{operand}, {C_TYPES[y.dtype]} *restrict y)
{{
    for (int32_t row = 0; row < {oh}; ++row) {{
        for (int32_t column = 0; column < {ow}; ++column{advance}) {{
            for (int32_t c = 0; c < {c}; ++c) {{
                int32_t sum = 0;
                for (int32_t i = 0; i < {kh}; ++i) {{
                    const int32_t at_row = row * {sh} + i * {dh} - {top};
                    for (int32_t j = 0; j < {kw}; ++j) {{
                        const int32_t at = column * {sw} + j * {dw} - {left};
                        if (at_row >= 0 && at_row < {h} && at >= 0 && at < {w}) {{
                            sum += x[(at_row * {w} + at) * {c} + c];
                        }}
                    }}
                }}
                *y++ = ek_clamp{suffix}(ek_average(sum{padding}, {count}), {low}, {high});
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (Template("pools", ("average_pool2d",), _candidates, _write),)
