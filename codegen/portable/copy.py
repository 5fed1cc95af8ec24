"""copy: bytes from one place to another."""

from __future__ import annotations

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, Operand, Template, Written
from codegen.overlap import element_steps, sharing


def _copies(layer: Layer) -> list[Candidate]:
    x = layer.inputs[0]
    operands = (
        Operand("x", "uint8", x.nbytes, "input", alias=True),
        Operand("y", "uint8", x.nbytes, "output", alias=True),
    )
    spec = KernelSpec("copy", "c99", operands, {"template": "copy"})
    cost = Cost(x.nbytes // 2 + 20, x.nbytes + 30)
    candidate = Candidate(spec, (x.name,), {}, cost=cost)
    return [sharing(candidate, element_steps(np.arange(x.nbytes), "uint8", "uint8"))]


def _write(spec: KernelSpec) -> Written:
    text = f"""\
void {spec.name}(const uint8_t *x, uint8_t *y)
{{
    (void)memmove(y, x, {spec.operands[0].count}u);
}}
"""
    return Written(text, {}, 0)


TEMPLATES = (Template("copy", ("copy",), _copies, _write),)
