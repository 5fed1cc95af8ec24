"""gather and gather_nd with computed indices, which are limited to the operand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from codegen.kernel import (
    BYTES,
    C_TYPES,
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    Operand,
    Template,
    Written,
)
from codegen.portable._moves import CALL, PER_BYTE, strides_of
from edgekit.ops.gather import batch_dims
from edgekit.ops.movement import axis_of


def _candidate(layer: Layer, params: dict[str, Any], rounds: int, run: int) -> list[Candidate]:
    operands, inputs, constants = [], [], {}
    for name, value in zip(("x", "indices"), layer.inputs, strict=True):
        data = layer.constants.get(value.name)
        role = "input" if data is None else "constant"
        operands.append(Operand(name, value.dtype, value.size, role))
        if data is None:
            inputs.append(value.name)
        else:
            constants[name] = np.ascontiguousarray(data)
    out = layer.output
    operands.append(Operand("y", out.dtype, out.size, "output"))
    spec = KernelSpec(layer.node.op, "c99", tuple(operands), {**params, "run": run})
    steps = int(rounds * (20 + CALL + PER_BYTE * run * BYTES[out.dtype]))
    return [Candidate(spec, tuple(inputs), constants, cost=Cost(steps, steps * 3 // 2))]


def _gather(layer: Layer) -> list[Candidate]:
    x, indices = layer.inputs
    axis, b = axis_of(layer.node), batch_dims(layer.node)
    shared, outer = math.prod(x.shape[:b]), math.prod(x.shape[b:axis])
    each, run = math.prod(indices.shape[b:]), math.prod(x.shape[axis + 1 :])
    params = {"template": "gather", "loops": [shared, outer, each], "size": x.shape[axis]}
    return _candidate(layer, params, shared * outer * each, run)


def _gather_nd(layer: Layer) -> list[Candidate]:
    x, indices = layer.inputs
    b, depth = batch_dims(layer.node), indices.shape[-1]
    shared, each = math.prod(x.shape[:b]), math.prod(indices.shape[b:-1])
    params = {
        "template": "gather_nd",
        "loops": [shared, each],
        "block": math.prod(x.shape[b:]),
        "sizes": list(x.shape[b : b + depth]),
        "strides": strides_of(x.shape)[b : b + depth],
    }
    return _candidate(layer, params, shared * each, math.prod(x.shape[b + depth :]))


def _head(spec: KernelSpec) -> str:
    kind = C_TYPES[spec.operands[0].dtype]
    return (
        f"void {spec.name}(const {kind} *restrict x, const int32_t *restrict indices,\n"
        f"    {kind} *restrict y)\n{{\n"
    )


def _move(spec: KernelSpec, at: str) -> str:
    """C text that takes the run at element `at` of x and goes on in y."""
    run = spec.params["run"]
    if run == 1:
        return f"*y++ = x[{at}];"
    nbytes = run * BYTES[spec.operands[0].dtype]
    return f"(void)memcpy(y, x + {at}, {nbytes}u);\n{{indent}}y += {run};"


def _write_gather(spec: KernelSpec) -> Written:
    p = spec.params
    (shared, outer, each), size, run = p["loops"], p["size"], p["run"]
    at = f"ek_index(indices[k], {size})" + (f" * {run}" if run != 1 else "")
    move = _move(spec, at).format(indent=" " * 16)
    text = f"""\
{_head(spec)}\
    for (int32_t b = 0; b < {shared}; ++b, indices += {each}) {{
        for (int32_t o = 0; o < {outer}; ++o, x += {size * run}) {{
            for (int32_t k = 0; k < {each}; ++k) {{
                {move}
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


def _write_gather_nd(spec: KernelSpec) -> Written:
    p = spec.params
    shared, each = p["loops"]
    depth = len(p["sizes"])
    terms = [
        f"ek_index(indices[{i}], {size})" + (f" * {stride}" if stride != 1 else "")
        for i, (size, stride) in enumerate(zip(p["sizes"], p["strides"], strict=True))
    ]
    move = _move(spec, "at").format(indent=" " * 12)
    text = f"""\
{_head(spec)}\
    for (int32_t b = 0; b < {shared}; ++b, x += {p["block"]}) {{
        for (int32_t k = 0; k < {each}; ++k, indices += {depth}) {{
            const int32_t at = {" + ".join(terms) or "0"};
            {move}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (
    Template("gather", ("gather",), _gather, _write_gather),
    Template("gather_nd", ("gather_nd",), _gather_nd, _write_gather_nd),
)
