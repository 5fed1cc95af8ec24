"""mul: the product of two tensors, requantized."""

from __future__ import annotations

from typing import Any

from codegen.kernel import Candidate, Family, Layer
from codegen.schedules import _elementwise, _float
from codegen.schedules._requant import requantized
from edgekit.ops.requant import mul_params, tensor_quant


def _select(layer: Layer) -> Candidate:
    if _float.is_float(layer):
        return _elementwise.select("mul", layer, _float.params(layer))
    params = mul_params(layer.node, list(layer.inputs), layer.output)._asdict()
    points = [tensor_quant(v)[1] for v in (*layer.inputs, layer.output)]
    return _elementwise.select("mul", layer, {**params, "zero_points": points})


def _schedule(p: dict[str, Any]) -> Any:
    if p.get("float"):
        return _elementwise.schedule(p, _float.elementwise(p, lambda a, b: a * b))
    za, zb, zy = p["zero_points"]

    def value(a: Any, b: Any) -> Any:
        numbers = (p["multiplier"], p["shift"], zy, p["qmin"], p["qmax"])
        return requantized(
            p["y_dtype"], (a.astype("int32") - za) * (b.astype("int32") - zb), *numbers
        )

    return _elementwise.schedule(p, value)


FAMILIES = {"c99": Family(_select, _schedule)}
