"""clip: requantization and a clamp."""

from __future__ import annotations

from typing import Any

from codegen.int8 import integers_only
from codegen.kernel import Candidate, Family, Layer
from codegen.schedules import _elementwise
from codegen.schedules._requant import requantized
from edgekit.ops.requant import clip_params, tensor_quant


def _select(layer: Layer) -> Candidate:
    integers_only(layer)
    params = clip_params(layer.node, list(layer.inputs), layer.output)._asdict()
    points = [tensor_quant(v)[1] for v in (layer.inputs[0], layer.output)]
    return _elementwise.select("clip", layer, {**params, "zero_points": points})


def _schedule(p: dict[str, Any]) -> Any:
    zx, zy = p["zero_points"]

    def value(x: Any) -> Any:
        numbers = (p["multiplier"], p["shift"], zy, p["qmin"], p["qmax"])
        return requantized(p["y_dtype"], x.astype("int32") - zx, *numbers)

    return _elementwise.schedule(p, value)


FAMILIES = {"c99": Family(_select, _schedule)}
