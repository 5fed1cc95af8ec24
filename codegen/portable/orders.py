"""arg, top_k, cumsum and one_hot: what goes along one axis."""

from __future__ import annotations

from typing import Any

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
from codegen.portable._axes import around
from edgekit.ops.cumsum import cumsum_params
from edgekit.ops.movement import axis_of
from edgekit.ops.one_hot import on_and_off
from edgekit.ops.requant import tensor_quant

#: What an accumulator of any dtype is.
WIDE = {"int8": "int32_t", "int16": "int32_t", "int32": "int32_t", "float32": "float"}


def _one(layer: Layer, params: dict[str, Any], steps: int) -> list[Candidate]:
    x = layer.inputs[0]
    if x.name in layer.constants:
        raise NotApplicable("constants")
    names = ["y", "places"][: len(layer.outputs)]
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        *(Operand(n, v.dtype, v.size, "output") for n, v in zip(names, layer.outputs, strict=True)),
    )
    spec = KernelSpec(layer.node.op, "c99", operands, {"template": layer.node.op, **params})
    return [Candidate(spec, (x.name,), {}, cost=Cost(steps, steps * 3 // 2))]


def _head(spec: KernelSpec) -> str:
    parameters = [
        f"{'const ' if o.role == 'input' else ''}{C_TYPES[o.dtype]} *restrict {o.name}"
        for o in spec.operands
    ]
    return f"void {spec.name}({', '.join(parameters)})\n{{"


def _arg(layer: Layer) -> list[Candidate]:
    x, attrs = layer.inputs[0], layer.node.attrs
    if x.dtype not in WIDE:
        raise NotApplicable(f"{x.dtype} operands")
    params = {
        "axes": list(around(x.shape, axis_of(layer.node))),
        "kind": attrs["kind"],
        "last": bool(attrs.get("last")),
    }
    return _one(layer, params, 6 * x.size + 10 * layer.output.size)


def _write_arg(spec: KernelSpec) -> Written:
    p, kind = spec.params, WIDE[spec.operands[0].dtype]
    outer, size, inner = p["axes"]
    better = (">" if p["kind"] == "max" else "<") + ("=" if p["last"] else "")
    text = f"""\
{_head(spec)}
    for (int32_t o = 0; o < {outer}; ++o, x += {size * inner}) {{
        for (int32_t i = 0; i < {inner}; ++i) {{
            {kind} best = x[i];
            int32_t place = 0;
            for (int32_t k = 1; k < {size}; ++k) {{
                const {kind} v = x[k * {inner} + i];
                if (v {better} best) {{
                    best = v;
                    place = k;
                }}
            }}
            *y++ = place;
        }}
    }}
}}
"""
    return Written(text, {}, 0)


def _top_k(layer: Layer) -> list[Candidate]:
    x, attrs = layer.inputs[0], layer.node.attrs
    if x.dtype not in WIDE:
        raise NotApplicable(f"{x.dtype} operands")
    k = int(attrs["k"])
    params = {
        "axes": list(around(x.shape, axis_of(layer.node))),
        "k": k,
        "largest": bool(attrs.get("largest", True)),
    }
    return _one(layer, params, (8 + 3 * k) * x.size)


def _write_top_k(spec: KernelSpec) -> Written:
    p, kind = spec.params, C_TYPES[spec.operands[0].dtype]
    (outer, size, inner), k = p["axes"], p["k"]
    worse = "<" if p["largest"] else ">"
    text = f"""\
{_head(spec)}
    for (int32_t o = 0; o < {outer}; ++o, x += {size * inner}) {{
        for (int32_t i = 0; i < {inner}; ++i, ++y, ++places) {{
            int32_t kept = 0;
            for (int32_t j = 0; j < {size}; ++j) {{
                const {kind} v = x[j * {inner} + i];
                if (kept == {k} && !(y[{(k - 1) * inner}] {worse} v)) {{
                    continue;
                }}
                int32_t at = kept < {k} ? kept++ : {k - 1};
                for (; at > 0 && y[(at - 1) * {inner}] {worse} v; --at) {{
                    y[at * {inner}] = y[(at - 1) * {inner}];
                    places[at * {inner}] = places[(at - 1) * {inner}];
                }}
                y[at * {inner}] = v;
                places[at * {inner}] = j;
            }}
        }}
        y += {(k - 1) * inner};
        places += {(k - 1) * inner};
    }}
}}
"""
    return Written(text, {}, 0)


def _cumsum(layer: Layer) -> list[Candidate]:
    x, y, attrs = layer.inputs[0], layer.output, layer.node.attrs
    if x.dtype not in ("int8", "int16", "int32"):
        raise NotApplicable(f"{x.dtype} operands")
    params: dict[str, Any] = {
        "axes": list(around(x.shape, axis_of(layer.node))),
        "exclusive": bool(attrs.get("exclusive")),
        "reverse": bool(attrs.get("reverse")),
    }
    if y.quant is not None:
        p = cumsum_params(layer.node, list(layer.inputs), y)
        params |= {**p._asdict(), "zero_points": [tensor_quant(v)[1] for v in (x, y)]}
    return _one(layer, params, 30 * x.size)


def _write_cumsum(spec: KernelSpec) -> Written:
    p, y = spec.params, spec.operands[1]
    outer, size, inner = p["axes"]
    start, take, result = "0", "x[at]", "(int32_t)sum"
    if "multiplier" in p:
        z_x, z_y = p["zero_points"]
        start, take = f"(uint32_t)({p['start']})", f"x[at] - ({z_x})"
        shifted = f"(int32_t)(sum << {p['left_shift']})"
        result = (
            f"ek_requantize{'16' if y.dtype == 'int16' else ''}({shifted}, {p['multiplier']}, "
            f"{p['shift']}, {z_y}, {p['qmin']}, {p['qmax']})"
        )
    lines = [f"sum += (uint32_t)({take});", f"y[at] = {result};"]
    body = "\n                ".join(lines[::-1] if p["exclusive"] else lines)
    place = f"{size - 1} - k" if p["reverse"] else "k"
    text = f"""\
{_head(spec)}
    for (int32_t o = 0; o < {outer}; ++o, x += {size * inner}, y += {size * inner}) {{
        for (int32_t i = 0; i < {inner}; ++i) {{
            uint32_t sum = {start};
            for (int32_t k = 0; k < {size}; ++k) {{
                const int32_t at = ({place}) * {inner} + i;
                {body}
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


def _one_hot(layer: Layer) -> list[Candidate]:
    x, y = layer.inputs[0], layer.output
    if y.dtype not in C_TYPES:
        raise NotApplicable(f"{y.dtype} results")
    outer, depth, inner = around(y.shape, axis_of(layer.node))
    on, off = on_and_off(layer.node, y)
    cast = float if y.dtype == "float32" else int
    params = {
        "axes": [outer, depth, inner],
        "on": cast(on),
        "off": cast(off),
        "wrap": bool(layer.node.attrs.get("wrap")),
    }
    return _one(layer, params, 4 * y.size + 12 * x.size)


def _write_one_hot(spec: KernelSpec) -> Written:
    p, y = spec.params, spec.operands[1]
    outer, depth, inner = p["axes"]
    on, off = (f"{v!r}f" if y.dtype == "float32" else str(v) for v in (p["on"], p["off"]))
    wrap = f"x[i] < 0 ? x[i] + {depth} : x[i]" if p["wrap"] else "x[i]"
    text = f"""\
{_head(spec)}
    for (int32_t i = 0; i < {y.count}; ++i) {{
        y[i] = {off};
    }}
    for (int32_t o = 0; o < {outer}; ++o, x += {inner}, y += {depth * inner}) {{
        for (int32_t i = 0; i < {inner}; ++i) {{
            const int32_t at = {wrap};
            if (at >= 0 && at < {depth}) {{
                y[at * {inner} + i] = {on};
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (
    Template("arg", ("arg",), _arg, _write_arg),
    Template("top_k", ("top_k",), _top_k, _write_top_k),
    Template("cumsum", ("cumsum",), _cumsum, _write_cumsum),
    Template("one_hot", ("one_hot",), _one_hot, _write_one_hot),
)
