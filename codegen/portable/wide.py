"""Convolutions and fully connected layers of int16 with int64 biases: plain loops.

Sums are int64, or int32 where no input of the network takes them further.
"""

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
from edgekit.ops.accumulators import taps_of
from edgekit.ops.interval import full
from edgekit.ops.requant import channel_requant, is_wide, tensor_quant

#: What `ek_wide_requantize` takes.
MOST_SUM = 1 << 47
#: Instructions of a product and of a result; nobody counted them on a core.
PER_PRODUCT, PER_RESULT = 8, 40


def _largest_sum(layer: Layer, weights: np.ndarray, bias: np.ndarray) -> int:
    """A bound of the magnitude of every sum, in whatever order."""
    largest = int((layer.x_interval or full(layer.inputs[0])).magnitude.max())
    taps = np.abs(weights.astype(np.int64)).reshape(len(weights), -1).sum(1)
    return int((taps * largest + np.abs(bias)).max())


def _candidates(layer: Layer) -> list[Candidate]:
    x, w, b = layer.inputs
    if layer.node.attrs.get("float") or not is_wide(list(layer.inputs)):
        raise NotApplicable("biases that are not int64")
    if w.name not in layer.constants or b.name not in layer.constants:
        raise NotApplicable("weights or biases that are no constants")
    if tensor_quant(x)[1]:
        raise NotApplicable("a zero point other than 0")
    p = channel_requant(layer.node, list(layer.inputs), layer.output)
    weights = taps_of(layer.node.op, layer.constants[w.name])
    bias = layer.constants[b.name].astype(np.int64)
    sum_bound = _largest_sum(layer, weights, bias)
    if sum_bound >= MOST_SUM:
        raise EdgekitError(
            "E310",
            f"layer '{layer.name}': an accumulator can reach {sum_bound}, 47 bits hold "
            f"{MOST_SUM - 1}",
            help="convert the model again: its biases are out of all proportion",
        )
    narrow = sum_bound < 1 << 31
    channels = layer.output.shape[-1]
    params: dict[str, Any] = {
        "template": "wide",
        "layer": layer.node.op,
        "narrow": narrow,
        "x": list(x.shape),
        "y": list(layer.output.shape),
        "taps": list(weights.shape),
        "clamp": [p.qmin, p.qmax],
        "zero_point": tensor_quant(layer.output)[1],
    }
    if layer.node.op != "fully_connected":
        params |= {
            "strides": list(win.pair(layer.node, "strides", 1)),
            "pads": list(win.pads_of(layer.node)),
            "dilations": list(win.pair(layer.node, "dilations", 1)),
            "groups": layer.node.attrs.get("groups", 1),
        }
    operands = (
        Operand("x", x.dtype, x.size, "input"),
        Operand("w", "int8", weights.size, "constant"),
        Operand("bias", "int32" if narrow else "int64", channels, "constant"),
        Operand("multiplier", "int16", channels, "constant"),
        Operand("shift", "int8", channels, "constant"),
        Operand("y", layer.output.dtype, layer.output.size, "output"),
    )
    constants = {
        "w": weights.reshape(-1),
        "bias": bias.astype(operands[2].dtype),
        "multiplier": p.multiplier.astype(np.int16),
        "shift": p.shift.astype(np.int8),
    }
    macs = operator(layer.node.op).macs(layer.node, list(layer.inputs), layer.output)
    steps = PER_PRODUCT * macs + PER_RESULT * layer.output.size
    spec = KernelSpec("wide", "c99", operands, params)
    return [Candidate(spec, (x.name,), constants, cost=Cost(steps, steps * 4 // 3))]


def _result(spec: KernelSpec) -> str:
    """C statement that writes channel o from `acc`."""
    p, kind = spec.params, C_TYPES[spec.operands[-1].dtype]
    low, high = p["clamp"]
    return (
        f"*y++ = ({kind})ek_wide_requantize(acc, multiplier[o], shift[o], {p['zero_point']}, "
        f"{low}, {high});"
    )


def _head(spec: KernelSpec) -> str:
    x, bias, y = (C_TYPES.get(spec.operands[i].dtype, "int64_t") for i in (0, 2, 5))
    return (
        f"void {spec.name}(const {x} *restrict x, const int8_t *restrict w,\n"
        f"    const {bias} *restrict bias, const int16_t *restrict multiplier,\n"
        f"    const int8_t *restrict shift, {y} *restrict y)"
    )


def _matrix(spec: KernelSpec) -> str:
    p = spec.params
    acc = "int32_t" if p["narrow"] else "int64_t"
    depth, channels = p["x"][-1], p["y"][-1]
    rows = int(np.prod(p["x"][:-1]))
    return f"""\
{_head(spec)}
{{
    for (int32_t row = 0; row < {rows}; ++row, x += {depth}) {{
        const int8_t *v = w;
        for (int32_t o = 0; o < {channels}; ++o, v += {depth}) {{
            {acc} acc = bias[o];
            for (int32_t k = 0; k < {depth}; ++k) {{
                acc += x[k] * v[k];
            }}
            {_result(spec)}
        }}
    }}
}}
"""


def _place(p: dict[str, Any], axis: int, name: str) -> tuple[str, str]:
    """C text of the row (axis 0) or column that tap k of a window reads, and when it is none."""
    out, tap = ("row", "r") if axis == 0 else ("column", "s")
    stride, pad, spread = p["strides"][axis], p["pads"][axis], p["dilations"][axis]
    size = p["x"][axis + 1]
    if p["layer"] != "conv_transpose2d":
        text = f"{out} * {stride} - {pad} + {tap} * {spread}"
        return f"const int32_t {name} = {text};", f"{name} < 0 || {name} >= {size}"
    text = f"{out} + {pad} - {tap} * {spread}"
    beyond = f"{name} < 0 || {name} >= {size * stride}"
    return f"const int32_t {name} = {text};", beyond + (f" || {name} % {stride}" * (stride > 1))


def _window(spec: KernelSpec) -> str:
    p = spec.params
    acc = "int32_t" if p["narrow"] else "int64_t"
    (_, _, width, channels), (outputs, rows, columns, depth) = p["x"], p["taps"]
    depthwise = p["layer"] == "depthwise_conv2d"
    per_group = outputs // (channels if depthwise else p["groups"])
    first = f"(o / {per_group}) * {depth}" if outputs != per_group else "0"
    row, no_row = _place(p, 0, "top")
    column, no_column = _place(p, 1, "left")
    step = p["strides"] if p["layer"] == "conv_transpose2d" else [1, 1]
    at_row = "top" if step[0] == 1 else f"top / {step[0]}"
    at_column = "left" if step[1] == 1 else f"left / {step[1]}"
    return f"""\
{_head(spec)}
{{
    for (int32_t row = 0; row < {p["y"][1]}; ++row)
    for (int32_t column = 0; column < {p["y"][2]}; ++column)
    for (int32_t o = 0; o < {outputs}; ++o) {{
        {acc} acc = bias[o];
        for (int32_t r = 0; r < {rows}; ++r) {{
            {row}
            if ({no_row}) {{
                continue;
            }}
            for (int32_t s = 0; s < {columns}; ++s) {{
                {column}
                if ({no_column}) {{
                    continue;
                }}
                const int16_t *u = x + (({at_row}) * {width} + {at_column}) * {channels} + {first};
                const int8_t *v = w + ((o * {rows} + r) * {columns} + s) * {depth};
                for (int32_t c = 0; c < {depth}; ++c) {{
                    acc += u[c] * v[c];
                }}
            }}
        }}
        {_result(spec)}
    }}
}}
"""


def _write(spec: KernelSpec) -> Written:
    matrix = spec.params["layer"] == "fully_connected"
    return Written((_matrix if matrix else _window)(spec), {}, 0)


LAYERS = ("conv2d", "depthwise_conv2d", "fully_connected", "conv_transpose2d")
TEMPLATES = (Template("wide", LAYERS, _candidates, _write),)
