"""lstm: unit by unit, the cell in place of its result, the hidden state in the row of y before."""

from __future__ import annotations

from codegen.kernel import C_TYPES, Candidate, KernelSpec, Layer, Template, Written
from codegen.portable import cells
from edgekit.ops.lstm import lstm_params


def _candidates(layer: Layer) -> list[Candidate]:
    p = lstm_params(layer.node, list(layer.inputs), list(layer.outputs))
    cell = cells.Cell(layer, 2, p.x, p.h)
    params = cell.params("lstm") | {
        "forget": list(p.forget),
        "write": list(p.write),
        "cell_power": p.cell_power,
        "cell_clip": p.cell_clip,
    }
    return [cell.candidate("lstm", params, p.hidden)]


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    units = p["units"]
    kind = next(o.dtype for o in spec.operands if o.name == "y")
    c_type = C_TYPES[kind]
    at = "g" if p["per_gate"] else f"(j + g * {units})"
    scaled = [cells.scaled(p, kind, f"{name}[g]", half, at) for half, name in enumerate("ab")]
    left = 12 + p["cell_power"]
    inner = f"now * {3 << left}" if left >= 0 else f"(3 * now + {1 << (-left - 1)}) >> {-left}"
    clip = ""
    if p["cell_clip"]:
        clip = f"\n            now = ek_min(ek_max(now, -{p['cell_clip']}), {p['cell_clip']});"
    tanh, sigmoid = "ek_rec_tanh(table, gate[2])", "ek_rec_sigmoid(table, gate[{}])"
    kept = cells.rescaled(f"{sigmoid.format(1)} * cell[j]", p["forget"])
    added = cells.rescaled(f"{sigmoid.format(0)} * {tanh}", p["write"])
    hidden = f"ek_rec_tanh3(table, {inner}) * {sigmoid.format(3)}"
    text = f"""\
{cells.signature(spec)}
{{
    const {c_type} *seen = h0;
    const int16_t *cell = c0;
    for (int32_t n = 0; n < {p["steps"]}; ++n) {{
        const int32_t t = {cells.step_of(p)};
        const {c_type} *const xt = x + t * {p["inputs"]};
        {c_type} *const yt = y + t * {units};
        for (int32_t j = 0; j < {units}; ++j) {{
            int32_t gate[4], now;
{cells.sums(p, kind, "a", 0, (0, 4))}\
{cells.sums(p, kind, "b", 1, (0, 4))}\
            for (int32_t g = 0; g < 4; ++g) {{
                const {cells.term(p)} of_x = {scaled[0]};
                const {cells.term(p)} of_h = {scaled[1]};
                gate[g] = {cells.gate(p, "of_x", "of_h")};
            }}
            now = {kept};
            now = ek_rec_clamp(now + {added});{clip}
            c[j] = (int16_t)now;
            yt[j] = {cells.result(hidden, p["y"], kind)};
        }}
        seen = yt;
        cell = c;
    }}
    memcpy(h, seen, {units} * sizeof *h);
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (Template("lstm", ("lstm",), _candidates, _write),)
