"""matmul of two tensors: plain loops over the batch, rows, columns and depth."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import C_TYPES, Candidate, Cost, KernelSpec, Layer, Template, Written
from codegen.portable._text import integer, requantize
from edgekit.graph import Shape
from edgekit.ops.matmul import matmul_params
from edgekit.ops.requant import tensor_quant


def batch_axes(a: Shape, b: Shape) -> list[tuple[int, int, int]]:
    """(length, step in a, step in b) in matrices of each axis of the batch that is longer than 1.

    Adjacent axes along which both steps go on are one.
    """
    lead = np.broadcast_shapes(a, b)
    axes: list[tuple[int, int, int]] = []
    steps = [1, 1]
    for i in range(1, len(lead) + 1):
        sizes = [s[-i] if i <= len(s) else 1 for s in (a, b)]
        step = [n if size > 1 else 0 for n, size in zip(steps, sizes, strict=True)]
        steps = [n * size for n, size in zip(steps, sizes, strict=True)]
        length = int(lead[-i])
        if length == 1:
            continue
        if axes and [axes[-1][0] * s for s in axes[-1][1:]] == step:
            last = axes[-1]
            axes[-1] = (last[0] * length, last[1], last[2])
        else:
            axes.append((length, step[0], step[1]))
    return axes[::-1]


def layer_spec(
    layer: Layer, family: str, template: str
) -> tuple[KernelSpec, tuple[str, ...], dict[str, np.ndarray]]:
    """The spec of a matmul's kernel, the names of its inputs, and its constants."""
    a, b = layer.inputs
    out = layer.output
    p = matmul_params(layer.node, [a, b], out)
    params = {
        "template": template,
        "batch": [list(axis) for axis in batch_axes(a.shape[:-2], b.shape[:-2])],
        "size": [a.shape[-2], a.shape[-1], out.shape[-1]],
        "transpose_b": bool(layer.node.attrs.get("transpose_b")),
        "zeros": [tensor_quant(a)[1], tensor_quant(b)[1]],
        "zero_point": tensor_quant(out)[1],
        **p._asdict(),
    }
    if p.wide:
        params["headers"] = ["ek_wide.h"]
    names, constants, operands = [], {}, []
    for value, name in ((a, "a"), (b, "b")):
        constant = value.name in layer.constants
        operands.append(integer(value, "constant" if constant else "input", name))
        if constant:
            constants[name] = layer.constants[value.name]
        else:
            names.append(value.name)
    operands.append(integer(out, "output", "y"))
    return KernelSpec("matmul", family, tuple(operands), params), tuple(names), constants


def indexed(p: dict[str, Any]) -> tuple[str, str, str]:
    """C text of the loops over the batch, and of what they add to the pointers a and b."""
    rows, depth, columns = p["size"]
    loops, at_a, at_b = "", "", ""
    for i, (length, in_a, in_b) in enumerate(p["batch"]):
        loops += f"for (int32_t i{i} = 0; i{i} < {length}; ++i{i}) "
        at_a += f" + i{i} * {in_a * rows * depth}" if in_a else ""
        at_b += f" + i{i} * {in_b * depth * columns}" if in_b else ""
    return loops, at_a, at_b


def _candidates(layer: Layer) -> list[Candidate]:
    spec, names, constants = layer_spec(layer, "c99", "matmul")
    out = layer.output
    macs = out.size * spec.params["size"][1]
    cost = Cost(4 * macs + 14 * out.size, 6 * macs + 20 * out.size)
    return [Candidate(spec, names, constants, cost=cost)]


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    a, b, y = (o.dtype for o in spec.operands)
    rows, depth, columns = p["size"]
    step, column = (1, depth) if p["transpose_b"] else (columns, 1)
    loops, at_a, at_b = indexed(p)

    def centred(text: str, zero: int) -> str:
        return f"({text}{' - ' if zero >= 0 else ' + '}{abs(zero)})" if zero else text

    left, right = centred("pa[k]", p["zeros"][0]), centred(f"pb[k * {step}]", p["zeros"][1])
    if p["wide"]:
        numbers = [p[k] for k in ("multiplier", "shift", "zero_point", "qmin", "qmax")]
        result = f"({C_TYPES[y]})ek_wide_requantize(acc, {', '.join(map(str, numbers))})"
        kind, product = "int64_t", f"(int64_t){left} * {right}"
    else:
        result, kind, product = requantize("acc", y, p), "int32_t", f"{left} * {right}"
    operands = f"const {C_TYPES[a]} *restrict a, const {C_TYPES[b]} *restrict b"
    text = f"""\
void {spec.name}({operands}, {C_TYPES[y]} *restrict y)
{{
    {loops}{{
        for (int32_t row = 0; row < {rows}; ++row) {{
            for (int32_t column = 0; column < {columns}; ++column) {{
                const {C_TYPES[a]} *pa = a{at_a} + row * {depth};
                const {C_TYPES[b]} *pb = b{at_b} + column * {column};
                {kind} acc = 0;
                for (int32_t k = 0; k < {depth}; ++k) {{
                    acc += {product};
                }}
                *y++ = {result};
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (Template("matmul", ("matmul",), _candidates, _write),)
