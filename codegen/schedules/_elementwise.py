"""Element by element kernels with numpy broadcasting of their operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from codegen.kernel import Candidate, KernelSpec, Layer, Operand
from codegen.overlap import element_steps, sharing


def select(op: str, layer: Layer, params: dict[str, Any]) -> Candidate:
    """Operands are named a, b, …; those that are graph constants become kernel constants."""
    operands, inputs, constants = [], [], {}
    shapes = []
    for letter, value in zip("ab", layer.inputs, strict=False):
        data = layer.constants.get(value.name)
        role = "input" if data is None else "constant"
        operands.append(Operand(letter, value.dtype, value.size, role))
        shapes.append(list(value.shape))
        if data is None:
            inputs.append(value.name)
        else:
            constants[letter] = np.ascontiguousarray(data)
    operands.append(Operand("y", layer.output.dtype, layer.output.size, "output"))
    spec = KernelSpec(
        op,
        "c99",
        tuple(operands),
        {
            "shapes": shapes,
            "dtypes": [value.dtype for value in layer.inputs],
            "out": list(layer.output.shape),
            "y_dtype": layer.output.dtype,
            **params,
        },
    )
    first = next(v for v in layer.inputs if v.name not in layer.constants)
    read = np.broadcast_to(np.arange(first.size).reshape(first.shape), layer.output.shape)
    steps = element_steps(read, first.dtype, layer.output.dtype)
    return sharing(Candidate(spec, tuple(inputs), constants), steps)


def schedule(p: dict[str, Any], value: Callable[..., Any]) -> Any:
    """`value(*elements)` is the TE expression of one output element; the elements are in the
    operands' dtypes."""
    from tvm import s_tir, te

    batch = 1 if p["out"][:1] == [1] else 0  # axes in front that are the batch
    out = list(p["out"][batch:]) or [1]
    tensors = []
    for letter, shape, dtype in zip("ab", p["shapes"], p["dtypes"], strict=False):
        padded = [1] * (len(p["out"]) - len(shape)) + shape
        tensors.append(te.placeholder(padded[batch:] or [1], dtype, name=letter))

    def element(*index: Any) -> Any:
        picked = []
        for tensor in tensors:
            at = [i if int(d) > 1 else 0 for i, d in zip(index, tensor.shape, strict=True)]
            picked.append(tensor[tuple(at)])
        return value(*picked)

    y = te.compute(out, element, name="y")
    sch = s_tir.Schedule(te.create_prim_func([*tensors, y]))
    if all([1] * (len(p["out"]) - len(s)) + s == p["out"] for s in p["shapes"]):
        sch.fuse(*sch.get_loops(sch.get_sblock("y")))
    return sch
