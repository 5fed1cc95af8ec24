"""average_pool2d: a sum over the window, divided by the number of real pixels in it."""

from __future__ import annotations

from typing import Any

from codegen.kernel import Candidate, Family, Layer, NotApplicable
from codegen.schedules import _pool
from codegen.schedules._requant import clamped
from edgekit.ops import windows as win
from edgekit.ops.pooling import counts_padding


def _select(layer: Layer) -> Candidate:
    if win.pair(layer.node, "dilations", 1) != (1, 1):
        raise NotApplicable("dilations")
    if counts_padding(layer.node):
        raise NotApplicable("the divisor counts padding")
    return _pool.select("average_pool2d", layer)


def _real(first: Any, taps: int, size: int, always: bool) -> Any:
    """How many of `taps` indices from `first` on lie in 0..size-1."""
    from tvm import te

    return taps if always else te.min(first + taps, size) - te.max(first, 0)


def _schedule(p: dict[str, Any]) -> Any:
    from tvm import te

    from codegen.tvm_api import call, int32

    top, left, bottom, right = p["pads"]
    low, high = p["clamp"]

    def finish(total: Any, oh: Any, ow: Any) -> Any:
        rows = _real(oh * p["strides"][0] - top, p["kernel"][0], p["H"], not top and not bottom)
        columns = _real(ow * p["strides"][1] - left, p["kernel"][1], p["W"], not left and not right)
        count = rows * columns
        mean = call("int32", "ek_average", total, int32(count) if isinstance(count, int) else count)
        return clamped(p["y_dtype"], mean, low, high, saturate=False)

    return _pool.schedule(p, lambda value, axes: te.sum(value, axis=axes), 0, finish)


FAMILIES = {"c99": Family(_select, _schedule)}
