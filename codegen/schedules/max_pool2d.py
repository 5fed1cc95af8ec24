"""max_pool2d: the largest real pixel of the window."""

from __future__ import annotations

from typing import Any

from codegen.kernel import Candidate, Family, Layer
from codegen.schedules import _pool


def _select(layer: Layer) -> Candidate:
    return _pool.select("max_pool2d", layer)


def _schedule(p: dict[str, Any]) -> Any:
    from tvm import te

    from codegen.tvm_api import call, int32

    low, high = p["clamp"]

    def finish(largest: Any, oh: Any, ow: Any) -> Any:
        return call("int8", "ek_clamp8", largest, int32(low), int32(high))

    return _pool.schedule(p, lambda value, axes: te.max(value, axis=axes), -128, finish)


FAMILIES = {"c99": Family(_select, _schedule)}
