"""The epilogue of conv-like layers: integers per channel in blocks of four, and applying them."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import Channels
from codegen.gpu.layout import BLOCK
from codegen.schedules import _requant


def table(channels: Channels) -> np.ndarray:
    """int32 [ceil(O / 4), 3, 4]: bias, multiplier and shift of each block of channels.

    The shift is that of `codegen.schedules._requant.portable`; the gap requantizes 0 to 0.
    """
    rows = _requant.portable(channels)
    gap = np.zeros((-len(rows) % BLOCK, 3), np.int32)
    blocks = np.concatenate([rows, gap]).reshape(-1, BLOCK, 3)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1))


def params(channels: Channels) -> dict[str, Any]:
    """What the epilogue bakes into the code."""
    return {
        "zx": channels.input_zero_point,
        "zy": channels.output_zero_point,
        "clamp": [channels.qmin, channels.qmax],
        "right": channels.cheap,
        "O": len(channels.bias),
    }


def apply(p: dict[str, Any], acc: Any, rq: Any, block: Any) -> Any:
    """TE expression: four channels of the result, of accumulators without their biases."""
    from codegen.tvm_api import call, int32

    function = "ek_requantize_right4" if p["right"] else "ek_requantize4"
    numbers = map(int32, (p["zy"], *p["clamp"]))
    y = call("int8x4", function, acc + rq[block, 0], rq[block, 1], rq[block, 2], *numbers)
    return lanes(y, block, p["O"])


def result(p: dict[str, Any], acc: Any, rq: Any) -> Any:
    """TE: the layer's result "y" of accumulators [blocks, rows, columns or more]."""
    from tvm import te

    return te.compute(
        (p["OB"], p["OH"], p["OW"]), lambda o, r, q: apply(p, acc[o, r, q], rq, o), name="y"
    )


def lanes(y: Any, block: Any, channels: int) -> Any:
    """TE expression: `y` with zeros in the gap of the last block."""
    from codegen.tvm_api import call, int32

    if channels % BLOCK == 0:
        return y
    return call("int8x4", "ek_lanes4", y, int32(channels) - block * BLOCK)
