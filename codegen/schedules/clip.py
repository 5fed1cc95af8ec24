"""clip: requantization and a clamp."""

from __future__ import annotations

from typing import Any

from codegen.kernel import Candidate, Family, Layer
from codegen.schedules import _elementwise
from edgekit.ops.requant import clip_params, tensor_quant


def _select(layer: Layer) -> Candidate:
    params = clip_params(layer.node, list(layer.inputs), layer.output)._asdict()
    points = [tensor_quant(v)[1] for v in (layer.inputs[0], layer.output)]
    return _elementwise.select("clip", layer, {**params, "zero_points": points})


def _schedule(p: dict[str, Any]) -> Any:
    from codegen.tvm_api import call, int32

    zx, zy = p["zero_points"]

    def value(x: Any) -> Any:
        numbers = (p["multiplier"], p["shift"], zy, p["qmin"], p["qmax"])
        return call("int8", "ek_requantize", x - zx, *(int32(n) for n in numbers))

    return _elementwise.schedule(p, value)


FAMILIES = {"c99": Family(_select, _schedule)}
