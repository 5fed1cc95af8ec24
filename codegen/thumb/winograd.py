"""conv2d 3x3, stride 1, as integer Winograd: F(2x2, 3x3) with 4 multiplications for every 9.

Exact for every input (docs/DESIGN.md "Winograd, exactly"): the identity has integer coefficients,
so it holds modulo 2^32, and only what is halved or rounded has to be a true integer; that is
proven per channel from the transformed weights, or the layer is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import Channels, analyse
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
from codegen.thumb import _winograd_f2 as f2
from codegen.thumb import requant

#: Columns of a step: two tiles.
STEP = 4
MAX_CHANNELS = 240
#: The largest magnitude of an input transformed in one dimension: a sum of two int8.
TRANSFORMED = 256


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    channels, weights = analysed(layer, p)
    u = f2.transform(weights)
    form = plan(channels, weights, u)
    packed = f2.pack(u * (form.scale // 2)[:, None, None])
    spec_params = {**p, "template": "winograd_f2", **form.params}
    spec_params["zx"] = channels.input_zero_point
    spec = KernelSpec(
        "conv2d",
        "thumb_dsp",
        (
            Operand("x", "int8", layer.inputs[0].size, "input", alias=True),
            Operand("u", "int16", packed.size, "constant"),
            Operand("rq", "int32", 3 * p["O"], "constant"),
            Operand("y", "int8", layer.output.size, "output", alias=True),
        ),
        spec_params,
    )
    return [
        Candidate(
            spec,
            (layer.inputs[0].name,),
            {"u": packed, "rq": pack_requant(form)},
            note="Winograd F(2x2), transformed weights",
            cost=cost(spec_params),
        )
    ]


def params(layer: Layer) -> dict[str, Any]:
    """Shapes of a layer that Winograd tiles take.

    Raises:
        NotApplicable: saying which condition is not met.
    """
    weights = layer.inputs[1]
    p = _window.params(layer, (weights.shape[1], weights.shape[2]))
    p |= {"O": weights.shape[0]}
    if layer.types != {"x_dtype": "int8", "y_dtype": "int8"} or layer.node.attrs.get("float"):
        raise NotApplicable("Winograd works on int8")
    if weight_bits(layer) != 8:
        raise NotApplicable("Winograd takes weights of 8 bits")
    if p["kernel"] != [3, 3] or p["strides"] != [1, 1] or p["dilations"] != [1, 1]:
        raise NotApplicable("Winograd is for 3x3 kernels of stride and dilation 1")
    if layer.node.attrs.get("groups", 1) != 1 or p["C"] % 4 or p["O"] % 2:
        raise NotApplicable("Winograd takes input channels by 4 and output channels by 2")
    if p["C"] > MAX_CHANNELS:
        raise NotApplicable(f"{p['C']} input channels, Winograd takes {MAX_CHANNELS}")
    if p["OW"] < STEP:
        raise NotApplicable(f"rows of {p['OW']} pixels, Winograd takes {STEP} at a time")
    return p


def analysed(layer: Layer, p: dict[str, Any]) -> tuple[Channels, np.ndarray]:
    """Channels and their weights int8 [O, 3, 3, C], constant channels rewritten."""
    w = layer.constants[layer.inputs[1].name]
    channels = analyse(layer, w.reshape(w.shape[0], -1))
    return channels, channels.weights.reshape(p["O"], 3, 3, p["C"])


def plan(channels: Channels, weights: np.ndarray, u: np.ndarray) -> requant.Requant:
    """The cheapest requantization with which all that must not wrap stays in 32 bits.

    Raises:
        NotApplicable: where there is none.
    """
    # The factor 2 of `Requant.scale` is in U already.
    for offered in (-(-np.abs(u) // 2), None):
        form = requant.plan(channels, offered)
        scaled = np.abs(u) * (form.scale // 2)[:, None, None]
        if halves_fit(form, weights) and int(scaled.max()) < 1 << 15:
            return form
    raise NotApplicable("sums of transformed rows can leave 32 bits")


def halves_fit(form: requant.Requant, weights: np.ndarray) -> bool:
    """Whether row 1 and 2's sums, which are added and then halved, never wrap.

    Row i's sum is the one-dimensional convolution, times `scale`, of input rows transformed along
    y with weights transformed along y, which bounds it.
    """
    rows = np.einsum("iy,oyxc->oixc", f2.G_Y[1:3], weights.astype(np.int64))
    reach = TRANSFORMED * np.abs(rows).sum((1, 2, 3)) * form.scale + 2 * np.abs(form.bias)
    return int(reach.max()) < 1 << 31


def pack_requant(form: requant.Requant) -> np.ndarray:
    """int32 [O/2][2 multipliers, 2 powers, 2 doubled biases]."""
    rows = [form.multiplier, form.power, 2 * form.bias]
    return np.concatenate([r.reshape(-1, 2) for r in rows], 1).astype(np.int32).reshape(-1)


def columns(p: dict[str, Any]) -> int:
    """Columns of T: the image and its padding."""
    return int(p["W"] + p["pads"][1] + p["pads"][3])


def sizes(p: dict[str, Any]) -> tuple[int, int]:
    """Bytes of T, and of V or a row of padding, which share memory."""
    return 8 * p["C"] * columns(p), max(f2.POSITIONS * f2.pitch(p["C"]), -(-p["W"] * p["C"] // 8) * 8)


def cost(p: dict[str, Any]) -> Cost:
    """Of a whole layer; the driver's share is an estimate."""
    groups, tile_rows, steps = p["C"] // 4, -(-p["OH"] // 2), -(-p["OW"] // STEP)
    vertical = f2.vertical().cost(columns=p["W"], groups=groups)
    horizontal = f2.horizontal(p["C"]).cost(groups=groups, rows=4)
    products = _products(p).cost(pairs=p["O"] // 2, rows=4)
    driver = Cost(40 + 12 * groups * (p["pads"][1] + p["pads"][3]), 0)
    return (
        driver + tile_rows * (vertical + Cost(70, 100) + steps * (horizontal + products + Cost(35, 50)))
    )


def _products(p: dict[str, Any]) -> Any:
    return f2.products(p["C"], p["requant"], p["requant_shift"])


def write(spec: KernelSpec) -> Written:
    p = spec.params
    routines = [f2.vertical(), f2.horizontal(p["C"]), _products(p)]
    rows, cols, products = (r.name for r in routines)
    t_bytes, v_bytes = sizes(p)
    groups, width = p["C"] // 4, columns(p)
    in_row, out_row = p["W"] * p["C"], p["OW"] * p["O"]
    left, right = p["pads"][1], p["pads"][3]
    edge = []
    for first, count in ((0, left), (left + p["W"], right)):
        if count:
            edge.append(
                f"        for (int32_t i = {8 * first}; i < {8 * (first + count)}; ++i) {{\n"
                f"            t[g * {8 * width} + i] = (i & 3) == 2 ? {_twice(p['zx'])} : 0;\n"
                f"        }}\n"
            )
    edges = f"    for (int32_t g = 0; g < {groups}; ++g) {{\n{''.join(edge)}    }}\n" if edge else ""
    text = f"""\
void {spec.name}(const int8_t *x, const int16_t *restrict u, const int32_t *restrict rq, int8_t *y, void *restrict scratch)
{{
    int32_t *const t = (int32_t *)scratch;
    int32_t *const v = (int32_t *)(void *)((uint8_t *)scratch + {t_bytes});
{edges}\
    for (int32_t oh = 0; oh < {p["OH"]}; oh += 2) {{
        const int8_t *row[4];
        for (int32_t k = 0; k < 4; ++k) {{
            const int32_t ih = oh + k - {p["pads"][0]};
            if (ih >= 0 && ih < {p["H"]}) {{
                row[k] = x + ih * {in_row};
            }} else {{
                row[k] = (const int8_t *)v;
                memset(v, {p["zx"]}, {in_row}u);
            }}
        }}
        {rows}(row[0], row[1], row[2], row[3], t + {8 * left}, {p["W"]}, {groups}, {32 * width});
        for (int32_t ow = 0; ow < {p["OW"]}; ow += {STEP}) {{
            const int32_t at = ek_min(ow, {p["OW"] - STEP});
            int8_t *const to = y + oh * {out_row} + at * {p["O"]};
            {cols}(t + at * 8, v, {groups}, {32 * width - 16});
            {products}(v, (const int32_t *)(const void *)u, rq, to, to + {p["O"]}, {2 * p["O"]}, oh + 1 < {p["OH"]} ? {out_row} : 0, {p["zy"]});
        }}
    }}
}}
"""
    return Written(text, {r.name: r.text() for r in routines}, t_bytes + v_bytes)


def _twice(zero_point: int) -> int:
    """Two int16 of 2 * zero_point as int32."""
    return int(np.array([2 * zero_point] * 2, np.int16).view(np.int32)[0])


TEMPLATES = (Template("winograd_f2", ("conv2d",), candidates, write),)
