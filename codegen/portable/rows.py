"""l2_normalize and log_softmax: row by row, in place where they like."""

from __future__ import annotations

import numpy as np

from codegen.kernel import C_TYPES, Candidate, Cost, KernelSpec, Layer, Operand, Template, Written
from codegen.overlap import element_steps, sharing
from codegen.portable._text import integer
from codegen.schedules.softmax import FEW
from edgekit.ops.l2_normalize import RESULT_BITS
from edgekit.ops.log_softmax import RESULT_SHIFT, RESULTS, log_softmax_params
from edgekit.ops.requant import exponentials, tensor_quant

HEADERS = ["ek_norm.h"]


def _candidate(
    layer: Layer, params: dict[str, object], cost: tuple[int, int], table: np.ndarray | None = None
) -> Candidate:
    """`cost` is instructions of a row and of each of its numbers."""
    x, out = layer.inputs[0], layer.output
    width = out.shape[-1]
    rows = out.size // width
    operands = [integer(x, "input", "x")]
    if table is not None:
        operands.append(Operand("table", "int32", table.size, "constant"))
    spec = KernelSpec(
        layer.node.op,
        "c99",
        (*operands, integer(out, "output", "y")),
        {"template": layer.node.op, "headers": HEADERS, "rows": rows, "width": width, **params},
    )
    steps = cost[0] * rows + cost[1] * x.size
    constants = {} if table is None else {"table": table}
    # A row is summed up before its first result, each of which is the last reader of its element.
    order = element_steps(np.arange(out.size), x.dtype, out.dtype)
    candidate = Candidate(spec, (x.name,), constants, cost=Cost(steps, steps * 4 // 3))
    return sharing(candidate, order, same=True)


def _l2(layer: Layer) -> list[Candidate]:
    return [_candidate(layer, {"zero": tensor_quant(layer.inputs[0])[1]}, (700, 30))]


def _log_softmax(layer: Layer) -> list[Candidate]:
    """Like softmax, exponentials of many int8 numbers come from a table."""
    p = log_softmax_params(layer.node, list(layer.inputs), layer.output)
    params = dict(p._asdict())
    if layer.output.dtype == "int8" and layer.output.size > FEW:
        table = exponentials(p.multiplier, p.left_shift, -p.diff_min)
        return [_candidate(layer, params, (900, 50), table)]
    return [_candidate(layer, params, (900, 270))]


def _write_l2(spec: KernelSpec) -> Written:
    p = spec.params
    kind, width = spec.operands[0].dtype, p["width"]
    bits = RESULT_BITS[kind]
    zero = f" - ({p['zero']})" if p["zero"] else ""
    if kind == "int8":
        total, scale = "int32_t", "ek_norm_inverse_sqrt(squares, &shift)"
        value = f"ek_clamp8(ek_multiply(v, scale, shift + {bits}), -128, 127)"
    else:
        total, scale = "uint64_t", "ek_norm_inverse_root(squares, &shift)"
        value = f"ek_clamp16(ek_norm_scaled(v, scale, {62 - bits} - shift), -32768, 32767)"
    text = f"""\
void {spec.name}(const {C_TYPES[kind]} *x, {C_TYPES[kind]} *y)
{{
    for (int32_t at = 0; at < {p["rows"] * width}; at += {width}) {{
        {total} squares = 0;
        for (int32_t c = at; c < at + {width}; ++c) {{
            const int32_t v = x[c]{zero};
            squares += ({total})(v * v);
        }}
        int32_t shift;
        const int32_t scale = {scale};
        for (int32_t c = at; c < at + {width}; ++c) {{
            const int32_t v = x[c]{zero};
            y[c] = {value};
        }}
    }}
}}
"""
    return Written(text, {}, 0)


def _write_log_softmax(spec: KernelSpec) -> Written:
    p = spec.params
    kind, width = spec.operands[0].dtype, p["width"]
    info = np.iinfo(kind)
    zero_point, shift = RESULTS[kind][1], RESULT_SHIFT[kind]
    least = p["diff_min"] - 1
    scale = f"{p['multiplier']}, {p['left_shift']}"
    reverse = f"{p['reverse_multiplier']}, {p['reverse_shift']}"
    exponential = f"ek_softmax_exp(largest - x[c], {scale}, {-p['diff_min']})"
    table = ""
    if len(spec.operands) == 3:
        exponential, table = "table[largest - x[c]]", "const int32_t *table, "
    text = f"""\
void {spec.name}(const {C_TYPES[kind]} *x, {table}{C_TYPES[kind]} *y)
{{
    for (int32_t at = 0; at < {p["rows"] * width}; at += {width}) {{
        int32_t largest = x[at];
        for (int32_t c = at + 1; c < at + {width}; ++c) {{
            largest = ek_max(largest, x[c]);
        }}
        int32_t sum = 0;
        for (int32_t c = at; c < at + {width}; ++c) {{
            const int32_t e = {exponential};
            sum += ek_rounding_shift(e, 12);
        }}
        const int32_t log = ek_norm_log(sum);
        const int32_t below = ek_multiply(log + INT32_MIN, {reverse});
        const int32_t least = ek_max({least}, below);
        for (int32_t c = at; c < at + {width}; ++c) {{
            const int32_t difference = x[c] - largest;
            if (difference > least) {{
                const int32_t scaled = ek_multiply(difference, {scale});
                const int32_t value = ek_rounding_shift(scaled - log, {shift}) + {zero_point};
                y[c] = ek_clamp{kind[3:]}(value, {info.min}, {info.max});
            }} else {{
                y[c] = {info.min};
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (
    Template("l2_normalize", ("l2_normalize",), _l2, _write_l2),
    Template("log_softmax", ("log_softmax",), _log_softmax, _write_log_softmax),
)
