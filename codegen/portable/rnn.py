"""rnn: unit by unit; the state is the row of y before."""

from __future__ import annotations

from codegen.kernel import C_TYPES, Candidate, KernelSpec, Layer, Template, Written
from codegen.portable import cells
from edgekit.ops.rnn import rnn_params


def _candidates(layer: Layer) -> list[Candidate]:
    p = rnn_params(layer.node, list(layer.inputs), list(layer.outputs))
    cell = cells.Cell(layer, 1, p.x, p.h)
    return [cell.candidate("rnn", cell.params("rnn"), p.hidden)]


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    units = p["units"]
    kind = next(o.dtype for o in spec.operands if o.name == "y")
    c_type = C_TYPES[kind]
    scaled = [cells.scaled_sum(p, kind, name, half, 0, 0) for half, name in enumerate("ab")]
    pre = cells.gate(p, "of_x", "of_h")
    text = f"""\
{cells.signature(spec)}
{{
    const {c_type} *seen = h0;
    for (int32_t n = 0; n < {p["steps"]}; ++n) {{
        const int32_t t = {cells.step_of(p)};
        const {c_type} *const xt = x + t * {p["inputs"]};
        {c_type} *const yt = y + t * {units};
        for (int32_t j = 0; j < {units}; ++j) {{
{cells.sums(p, kind, "a", 0, (0, 1))}\
{cells.sums(p, kind, "b", 1, (0, 1))}\
            const {cells.term(p)} of_x = {scaled[0]};
            const {cells.term(p)} of_h = {scaled[1]};
            yt[j] = {cells.result(f"ek_rec_tanh(table, {pre})", p["y"], kind)};
        }}
        seen = yt;
    }}
    memcpy(h, seen, {units} * sizeof *h);
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (Template("rnn", ("rnn",), _candidates, _write),)
