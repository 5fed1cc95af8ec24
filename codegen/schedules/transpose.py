"""transpose: a copy in another order of axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import Candidate, Family, KernelSpec, Layer, Operand
from codegen.overlap import element_steps, sharing


def _select(layer: Layer) -> Candidate:
    spec = KernelSpec(
        "transpose",
        "c99",
        (
            Operand("x", layer.inputs[0].dtype, layer.inputs[0].size, "input"),
            Operand("y", layer.output.dtype, layer.output.size, "output"),
        ),
        {
            "shape": list(layer.inputs[0].shape),
            "perm": list(layer.node.attrs["perm"]),
            **layer.types,
        },
    )
    x = layer.inputs[0]
    read = np.arange(x.size).reshape(x.shape).transpose(spec.params["perm"])
    return sharing(Candidate(spec, (x.name,), {}), element_steps(read, x.dtype, layer.output.dtype))


def _schedule(p: dict[str, Any]) -> Any:
    from tvm import s_tir, te

    perm = p["perm"]
    x = te.placeholder(p["shape"], p["x_dtype"], name="x")

    def element(*index: Any) -> Any:
        return x[tuple(index[perm.index(axis)] for axis in range(len(perm)))]

    y = te.compute([p["shape"][axis] for axis in perm], element, name="y")
    return s_tir.Schedule(te.create_prim_func([x, y]))


FAMILIES = {"c99": Family(_select, _schedule)}
