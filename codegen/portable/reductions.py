"""reduce: every element of the result from loops over the axes that go."""

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
from codegen.portable._moves import Loop, merged, strides_of
from edgekit.ops.reduce import LARGEST_PRODUCT, axes_of, kind_of, reduce_params
from edgekit.ops.requant import clamp_of_output, tensor_quant

#: Instructions of an element and of a result by kind; nobody counted them on a core.
PER_ELEMENT, PER_RESULT, PER_FLOAT = 6, 40, 90


def _candidates(layer: Layer) -> list[Candidate]:
    node, x, y = layer.node, layer.inputs[0], layer.output
    kind = kind_of(node)
    if x.dtype not in C_TYPES or x.dtype == "float32":
        raise NotApplicable(f"{x.dtype} operands")
    axes, steps = axes_of(node), strides_of(x.shape)
    kept = [Loop(n, s, 0) for i, (n, s) in enumerate(zip(x.shape, steps, strict=True))
            if i not in axes]  # fmt: skip
    gone = [Loop(x.shape[i], steps[i], 0) for i in axes]
    params: dict[str, Any] = {
        "template": "reduce",
        "kind": kind,
        # Loops of the result have no place of their own: it is written in order.
        "kept": [[loop.size, loop.source] for loop in _straight(kept)],
        "gone": [[loop.size, loop.source] for loop in _straight(gone)],
    }
    if kind in ("sum", "mean"):
        p = reduce_params(node, list(layer.inputs), y)
        params |= p._asdict()
        params["zero_points"] = [tensor_quant(v)[1] for v in (x, y)]
        params["count"] = x.size // y.size
    elif kind == "prod":
        params["float"] = True
        params["quants"] = [list(tensor_quant(v)) for v in (x, y)]
        params["clamp"] = list(clamp_of_output(node, y))
    operands = (Operand("x", x.dtype, x.size, "input"), Operand("y", y.dtype, y.size, "output"))
    each = PER_FLOAT if kind == "prod" else PER_ELEMENT
    cost = Cost(each * x.size + PER_RESULT * y.size, each * 2 * x.size + 2 * PER_RESULT * y.size)
    return [Candidate(KernelSpec("reduce", "c99", operands, params), (x.name,), {}, cost=cost)]


def _straight(loops: list[Loop]) -> list[Loop]:
    return merged(Loop(loop.size, loop.source, loop.source) for loop in loops)


def _write(spec: KernelSpec) -> Written:
    p, (x, y) = spec.params, spec.operands
    start, step, result = _parts(p, x.dtype, y.dtype)
    lines = [f"void {spec.name}(const {C_TYPES[x.dtype]} *restrict x, "
             f"{C_TYPES[y.dtype]} *restrict y)", "{"]  # fmt: skip
    depth, at = 1, []
    for k, (size, stride) in enumerate(p["kept"]):
        lines.append(f"{'    ' * depth}for (int32_t i{k} = 0; i{k} < {size}; ++i{k}) {{")
        at.append(f"i{k} * {stride}" if stride != 1 else f"i{k}")
        depth += 1
    lines.append(f"{'    ' * depth}{start}")
    for k, (size, stride) in enumerate(p["gone"]):
        lines.append(f"{'    ' * (depth + k)}for (int32_t k{k} = 0; k{k} < {size}; ++k{k}) {{")
        at.append(f"k{k} * {stride}" if stride != 1 else f"k{k}")
    inner = depth + len(p["gone"])
    read = f"x[{' + '.join(at) or '0'}]"
    lines += ["    " * inner + line for line in step.format(x=read).splitlines()]
    lines += ["    " * (depth + k) + "}" for k in reversed(range(len(p["gone"])))]
    lines.append(f"{'    ' * depth}*y++ = {result};")
    lines += ["    " * k + "}" for k in reversed(range(1, depth))]
    return Written("\n".join([*lines, "}", ""]), {}, 0)


def _parts(p: dict[str, Any], x: str, y: str) -> tuple[str, str, str]:
    """C text of the start of a result, of a step with element {x}, and of the finished result."""
    kind = p["kind"]
    suffix = "16" if y == "int16" else "8"
    if kind in ("any", "all"):
        start = f"uint8_t acc = {int(kind == 'all')};"
        return start, f"acc {'|' if kind == 'any' else '&'}= {{x}};", "acc"
    if kind in ("max", "min"):
        least = {"int8": "INT8", "int16": "INT16", "int32": "INT32"}[x]
        start = f"int32_t acc = {least}_{'MIN' if kind == 'max' else 'MAX'};"
        return start, f"acc = ek_{kind}(acc, {{x}});", f"({C_TYPES[y]})acc"
    if kind == "prod":
        (s_x, z_x), (s_y, z_y) = p["quants"]
        low, high = p["clamp"]
        limit = f"{LARGEST_PRODUCT!r}f"
        return (
            "float acc = 1.0f;",
            f"const float v = ek_dequantize({{x}}, {z_x}, {s_x!r}f);\n"
            f"acc = ek_clampf(acc * v, -{limit}, {limit});",
            f"({C_TYPES[y]})ek_quantize(acc, {s_y!r}f, {z_y}, {low}, {high})",
        )
    z_x, z_y = p["zero_points"]
    first = -z_x * p["count"]
    scaled = f"ek_rescaled(acc, {p['multiplier']}, {p['shift']}, {z_y})"
    return (
        f"int32_t acc = {first};",
        "acc += {x};",
        f"ek_clamp{suffix}({scaled}, {p['qmin']}, {p['qmax']})",
    )


TEMPLATES = (Template("reduce", ("reduce",), _candidates, _write),)
