"""concat: each operand into its place, requantized where its scale is not the result's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from codegen.kernel import C_TYPES, Candidate, Cost, KernelSpec, Layer, Operand, Template, Written
from codegen.portable._moves import Copy, Loop, copy_text, merged
from edgekit.ops.concat import rescale
from edgekit.ops.movement import axis_of
from edgekit.ops.requant import tensor_quant

#: Instructions of a requantization; nobody counted them on a core.
REQUANTIZE = 20


def _candidates(layer: Layer) -> list[Candidate]:
    node, out, axis = layer.node, layer.output, axis_of(layer.node)
    outer, inner = math.prod(out.shape[:axis]), math.prod(out.shape[axis + 1 :])
    whole = out.shape[axis] * inner
    operands, inputs, constants, parts = [], [], {}, []
    cost, at = Cost(10, 15), 0
    for i, value in enumerate(layer.inputs):
        block = value.shape[axis] * inner
        copy = Copy(tuple(merged([Loop(outer, block, whole), Loop(block, 1, 1)])), target=at)
        at += block
        data = layer.constants.get(value.name)
        operands.append(
            Operand(f"x{i}", value.dtype, value.size, "input" if data is None else "constant")
        )
        if data is None:
            inputs.append(value.name)
        else:
            constants[f"x{i}"] = np.ascontiguousarray(data)
        part: dict[str, Any] = copy.params()
        p = rescale(node, value, out)
        if p is None:
            cost += copy.cost(value.dtype)
        else:
            zeros = [tensor_quant(v)[1] for v in (value, out)]
            part["rescale"] = [zeros[0], p.multiplier, p.shift, zeros[1], p.qmin, p.qmax]
            cost += Cost(REQUANTIZE, 2 * REQUANTIZE) * value.size
        parts.append(part)
    operands.append(Operand("y", out.dtype, out.size, "output"))
    spec = KernelSpec("concat", "c99", tuple(operands), {"template": "concat", "parts": parts})
    return [Candidate(spec, tuple(inputs), constants, cost=cost)]


def _write(spec: KernelSpec) -> Written:
    *operands, y = spec.operands
    kind = C_TYPES[y.dtype]
    parameters = [*(f"const {kind} *restrict {o.name}" for o in operands), f"{kind} *restrict y"]
    body = []
    for operand, part in zip(operands, spec.params["parts"], strict=True):
        value = None
        if "rescale" in part:
            zero, *numbers = part["rescale"]
            suffix = "16" if y.dtype == "int16" else ""
            value = f"ek_requantize{suffix}({{}} - ({zero}), {', '.join(map(str, numbers))})"
        body.append(copy_text(part, y.dtype, x=operand.name, value=value))
    text = "\n".join(body)
    return Written(f"void {spec.name}({', '.join(parameters)})\n{{\n{text}\n}}\n", {}, 0)


TEMPLATES = (Template("concat", ("concat",), _candidates, _write),)
