"""Element by element operators with several operands, and cast: plain C loops that broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Template,
    Written,
)
from codegen.portable import _elements as el
from edgekit.graph import Value
from edgekit.ops.base import INTEGERS
from edgekit.ops.binary_params import (
    compare_params,
    div_params,
    mod_params,
    moved_params,
    prelu_params,
    squared_difference_params,
)
from edgekit.ops.cast import cast_params
from edgekit.ops.compare import compares_as_is
from edgekit.ops.pow import EXP2_TABLE, LOG2_TABLE, pow_params
from edgekit.ops.requant import add_params, tensor_quant

#: Of an element: instructions as the virtual Cortex-M4 counts them, cycles estimated.
COSTS = {
    "sub": Cost(41, 50),
    "squared_difference": Cost(43, 53),
    "mod": Cost(58, 78),
    "div": Cost(350, 430),
    "pow": Cost(90, 115),
    "prelu": Cost(28, 35),
    "minimum": Cost(36, 45),
    "maximum": Cost(36, 45),
    "compare": Cost(20, 26),
    "where": Cost(34, 42),
    "cast": Cost(14, 18),
}
#: Where integers are moved and compared as they are.
PLAIN = Cost(7, 11)
#: Attributes that the text depends on; all others are in the numbers.
ATTRIBUTES = ("kind", "fmod")
SYMBOLS = {
    "equal": "==",
    "not_equal": "!=",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
LOGIC = {"and": "a[{0}] & b[{1}]", "or": "a[{0}] | b[{1}]", "xor": "a[{0}] ^ b[{1}]",
         "not": "a[{0}] ^ 1u"}  # fmt: skip


def _offered(op: str, numbers: Callable[[Layer], dict[str, Any]]) -> Callable[..., list[Candidate]]:
    """`numbers` gives the parameters of a layer of integers; {} where none are needed."""

    def candidates(layer: Layer) -> list[Candidate]:
        kinds = {v.dtype for v in (*layer.inputs, layer.output)}
        if not kinds <= set(el.C_TYPES) - {"float32"}:
            raise NotApplicable(f"operands and result are {', '.join(sorted(kinds))}")
        params = numbers(layer)
        which = {key: layer.node.attrs[key] for key in ATTRIBUTES if key in layer.node.attrs}
        tables = {}
        if op == "pow":
            tables["tables"] = np.concatenate([LOG2_TABLE, EXP2_TABLE])
        cost = COSTS.get(op, PLAIN) if params else PLAIN
        return [el.candidate(op, layer, {**which, **params}, cost, tables)]

    return candidates


def _written(body: Callable[[dict[str, Any], list[str]], str]) -> Callable[[KernelSpec], Written]:
    """`body` gives the statements and the expression of an element's result as ``value``."""

    def write(spec: KernelSpec) -> Written:
        kind = el.C_TYPES[spec.operands[-1].dtype]
        p = spec.params

        def element(at: list[str], y: str) -> str:
            return f"{body(p, at)}\ny[{y}] = ({kind})value;"

        return Written(el.function(spec, el.loops(p["shapes"], p["out"], element)), {}, 0)

    return write


def _zero_points(layer: Layer) -> list[int]:
    return [tensor_quant(v)[1] for v in (*layer.inputs, layer.output)]


def _quantized(params: Callable[..., Any]) -> Callable[[Layer], dict[str, Any]]:
    """Parameters of `params` and zero points; none for int32."""

    def numbers(layer: Layer) -> dict[str, Any]:
        if layer.output.dtype not in INTEGERS:
            return {}
        found = params(layer.node, list(layer.inputs), layer.output)._asdict()
        return {**found, "zero_points": _zero_points(layer)}

    return numbers


def _clamped(p: dict[str, Any], y: str) -> str:
    z = p["zero_points"][-1]
    return f"const int32_t value = ek_element_clamped({y}, {z}, {p['qmin']}, {p['qmax']});"


def _scaled(p: dict[str, Any], k: int, at: str) -> str:
    letter = "ab"[k]
    names = ("left_shift", f"multiplier_{letter}", f"shift_{letter}")
    numbers = ", ".join(str(n) for n in (p["zero_points"][k], *(p[name] for name in names)))
    return f"ek_element_scaled({letter}[{at}], {numbers})"


def _plain(p: dict[str, Any], k: int, at: str) -> str:
    """An operand without its zero point."""
    return f"{'ab'[k]}[{at}] - ({p['zero_points'][k]})"


def _common(combine: str, plain: str) -> Callable[[dict[str, Any], list[str]], str]:
    """Operands u and v on a common scale, combined and rescaled; `plain` for int32."""

    def body(p: dict[str, Any], at: list[str]) -> str:
        if "zero_points" not in p:
            lines = [f"const int32_t u = a[{at[0]}];", f"const int32_t v = b[{at[1]}];"]
            return "\n".join([*lines, f"const int32_t value = {_chosen(plain, p)};"])
        y = f"ek_multiply({_chosen(combine, p)}, {p['multiplier_out']}, {p['shift_out']})"
        return "\n".join(
            [
                f"const int32_t u = {_scaled(p, 0, at[0])};",
                f"const int32_t v = {_scaled(p, 1, at[1])};",
                _clamped(p, y),
            ]
        )

    return body


def _chosen(text: str, p: dict[str, Any]) -> str:
    return text.replace("MOD", "fmod" if p.get("fmod") else "mod")


def _div(p: dict[str, Any], at: list[str]) -> str:
    if "zero_points" not in p:
        return f"const int32_t value = ek_element_divide(a[{at[0]}], b[{at[1]}]);"
    numbers = f"{p['multiplier']}, {p['shift']}"
    y = f"ek_element_quotient({_plain(p, 0, at[0])}, {_plain(p, 1, at[1])}, {numbers})"
    return _clamped(p, y)


def _pow(p: dict[str, Any], at: list[str]) -> str:
    names = ("log_scale", "right", "limit", "multiplier", "shift", "log_out")
    numbers = ", ".join(str(p[name]) for name in names)
    y = f"ek_element_power({_plain(p, 0, at[0])}, {_plain(p, 1, at[1])}, tables, &numbers)"
    return f"static const ek_element_power_t numbers = {{{numbers}}};\n{_clamped(p, y)}"


def _prelu(p: dict[str, Any], at: list[str]) -> str:
    product = f"ek_element_product(x, {_plain(p, 1, at[1])})"
    return "\n".join(
        [
            f"const int32_t x = {_plain(p, 0, at[0])};",
            f"const int32_t scaled = x >= 0"
            f" ? ek_multiply(x, {p['multiplier_identity']}, {p['shift_identity']})"
            f" : ek_multiply({product}, {p['multiplier_slope']}, {p['shift_slope']});",
            _clamped(p, "scaled"),
        ]
    )


# ---- integers that move: minimum, maximum, where


def _moves(first: int) -> Callable[[Layer], dict[str, Any]]:
    """How operands from `first` on become the result's integers; {} where all are the same."""

    def numbers(layer: Layer) -> dict[str, Any]:
        out = layer.output
        if out.quant is None:
            return {}
        moves = [_move(v, out) for v in layer.inputs[first:]]
        return {"moves": moves} if any(moves) else {}

    return numbers


def _move(value: Value, out: Value) -> list[int] | None:
    p = moved_params(value, out)
    if p is None:
        return None
    return [tensor_quant(value)[1], p.multiplier, p.shift, tensor_quant(out)[1], p.qmin, p.qmax]


def _moved(p: dict[str, Any], k: int, element: str) -> str:
    move = p["moves"][k] if "moves" in p else None
    if move is None:
        return element
    z, multiplier, shift, *clamp = move
    y = f"ek_multiply({element} - ({z}), {multiplier}, {shift})"
    return f"ek_element_clamped({y}, {', '.join(map(str, clamp))})"


def _extreme(symbol: str) -> Callable[[dict[str, Any], list[str]], str]:
    def body(p: dict[str, Any], at: list[str]) -> str:
        return "\n".join(
            [
                f"const int32_t u = {_moved(p, 0, f'a[{at[0]}]')};",
                f"const int32_t v = {_moved(p, 1, f'b[{at[1]}]')};",
                f"const int32_t value = u {symbol} v ? u : v;",
            ]
        )

    return body


def _where(p: dict[str, Any], at: list[str]) -> str:
    b, c = _moved(p, 0, f"b[{at[1]}]"), _moved(p, 1, f"c[{at[2]}]")
    return f"const int32_t value = a[{at[0]}] != 0 ? {b} : {c};"


# ---- truth values and casts


def _compare_numbers(layer: Layer) -> dict[str, Any]:
    values = list(layer.inputs)
    if compares_as_is(layer.node, values):
        return {}
    found = compare_params(layer.node, values)._asdict()
    return {**found, "zero_points": [tensor_quant(v)[1] for v in values]}


def _compare(p: dict[str, Any], at: list[str]) -> str:
    symbol = SYMBOLS[p["kind"]]
    if "zero_points" not in p:
        return f"const bool value = a[{at[0]}] {symbol} b[{at[1]}];"
    return "\n".join(
        [
            f"const int32_t u = {_scaled(p, 0, at[0])};",
            f"const int32_t v = {_scaled(p, 1, at[1])};",
            f"const bool value = u {symbol} v;",
        ]
    )


def _logical(p: dict[str, Any], at: list[str]) -> str:
    return f"const uint8_t value = (uint8_t)({LOGIC[p['kind']].format(*at)});"


def _cast_numbers(layer: Layer) -> dict[str, Any]:
    (x,), out = layer.inputs, layer.output
    if out.dtype == "bool":
        return {"from": "number", "zero": tensor_quant(x)[1] if x.dtype in INTEGERS else 0}
    if x.dtype in INTEGERS and out.dtype in INTEGERS:
        return {"from": "quantized", "moves": [_move(x, out)]}
    if x.dtype not in INTEGERS and out.dtype not in INTEGERS:
        return {}
    quantized = x if x.dtype in INTEGERS else out
    info = np.iinfo(out.dtype)
    return {
        **cast_params([x], out)._asdict(),
        "from": "quantized to int32" if quantized is x else "int32",
        "zero_points": [tensor_quant(quantized)[1]],
        "qmin": int(info.min),
        "qmax": int(info.max),
    }


def _cast(p: dict[str, Any], at: list[str]) -> str:
    x, kind = f"a[{at[0]}]", p.get("from")
    if kind is None:
        return f"const int32_t value = {x};"
    if kind == "number":
        return f"const bool value = {x} != {p['zero']};"
    if kind == "quantized":
        return f"const int32_t value = {_moved(p, 0, x)};"
    numbers = f"{p['multiplier']}, {p['shift']}"
    if kind == "quantized to int32":
        fixed = f"ek_multiply({x} - ({p['zero_points'][0]}), {numbers})"
        return f"const int32_t value = ek_element_truncated({fixed}, {p['fraction']});"
    limited = f"ek_min(ek_max({x}, -{p['limit']}), {p['limit']})"
    return _clamped(p, f"ek_multiply({limited}, {numbers})")


_DIFFERENCE = "(int32_t)((uint32_t)u - (uint32_t)v)"
_OPERATORS: dict[str, tuple[Callable[..., dict[str, Any]], Callable[..., str]]] = {
    "sub": (_quantized(add_params), _common("u - v", _DIFFERENCE)),
    "squared_difference": (
        _quantized(squared_difference_params),
        _common(
            "ek_element_product(u - v, u - v)", f"ek_element_product({_DIFFERENCE}, {_DIFFERENCE})"
        ),
    ),
    "mod": (_quantized(mod_params), _common("ek_element_MOD(u, v)", "ek_element_MOD(u, v)")),
    "div": (_quantized(div_params), _div),
    "pow": (_quantized(pow_params), _pow),
    "prelu": (_quantized(prelu_params), _prelu),
    "minimum": (_moves(0), _extreme("<")),
    "maximum": (_moves(0), _extreme(">")),
    "where": (_moves(1), _where),
    "compare": (_compare_numbers, _compare),
    "logical": (lambda layer: {}, _logical),
    "cast": (_cast_numbers, _cast),
}

TEMPLATES = tuple(
    Template(op, (op,), _offered(op, numbers), _written(body))
    for op, (numbers, body) in _OPERATORS.items()
)
