"""The epilogue of conv-like kernels: packing per-channel integers, and applying them."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import Channels
from codegen.kernel import NotApplicable


def general(channels: Channels) -> np.ndarray:
    """int32 [O, 3]: bias, multiplier, shift, for ``ek_requantize``."""
    return np.stack([channels.bias, channels.multiplier, channels.shift], 1).astype(np.int32)


def dsp(channels: Channels) -> np.ndarray:
    """int32 [O, 3] for accumulators of doubled activations.

    2 * bias, multiplier, 2^(32 - e) for ``ek_rescale`` where that is exact; as `general` elsewhere.

    Raises:
        NotApplicable: where twice the accumulator does not fit into 32 bits.
    """
    if channels.bound >= 1 << 30:
        raise NotApplicable(f"an accumulator can reach {channels.bound}, the limit is 2^30")
    if not channels.cheap:
        return general(channels)
    power = np.int64(1) << (32 + channels.shift.astype(np.int64))
    return np.stack([2 * channels.bias, channels.multiplier, power], 1).astype(np.int32)


def portable(channels: Channels) -> np.ndarray:
    """int32 [O, 3] for `apply_portable`: the third is the right shift less one where that is
    exact for every channel (``ek_rescaled_right``), and as in `general` elsewhere."""
    packed = general(channels)
    if channels.cheap:
        packed[:, 2] = -packed[:, 2] - 1
    return packed


def apply_portable(p: dict[str, Any], acc: Any, rq: Any, channel: Any) -> Any:
    """TE expression: the result of an accumulator without its bias; `p` has "right" where the
    table's shifts are those of `portable`."""
    from codegen.tvm_api import call, int32

    if not p["right"]:
        return apply_general(p, acc, rq, channel)
    biased, (low, high) = acc + rq[channel, 0], p["clamp"]
    y = call("int32", "ek_rescaled_right", biased, rq[channel, 1], rq[channel, 2], int32(p["zy"]))
    return clamped(p["y_dtype"], y, low, high, saturate=False)


def params(channels: Channels) -> dict[str, Any]:
    """What the epilogue bakes into the code."""
    return {
        "zx": channels.input_zero_point,
        "zy": channels.output_zero_point,
        "clamp": [channels.qmin, channels.qmax],
        "relu": channels.relu,
        **channels.types,
    }


def apply_general(p: dict[str, Any], acc: Any, rq: Any, channel: Any) -> Any:
    """TE expression: the result of an accumulator without its bias."""
    low, high = p["clamp"]
    return requantized(
        p["y_dtype"],
        acc + rq[channel, 0],
        rq[channel, 1],
        rq[channel, 2],
        p["zy"],
        low,
        high,
    )


def apply(p: dict[str, Any], acc: Any, rq: Any, channel: Any, *, doubled: bool) -> Any:
    """TE expression: the result of an accumulator (twice it where `doubled`) without its bias.

    Where every channel's shift allows it, requantization takes three or four instructions.
    """
    if p["cheap"]:
        return apply_cheap(p, acc if doubled else acc * 2, rq, channel)
    return apply_general(p, acc >> 1 if doubled else acc, rq, channel)


def apply_cheap(p: dict[str, Any], acc2: Any, rq: Any, channel: Any) -> Any:
    """TE expression: the result of a doubled accumulator without its doubled bias."""
    from codegen.tvm_api import call, int32

    function = "ek_rescale_relu" if p["relu"] else "ek_rescale"
    y = call(
        "int32", function, acc2 + rq[channel, 0], rq[channel, 1], rq[channel, 2], int32(p["zy"])
    )
    return clamped(p["y_dtype"], y, *p["clamp"])


def requantized(dtype: str, x: Any, *numbers: Any) -> Any:
    """TE expression of `dtype`: multiplier, shift, zero point, least and greatest result."""
    from codegen.tvm_api import call, int32

    function = {"int8": "ek_requantize", "int16": "ek_requantize16"}[dtype]
    return call(dtype, function, x, *(int32(n) if isinstance(n, int) else n for n in numbers))


def clamped(dtype: str, x: Any, low: int, high: int, saturate: bool = True) -> Any:
    """TE expression of `dtype`: an int32 limited to [low, high].

    `saturate` takes the DSP extension's instruction where the limits are those of the dtype.
    """
    from codegen.tvm_api import call, int32

    bits = np.iinfo(dtype).bits
    if saturate and (low, high) == (np.iinfo(dtype).min, np.iinfo(dtype).max):
        return call(dtype, f"ek_ssat{bits}", x)
    return call(dtype, f"ek_clamp{bits}", x, int32(low), int32(high))
