"""Layers that compute in float32 (SPEC "float32 layers") and have no schedule: plain C loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.overlap import sharing, window_steps
from codegen.portable import _elements as el
from codegen.schedules import _window
from edgekit.graph import Node
from edgekit.ops import windows as win
from edgekit.ops.average_pool2d import divisors
from edgekit.ops.base import clamp_of
from edgekit.ops.exact_float import UNARY
from edgekit.ops.functions import parameters_of

#: Instructions and cycles of an element; nobody counted them on a core.
ELEMENT, EXPONENTIAL = Cost(12, 14), Cost(60, 70)
PER_TAP, PER_RESULT = 16, 30


def literal(x: float) -> str:
    """A float32 in C, exactly."""
    return f"{float(np.float32(x)).hex()}f"


def clamped(node_clamp: list[float | None], y: str) -> str:
    """C text of a clamped float32 expression."""
    low, high = node_clamp
    if low is None and high is None:
        return y
    most = float(np.finfo(np.float32).max)
    bounds = (literal(-most if low is None else low), literal(most if high is None else high))
    return f"ek_clampf({y}, {', '.join(bounds)})"


def clamp_params(node: Node) -> list[float | None]:
    low, high = clamp_of(node)
    return [None if math.isinf(low) else low, None if math.isinf(high) else high]


def _require(layer: Layer) -> None:
    if not layer.node.attrs.get("float"):
        raise NotApplicable("a layer of integers")
    if any(v.dtype != "float32" for v in (*layer.inputs, layer.output)):
        raise NotApplicable("integers go in or out of a float32 layer")


# ---- element by element

BINARY = {
    "sub": "{a} - {b}",
    "minimum": "{a} < {b} ? {a} : {b}",
    "maximum": "{a} > {b} ? {a} : {b}",
    "clip": "{a}",
}


def unary_text(name: str, parameters: dict[str, Any]) -> str:
    """C text of a function of ``v``, as `edgekit.ops.exact_float.UNARY` has it."""
    p = {key: literal(value) for key, value in parameters.items()}
    alpha = p.get("alpha", "")
    return {
        "abs": "v < 0.0f ? -v : v",
        "neg": "-v",
        "square": "v * v",
        "exp": "ek_expf(v)",
        "sigmoid": "ek_sigmoidf(v)",
        "silu": "v * ek_sigmoidf(v)",
        "quick_gelu": f"v * ek_sigmoidf(v * {alpha})",
        "tanh": "2.0f * ek_sigmoidf(2.0f * v) - 1.0f",
        "hard_sigmoid": f"ek_clampf(v * {alpha} + {p.get('beta')}, 0.0f, 1.0f)",
        "hard_swish": f"v * ek_clampf(v * {literal(1 / 6)} + 0.5f, 0.0f, 1.0f)",
        "leaky_relu": f"v < 0.0f ? v * {alpha} : v",
        "thresholded_relu": f"v > {alpha} ? v : 0.0f",
    }[name]


def _elements(op: str) -> Callable[[Layer], list[Candidate]]:
    def candidates(layer: Layer) -> list[Candidate]:
        _require(layer)
        params: dict[str, Any] = {"float": True, "clamp": clamp_params(layer.node)}
        cost = ELEMENT
        if op == "unary":
            name = layer.node.attrs["function"]
            if name not in UNARY:
                raise NotApplicable(f"{name} in float32")
            params |= {"function": name, "parameters": parameters_of(name, layer.node.attrs)}
            cost = EXPONENTIAL
        return [el.candidate(f"float_{op}", layer, params, cost)]

    return candidates


def _write_elements(spec: KernelSpec) -> Written:
    p = spec.params

    def body(at: list[str], to: str) -> str:
        operands = {name: f"{name}[{i}]" for name, i in zip("ab", at, strict=False)}
        if spec.op == "unary":
            value = unary_text(p["function"], p["parameters"])
            return f"const float v = {operands['a']};\ny[{to}] = {clamped(p['clamp'], value)};"
        return f"y[{to}] = {clamped(p['clamp'], BINARY[spec.op].format(**operands))};"

    return Written(el.function(spec, el.loops(p["shapes"], p["out"], body)), {}, 0)


# ---- windows


def _pools(layer: Layer) -> list[Candidate]:
    _require(layer)
    node, x, y = layer.node, layer.inputs[0], layer.output
    kernel = win.pair(node, "kernel")
    params: dict[str, Any] = {
        "template": "float_pools",
        "float": True,
        **_window.params(layer, kernel),
        "clamp": clamp_params(node),
    }
    tables: dict[str, np.ndarray] = {}
    if node.op == "average_pool2d":
        inverse = np.float32(1) / divisors(node, x.shape)[1].astype(np.float32).reshape(-1)
        if (inverse == inverse[0]).all():
            params["inverse"] = float(inverse[0])
        else:
            tables["inverse"] = inverse
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        *(Operand(name, "float32", t.size, "constant") for name, t in tables.items()),
        Operand("y", y.dtype, y.size, "output"),
    )
    steps = y.size * (PER_RESULT + PER_TAP * kernel[0] * kernel[1])
    spec = KernelSpec(node.op, "c99", operands, params)
    found = Candidate(spec, (x.name,), tables, cost=Cost(steps, steps * 3 // 2))
    shape = {**params, "x_dtype": x.dtype, "tile": 1}
    return [sharing(found, window_steps(shape, y.nbytes, y.shape[-1]))]


def _write_pool(spec: KernelSpec) -> Written:
    p = spec.params
    h, w, c, oh, ow = (p[k] for k in ("H", "W", "C", "OH", "OW"))
    top, left = p["pads"][:2]
    (kh, kw), (sh, sw), (dh, dw) = (p[k] for k in ("kernel", "strides", "dilations"))
    mean = spec.op == "average_pool2d"
    table = any(o.name == "inverse" for o in spec.operands)
    inverse = f"inverse[row * {ow} + column]" if table else literal(p.get("inverse", 1))
    first = "0.0f" if mean else literal(float(np.finfo(np.float32).min))
    take = "best += v;" if mean else "best = v > best ? v : best;"
    result = clamped(p["clamp"], f"best * {inverse}" if mean else "best")
    body = f"""\
    for (int32_t row = 0; row < {oh}; ++row) {{
        for (int32_t column = 0; column < {ow}; ++column) {{
            for (int32_t c = 0; c < {c}; ++c) {{
                float best = {first};
                for (int32_t i = 0; i < {kh}; ++i) {{
                    const int32_t at_row = row * {sh} + i * {dh} - {top};
                    for (int32_t j = 0; j < {kw}; ++j) {{
                        const int32_t at = column * {sw} + j * {dw} - {left};
                        if (at_row >= 0 && at_row < {h} && at >= 0 && at < {w}) {{
                            const float v = x[(at_row * {w} + at) * {c} + c];
                            {take}
                        }}
                    }}
                }}
                *y++ = {result};
            }}
        }}
    }}"""
    return Written(el.function(spec, body), {}, 0)


# ---- softmax


def _softmax(layer: Layer) -> list[Candidate]:
    _require(layer)
    x = layer.inputs[0]
    params = {
        "template": "float_softmax",
        "float": True,
        "channels": x.shape[-1],
        "beta": float(np.float32(layer.node.attrs.get("beta", 1.0))),
    }
    operands = (
        Operand("x", x.dtype, x.size, "input", alias=True),
        Operand("y", layer.output.dtype, x.size, "output", alias=True),
    )
    spec = KernelSpec("softmax", "c99", operands, params)
    # Each pass over a row reads an element no later than it writes it.
    return [Candidate(spec, (x.name,), {}, in_place=True, cost=EXPONENTIAL * x.size)]


def _write_softmax(spec: KernelSpec) -> Written:
    p = spec.params
    channels, rows = p["channels"], spec.operands[0].count // p["channels"]
    scaled = "x[c]" if p["beta"] == 1.0 else f"x[c] * {literal(p['beta'])}"
    body = f"""\
    for (int32_t row = 0; row < {rows}; ++row, x += {channels}, y += {channels}) {{
        float best = {scaled.replace("[c]", "[0]")}, total = 0.0f;
        for (int32_t c = 1; c < {channels}; ++c) {{
            const float v = {scaled};
            best = v > best ? v : best;
        }}
        for (int32_t c = 0; c < {channels}; ++c) {{
            y[c] = ek_expf({scaled} - best);
            total += y[c];
        }}
        const float inverse = 1.0f / total;
        for (int32_t c = 0; c < {channels}; ++c) {{
            y[c] = y[c] * inverse;
        }}
    }}"""
    return Written(el.function(spec, body), {}, 0)


TEMPLATES = (
    *(Template(f"float_{op}", (op,), _elements(op), _write_elements) for op in (*BINARY, "unary")),
    Template("float_pools", ("average_pool2d", "max_pool2d"), _pools, _write_pool),
    Template("float_softmax", ("softmax",), _softmax, _write_softmax),
)
