"""depthwise_conv2d with one pixel of results: four channels' taps are read where they lie.

A series of the last few steps is such a layer in streaming models. Nothing is used twice, so that
nothing is kept: the words of two pixels become one pair of taps for each of four channels in six
instructions, and there is no scratch. Weights are int16 pairs.

The stream has for each four channels their biases, weights by two taps, and then for two channels
at a time multipliers and powers. An odd tap at the end comes with its weights in the lower half of
the words of channels 0 and 1, and in the upper half of those of 2 and 3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from codegen.channels import analyse
from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.schedules import _window
from codegen.schedules._int4 import weight_bits
from codegen.thumb import requant
from codegen.thumb.requant import Requant
from codegen.thumb.routine import Routine

CHANNELS = 4
#: Pairs of pixels that are unrolled, at most.
UNROLLED = 8
# Words of the stack, in the order in which LDM takes them.
_X, _Y, _END = range(0, 12, 4)
_FRAME = 3


def _unroll(taps: int) -> int:
    pairs = taps // 2
    return max(n for n in range(1, UNROLLED + 1) if pairs % n == 0)


@cache
def routine(form: str, shift: int, taps: int) -> Routine:
    """``(x, w, y, channels, zero)``: all channels; loops "groups" (of four channels), "pairs"."""
    r = Routine(
        "window", "const int8_t *x", "const int32_t *w", "int8_t *y", "int32_t channels",
        "int32_t zero",
    )  # fmt: skip
    at = r.enter(_FRAME)
    sums = ["r4", "r5", "r6", "r7"]
    r("add r4, r0, r3", f"strd r0, r2, [sp, #{_X}]", f"str r4, [sp, #{_END}]")
    unroll = _unroll(taps)
    with r.until("groups", "r8", "r10"):
        r(f"ldr r0, [sp, #{_X}]", "ldmia r1!, {r4-r7}", f"movw r2, #{taps // 2 // unroll}")
        with r.loop("pairs", "r2"):
            for _ in range(unroll):
                r("ldr r8, [r0]", "ldr r9, [r0, r3]", "add r0, r0, r3, lsl #1")
                r("pkhtb r10, r9, r8, asr #16", "pkhbt r8, r8, r9, lsl #16")
                r("sxtb16 r9, r8", "sxtb16 r8, r8, ror #8")
                r("sxtb16 r11, r10", "sxtb16 r10, r10, ror #8")
                _multiply(r, sums, ["r9", "r8", "r11", "r10"])
        if taps % 2:
            r("ldr r8, [r0]", "sxtb16 r9, r8", "sxtb16 r8, r8, ror #8")
            _multiply(r, sums, ["r9", "r8", "r9", "r8"])
        if form != "fast":
            r(f"ldr lr, [sp, #{at}]")
        for two in (sums[:2], sums[2:]):
            r("ldmia r1!, {r8-r11}")
            requant.emit(r, form, shift, two, ["r8", "r9"], ["r10", "r11"], zero_point="lr")
        r("ldm sp, {r8-r10}", *(f"strb {sums[i]}, [r9, #{i}]" for i in (1, 2, 3)))
        r(f"strb r4, [r9], #{CHANNELS}", f"adds r8, #{CHANNELS}", f"strd r8, r9, [sp, #{_X}]")
    r.leave(_FRAME)
    return r


def _multiply(r: Routine, sums: list[str], pairs: list[str]) -> None:
    for i in (0, 2):
        r("ldmia r1!, {r12, lr}", f"smlad {sums[i]}, {pairs[i]}, r12, {sums[i]}")
        r(f"smlad {sums[i + 1]}, {pairs[i + 1]}, lr, {sums[i + 1]}")


def pack_constants(q: Requant, weights: np.ndarray) -> np.ndarray:
    """int32, see the module's text. `weights` is [O, taps]."""
    count, taps = weights.shape
    scaled = (weights.astype(np.int64) * q.scale[:, None]).astype("<i2")
    halves = np.zeros((count, taps + taps % 2), "<i2")
    halves[:, :taps] = scaled
    if taps % 2:
        upper = np.arange(count) % CHANNELS >= 2
        halves[upper, taps] = halves[upper, taps - 1]
        halves[upper, taps - 1] = 0
    words = halves.view("<i4").reshape(count // CHANNELS, CHANNELS, -1).swapaxes(1, 2)
    pairs = np.stack([q.multiplier, q.power]).reshape(2, -1, 2, 2).transpose(1, 2, 0, 3)
    groups = count // CHANNELS
    parts = [q.bias.reshape(groups, -1), words.reshape(groups, -1), pairs.reshape(groups, -1)]
    return np.concatenate(parts, 1).astype(np.int32).reshape(-1)


def _candidates(layer: Layer) -> list[Candidate]:
    kh, kw, out = layer.inputs[1].shape
    p = _window.params(layer, (kh, kw))
    if layer.types != {"x_dtype": "int8", "y_dtype": "int8"} or layer.node.attrs.get("float"):
        raise NotApplicable("activations are not int8")
    if weight_bits(layer) != 8:
        raise NotApplicable("weights have four bits")
    if p["C"] != out or out % CHANNELS:
        raise NotApplicable(f"{out} channels of {p['C']}")
    if p["OH"] * p["OW"] > 1 or any(p["pads"]) or p["dilations"] != [1, 1]:
        raise NotApplicable("more than one window, padding or dilated taps")
    if kh > 1 and kw != p["W"]:
        raise NotApplicable("the window's pixels do not follow each other")
    taps = kh * kw
    if taps < 2:
        raise NotApplicable("one tap")
    channels = requant.settled(analyse(layer))
    q = requant.plan(channels, channels.weights)
    params = {"template": "depthwise_window", "C": out, "taps": taps, **q.params}
    packed = pack_constants(q, channels.weights)
    x, y = layer.inputs[0], layer.output
    spec = KernelSpec(
        "depthwise_conv2d",
        "thumb_dsp",
        (
            Operand("x", "int8", x.size, "input", alias=True),
            Operand("w", "int32", packed.size, "constant"),
            Operand("y", "int8", y.size, "output", alias=True),
        ),
        params,
    )
    # In place: four channels' taps are read before their results are written over the first.
    return [Candidate(spec, (x.name,), {"w": packed}, in_place=True, cost=_cost(params))]


def _routine(p: dict[str, Any]) -> Routine:
    return routine(p["requant"], p["requant_shift"], p["taps"])


def _cost(p: dict[str, Any]) -> Cost:
    pairs = p["taps"] // 2 // _unroll(p["taps"])
    return _routine(p).cost(groups=p["C"] // CHANNELS, pairs=pairs) + Cost(8, 12)


def _write(spec: KernelSpec) -> Written:
    p, code = spec.params, _routine(spec.params)
    text = (
        f"void {spec.name}(const int8_t *x, const int32_t *w, int8_t *y)\n{{\n"
        f"    {code.name}(x, w, y, {p['C']}, {p['zy']});\n}}\n"
    )
    return Written(text, {code.name: code.text()}, 0)


TEMPLATES = (Template("depthwise_window", ("depthwise_conv2d",), _candidates, _write),)
