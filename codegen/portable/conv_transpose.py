"""conv_transpose2d: each result gathers the taps that reach it, in plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import (
    C_TYPES,
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from edgekit.errors import EdgekitError
from edgekit.ops import operator
from edgekit.ops import windows as win
from edgekit.ops.requant import channel_requant, tensor_quant

#: Instructions of a product, a tap and a result; nobody counted them on a core.
PER_PRODUCT, PER_TAP, PER_RESULT = 7, 24, 40


def _candidates(layer: Layer) -> list[Candidate]:
    node, (x, w, b), y = layer.node, layer.inputs, layer.output
    if node.attrs.get("float"):
        raise NotApplicable("float32 layers")
    if x.dtype not in ("int8", "int16") or y.dtype not in ("int8", "int16") or b.dtype != "int32":
        raise NotApplicable(f"{x.dtype} with {b.dtype} biases")
    if w.name not in layer.constants or b.name not in layer.constants:
        raise NotApplicable("weights or biases that are no constants")
    check_sums(layer)
    p = channel_requant(node, list(layer.inputs), y)
    groups = int(node.attrs.get("groups", 1))
    params: dict[str, Any] = {
        "template": "conv_transpose",
        "x": list(x.shape[1:]),
        "y": list(y.shape[1:]),
        "w": list(w.shape),
        "groups": groups,
        "strides": list(win.pair(node, "strides", 1)),
        "dilations": list(win.pair(node, "dilations", 1)),
        "pads": list(win.pads_of(node)),
        "clamp": [p.qmin, p.qmax],
        "zero_points": [tensor_quant(v)[1] for v in (x, y)],
    }
    channels = y.shape[3]
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        Operand("w", "int8", w.size, "constant"),
        Operand("bias", "int32", channels, "constant"),
        Operand("multiplier", "int32", channels, "constant"),
        Operand("shift", "int8", channels, "constant"),
        Operand("y", y.dtype, y.size, "output"),
    )
    constants = {
        "w": layer.constants[w.name].reshape(-1),
        "bias": layer.constants[b.name],
        "multiplier": p.multiplier,
        "shift": p.shift.astype(np.int8),
    }
    macs = operator(node.op).macs(node, list(layer.inputs), y)
    steps = PER_PRODUCT * macs + PER_TAP * macs // w.shape[3] + PER_RESULT * y.size
    spec = KernelSpec("conv_transpose2d", "c99", operands, params)
    return [Candidate(spec, (x.name,), constants, cost=Cost(steps, steps * 4 // 3))]


def check_sums(layer: Layer) -> None:
    """Refuse sums that could leave int32 (SPEC, "The edge of int32").

    Raises:
        EdgekitError: E310 with the layer's name and its first such channel.
    """
    x, w, b = layer.inputs
    taps = layer.constants[w.name].astype(np.int64)
    info, zero = np.iinfo(x.dtype), tensor_quant(x)[1]
    largest = max(int(info.max) - zero, zero - int(info.min))
    reach = np.abs(layer.constants[b.name].astype(np.int64)) + largest * np.abs(taps).sum((1, 2, 3))
    if (reach >= 1 << 31).any():
        channel = int(np.argmax(reach >= 1 << 31))
        raise EdgekitError(
            "E310",
            f"layer '{layer.name}', channel {channel}: an accumulator can reach {reach[channel]}, "
            f"int32 holds {(1 << 31) - 1}",
            help="quantize the model again: its biases or weights are out of all proportion",
        )


def _write(spec: KernelSpec) -> Written:
    p, x, y = spec.params, spec.operands[0], spec.operands[-1]
    (h, width, c), (oh, ow, channels), (_, kh, kw, depth) = p["x"], p["y"], p["w"]
    (sh, sw), (dh, dw), (top, left, _, _) = p["strides"], p["dilations"], p["pads"]
    zero, zero_out = p["zero_points"]
    low, high = p["clamp"]
    suffix = "16" if y.dtype == "int16" else ""
    group = f" + (o / {channels // p['groups']}) * {depth}" if p["groups"] > 1 else ""
    pixel = f"({_over('down', sh)} * {width} + {_over('across', sw)})"
    numbers = f"{zero_out}, {low}, {high}"
    text = f"""\
void {spec.name}(const {C_TYPES[x.dtype]} *restrict x, const int8_t *restrict w,
    const int32_t *restrict bias, const int32_t *restrict multiplier,
    const int8_t *restrict shift, {C_TYPES[y.dtype]} *restrict y)
{{
    for (int32_t row = 0; row < {oh}; ++row) {{
        for (int32_t column = 0; column < {ow}; ++column) {{
            const int8_t *tap = w;
            for (int32_t o = 0; o < {channels}; ++o) {{
                int32_t sum = bias[o];
                for (int32_t i = 0; i < {kh}; ++i) {{
                    /* Between the rows of x that this tap was spread from, or on one. */
                    const int32_t down = row + {top} - i * {dh};
                    for (int32_t j = 0; j < {kw}; ++j, tap += {depth}) {{
                        const int32_t across = column + {left} - j * {dw};
                        if (down < 0 || across < 0 || {_between("down", sh, h)}
                            || {_between("across", sw, width)}) {{
                            continue;
                        }}
                        const {C_TYPES[x.dtype]} *from = x + {pixel} * {c}{group};
                        for (int32_t k = 0; k < {depth}; ++k) {{
                            sum += (from[k] - ({zero})) * tap[k];
                        }}
                    }}
                }}
                *y++ = ek_requantize{suffix}(sum, multiplier[o], shift[o], {numbers});
            }}
        }}
    }}
}}
"""
    return Written(text, {}, 0)


def _between(place: str, stride: int, size: int) -> str:
    """C condition that no pixel of x lies at `place`, which is not negative."""
    beyond = f"{place} > {(size - 1) * stride}"
    return beyond if stride == 1 else f"{beyond} || {place} % {stride} != 0"


def _over(place: str, stride: int) -> str:
    return place if stride == 1 else f"{place} / {stride}"


TEMPLATES = (Template("conv_transpose", ("conv_transpose2d",), _candidates, _write),)
