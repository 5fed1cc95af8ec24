"""gru: unit by unit, the state in place of its result; products read the row of y before."""

from __future__ import annotations

from codegen.kernel import BYTES, C_TYPES, Candidate, KernelSpec, Layer, Template, Written
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
    c_type = C_TYPES[kind]
    term = cells.term(p)

    def gate(number: int, name: str, at: int) -> str:
        a, b = (cells.scaled_sum(p, kind, n, half, number, at) for half, n in enumerate("ab"))
        return f"""\
            {{
                const {term} of_x = {a};
                const {term} of_h = {b};
                {name} = ek_rec_sigmoid(table, {cells.gate(p, "of_x", "of_h")});
            }}
"""

    def sums(first: int, last: int) -> str:
        return cells.sums(p, kind, "a", 0, (first, last)) + cells.sums(
            p, kind, "b", 1, (first, last)
        )

    if p["linear_before_reset"]:
        before, declared, sums_of = "", "int32_t z, reset, new, now;", sums(0, 3)
        gates, at = gate(0, "z", 0) + gate(1, "reset", 1), 2
        recurrent = cells.clamped(p, cells.scaled_sum(p, kind, "b", 1, 2, 2))
        recurrent = cells.rescaled(f"reset * {recurrent}", p["unit"])
    else:
        declared, at = "int32_t z, new, now;", 0
        sums_of = sums(0, 1) + cells.sums(p, kind, "c", 0, (2, 3))
        sums_of += cells.sums(p, kind, "d", 1, (2, 3), "part")
        gates = gate(0, "z", 0)
        recurrent = cells.scaled_sum(p, kind, "d", 1, 2, 0)
        part = f"reset * (seen[j] - ({p['zero_point']}))"
        before = f"""\
        for (int32_t j = 0; j < {units}; ++j) {{
            int32_t reset;
{sums(1, 2)}\
{gate(1, "reset", 0)}\
            part[j] = {cells.result(part, p["reset"], kind)};
        }}
"""
    of_new = cells.scaled_sum(p, kind, "a" if at else "c", 0, 2, at)
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
{sums_of}\
{gates}\
            {{
                const {term} of_x = {of_new};
                const {term} of_h = {recurrent};
                new = {cells.clamped(p, "of_x + of_h")};
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
