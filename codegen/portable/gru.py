"""gru: unit by unit, the state in place of its result; products read the row of y before."""

from __future__ import annotations

from codegen.kernel import BYTES, Candidate, KernelSpec, Layer, Template, Written
from codegen.portable import cells
from edgekit.ops.gru import gru_params


def _candidates(layer: Layer) -> list[Candidate]:
    p = gru_params(layer.node, list(layer.inputs), list(layer.outputs))
    inner = layer.constants.get(layer.inputs[5].name)
    cell = cells.Cell(layer, 1, p.x, p.h, inner)
    params = cell.params("gru") | {
        "keep": list(p.keep),
        "write": list(p.write),
        "unit": list(p.unit),
        "reset": list(p.reset),
        "zero_point": p.h.zero_point,
        "linear_before_reset": bool(layer.node.attrs.get("linear_before_reset")),
    }
    return [cell.candidate("gru", params, p.read)]


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    units = p["units"]
    kind = next(o.dtype for o in spec.operands if o.name == "y")
    c_type = cells.C_TYPES[kind]
    product = cells.products(p, kind)

    def gate(number: int, name: str) -> str:
        return f"""\
            {{
                const int32_t g = {number}, row = {number * units} + j;
                const {cells.term(p)} a = {product["x"]};
                const {cells.term(p)} b = {product["h"]};
                (void)g;
                {name} = ek_rec_sigmoid(table, {cells.gate(p, "a", "b")});
            }}
"""

    if p["linear_before_reset"]:
        before, declared = "", "int32_t z, reset, new, now;"
        gates = gate(0, "z") + gate(1, "reset")
        recurrent = cells.clamped(p, product["h"])
        recurrent = cells.rescaled(f"reset * {recurrent}", p["unit"])
    else:
        declared, gates, recurrent = "int32_t z, new, now;", gate(0, "z"), product["part"]
        part = f"reset * (seen[j] - ({p['zero_point']}))"
        before = f"""\
        for (int32_t j = 0; j < {units}; ++j) {{
            int32_t reset;
{gate(1, "reset")}\
            part[j] = {cells.result(part, p["reset"], kind)};
        }}
"""
    kept = cells.rescaled("z * state[j]", p["keep"])
    written = cells.rescaled("(32768 - z) * ek_rec_tanh(table, new)", p["write"])
    text = f"""\
{cells.signature(spec, "void *scratch")}
{{
    {c_type} *const part = ({c_type} *)scratch;
    {c_type} *const first = part + {units};
    const {c_type} *seen = first;
    const int16_t *state = h0;
    (void)part;
    for (int32_t j = 0; j < {units}; ++j) {{
        first[j] = {cells.result("h0[j]", p["y"], kind)};
    }}
    for (int32_t n = 0; n < {p["steps"]}; ++n) {{
        const int32_t t = {cells.step_of(p)};
        const {c_type} *const xt = x + t * {p["inputs"]};
        {c_type} *const yt = y + t * {units};
{before}\
        for (int32_t j = 0; j < {units}; ++j) {{
            {declared}
{gates}\
            {{
                const int32_t g = 2, row = {2 * units} + j;
                const {cells.term(p)} a = {product["x"]};
                const {cells.term(p)} b = {recurrent};
                (void)g;
                new = {cells.clamped(p, 'a + b')};
            }}
            now = {kept};
            now = ek_rec_clamp(now + {written});
            h[j] = (int16_t)now;
            yt[j] = {cells.result("now", p["y"], kind)};
        }}
        seen = yt;
        state = h;
    }}
}}
"""
    return Written(text, {}, 2 * units * BYTES[kind])


TEMPLATES = (Template("gru", ("gru",), _candidates, _write),)
