"""max_pool2d: the largest real pixel of the window."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import Candidate, Family, Layer
from codegen.schedules import _pool
from codegen.schedules._requant import clamped


def _select(layer: Layer) -> Candidate:
    return _pool.select("max_pool2d", layer)


def _schedule(p: dict[str, Any]) -> Any:
    from tvm import te

    low, high = p["clamp"]
    lowest = int(np.iinfo(p["x_dtype"]).min)

    def finish(largest: Any, oh: Any, ow: Any) -> Any:
        return clamped(p["y_dtype"], largest, low, high, saturate=False)

    return _pool.schedule(p, lambda value, axes: te.max(value, axis=axes), lowest, finish)


FAMILIES = {"c99": Family(_select, _schedule)}
