"""sum_rows and mean_rows: a global average pool whose image comes in parts."""

from __future__ import annotations

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
from edgekit.ops.requant import clamp_of_output


def _sum(layer: Layer) -> list[Candidate]:
    x, *sums = layer.inputs
    channels = layer.output.size
    operands = [
        *(Operand("sums", "int32", channels, "input", alias=True) for _ in sums),
        Operand("x", x.dtype, x.size, "input"),
        Operand("y", "int32", channels, "output", alias=bool(sums)),
    ]
    params = {"template": "sum_rows", "channels": channels, "pixels": x.size // channels}
    spec = KernelSpec("sum_rows", "c99", tuple(operands), params)
    cost = Cost(4 * x.size + 8 * channels, 6 * x.size + 12 * channels)
    names = tuple(v.name for v in (*sums, x))
    return [Candidate(spec, names, {}, in_place=bool(sums), cost=cost)]


def _write_sum(spec: KernelSpec) -> Written:
    p = spec.params
    inputs = [o for o in spec.operands if o.role == "input"]
    kind = C_TYPES[inputs[-1].dtype]
    sums = "const int32_t *sums, " if len(inputs) == 2 else ""
    text = f"""\
void {spec.name}({sums}const {kind} *x, int32_t *y)
{{
    for (int32_t c = 0; c < {p["channels"]}; ++c) {{
        int32_t sum = {"sums[c]" if sums else "0"};
        for (int32_t i = c; i < {p["channels"] * p["pixels"]}; i += {p["channels"]}) {{
            sum += x[i];
        }}
        y[c] = sum;
    }}
}}
"""
    return Written(text, {}, 0)


def _mean(layer: Layer) -> list[Candidate]:
    if layer.output.dtype not in ("int8", "int16"):
        raise NotApplicable(f"{layer.output.dtype} results")
    channels = layer.output.size
    qmin, qmax = clamp_of_output(layer.node, layer.output)
    params = {
        "template": "mean_rows",
        "channels": channels,
        "count": layer.node.attrs["count"],
        "clamp": [qmin, qmax],
    }
    spec = KernelSpec(
        "mean_rows",
        "c99",
        (
            Operand("x", "int32", channels, "input"),
            Operand("y", layer.output.dtype, channels, "output"),
        ),
        params,
    )
    cost = Cost(20 * channels, 30 * channels)
    return [Candidate(spec, (layer.inputs[0].name,), {}, cost=cost)]


def _write_mean(spec: KernelSpec) -> Written:
    p = spec.params
    kind = spec.operands[-1].dtype
    low, high = p["clamp"]
    text = f"""\
void {spec.name}(const int32_t *restrict x, {C_TYPES[kind]} *restrict y)
{{
    for (int32_t c = 0; c < {p["channels"]}; ++c) {{
        y[c] = ek_clamp{kind[3:]}(ek_average(x[c], {p["count"]}), {low}, {high});
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (
    Template("sum_rows", ("sum_rows",), _sum, _write_sum),
    Template("mean_rows", ("mean_rows",), _mean, _write_mean),
)
