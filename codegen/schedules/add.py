"""add: both operands to a common scale, their sum to the output's."""

from __future__ import annotations

from typing import Any

from codegen.kernel import Candidate, Family, Layer
from codegen.schedules import _elementwise, _float
from codegen.schedules._requant import requantized
from edgekit.ops.requant import add_params, tensor_quant


def _select(layer: Layer) -> Candidate:
    if _float.is_float(layer):
        return _elementwise.select("add", layer, _float.params(layer))
    params = add_params(layer.node, list(layer.inputs), layer.output)._asdict()
    points = [tensor_quant(v)[1] for v in (*layer.inputs, layer.output)]
    return _elementwise.select("add", layer, {**params, "zero_points": points})


def _schedule(p: dict[str, Any]) -> Any:
    from codegen.tvm_api import call, int32

    if p.get("float"):
        return _elementwise.schedule(p, _float.elementwise(p, lambda a, b: a + b))
    za, zb, zy = p["zero_points"]

    def scaled(x: Any, zero_point: int, which: str) -> Any:
        wide = (x.astype("int32") - zero_point) * (1 << p["left_shift"])
        return call(
            "int32",
            "ek_multiply",
            wide,
            int32(p["multiplier_" + which]),
            int32(p["shift_" + which]),
        )

    def value(a: Any, b: Any) -> Any:
        numbers = (p["multiplier_out"], p["shift_out"], zy, p["qmin"], p["qmax"])
        return requantized(p["y_dtype"], scaled(a, za, "a") + scaled(b, zb, "b"), *numbers)

    return _elementwise.schedule(p, value)


FAMILIES = {"c99": Family(_select, _schedule)}
