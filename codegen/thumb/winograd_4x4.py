"""conv2d 3x3, stride 1, as integer Winograd F(4x4, 3x3): 36 multiplications for every 144.

The fastest and the largest: 36 int16 for 9 int8 of weights. Exact as F(2x2) is: the outputs are
9 * 2^n times the convolution modulo 2^32, and one multiplication by 9's inverse makes that
convolution * 2^6, which only has to fit itself (docs/DESIGN.md "Winograd, exactly").
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from codegen.channels import Channels
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
from codegen.overlap import sharing
from codegen.thumb import _winograd_f2 as f2
from codegen.thumb import _winograd_f4 as f4
from codegen.thumb import requant
from codegen.thumb._winograd_driver import driver_4x4
from codegen.thumb.routine import Routine
from codegen.thumb.winograd import analysed, params

#: LDRD reaches back over three positions.
MAX_CHANNELS = 76
#: Outputs of a step, two tiles side by side.
ROWS, COLUMNS = 4, 8


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    if p["C"] > MAX_CHANNELS or p["OH"] < ROWS or p["OW"] < COLUMNS or max(p["pads"]) > 1:
        raise NotApplicable(
            f"Winograd F(4x4) takes {MAX_CHANNELS} input channels, at least {ROWS} rows of "
            f"{COLUMNS} pixels and padding of 1"
        )
    channels, weights = analysed(layer, p)
    form, scale = plan(channels)
    packed = f2.pack(f4.transform(weights))
    # Of u = x + 128 instead of x.
    bias = channels.bias - 128 * weights.astype(np.int64).sum((1, 2, 3))
    rq = f4.pack_requant(scale, bias, form.multiplier, form.power)
    spec = KernelSpec(
        "conv2d",
        "thumb_dsp",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("w", "int16", packed.size, "constant"),
            Operand("rq", "int32", rq.size, "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        {**p, **form.params, "template": "winograd_f4", "zx": channels.input_zero_point},
    )
    candidate = Candidate(
        spec,
        (layer.inputs[0].name,),
        {"w": packed, "rq": rq},
        note="Winograd F(4x4), transformed weights",
        cost=cost(spec.params),
    )
    return [sharing(candidate, steps(spec.params))]


def plan(channels: Channels) -> tuple[requant.Requant, np.ndarray]:
    """Requantization, and what accumulators are multiplied by before it [O].

    Raises:
        NotApplicable: where an accumulator times 2^6 can leave 32 bits.
    """
    form = requant.plan(channels)
    if channels.bound >= 1 << (31 - f4.SHIFT):
        raise NotApplicable(f"accumulators reach {channels.bound}, F(4x4) takes less than 2^25")
    right = -channels.shift.astype(np.int64)
    last = int(right.min()) + requant.MAX_PRESCALE
    prescale = last - right
    scale = np.int64(1) << (1 + prescale)
    if (
        not channels.relu
        or last > requant.MAX_SHIFT
        or int(prescale.min()) < f4.SHIFT - 1
        or channels.bound * int(scale.max()) >= 1 << 31
    ):
        return form, np.full(len(right), 1 << f4.SHIFT, np.int64)
    zero = channels.output_zero_point
    power = (1 << (last - 1)) + (np.int64(1) << (prescale - 1)) + zero * (1 << last)
    fast = requant.Requant(
        "fast", last, zero, scale, channels.bias * scale, channels.multiplier, power
    )
    return fast, scale


def steps(p: dict[str, Any]) -> list[tuple[int, int]]:
    """Order of access for `codegen.overlap`: four output rows after their six input rows."""
    in_row, out_row = p["W"] * p["C"], p["OW"] * p["O"]
    starts = [min(oh, p["OH"] - ROWS) for oh in range(0, p["OH"], ROWS)]
    return [(max(oh - p["pads"][0], 0) * in_row, (oh + ROWS) * out_row) for oh in starts]


def scratch_bytes(p: dict[str, Any]) -> tuple[int, int]:
    """Bytes of T; of V, where a row of padding lies too."""
    v = max(f4.POSITIONS * f2.pitch(p["C"]), p["W"] * p["C"])
    return 12 * p["C"] * (p["OW"] + 2), -(-v // 8) * 8


@cache
def _routines(channels: int, form: str, shift: int) -> tuple[Routine, Routine, Routine]:
    return f4.vertical(), f4.horizontal(channels), f4.products(channels, form, shift)


def cost(p: dict[str, Any]) -> Cost:
    """Of a whole layer; the driver's share is an estimate."""
    vertical, horizontal, products = _routines(p["C"], p["requant"], p["requant_shift"])
    groups, pixels = p["C"] // 4, min(p["W"], p["OW"] + 2 - p["pads"][1])
    rows = vertical.cost(columns=pixels, groups=groups) + Cost(150, 220)
    step = horizontal.cost(groups=groups, rows=6) + Cost(45, 70)
    step += products.cost(pairs=p["O"] // 2, rows=6, outputs=4, gemm=2, between=1)
    edges = p["OW"] + 2 - pixels
    tile_rows, tiles = -(-p["OH"] // ROWS), -(-p["OW"] // COLUMNS)
    return tile_rows * (rows + tiles * step) + Cost(60, 90) + edges * groups * Cost(40, 60)


def write(spec: KernelSpec) -> Written:
    p = spec.params
    routines = _routines(p["C"], p["requant"], p["requant_shift"])
    vertical, horizontal, products = (r.name for r in routines)
    run = driver_4x4(vertical)
    values = [p[k] for k in ("H", "W", "C", "OH", "OW", "O")]
    values += [*p["pads"][:2], p["zx"], p["zy"]]
    parameters = ["const int8_t *x", "const int16_t *restrict w", "const int32_t *restrict rq"]
    text = f"""\
void {spec.name}({", ".join([*parameters, "int8_t *y", "void *restrict scratch"])})
{{
    static const ek_wino4_t layer = {{
        {", ".join(map(str, values))},
        {horizontal}, {products},
    }};
    {list(run)[-1]}(&layer, x, (const int32_t *)(const void *)w, rq, y, (int32_t *)scratch);
}}
"""
    return Written(text, {r.name: r.text() for r in routines} | run, sum(scratch_bytes(p)))


TEMPLATES = (Template("winograd_f4", ("conv2d",), candidates, write),)
