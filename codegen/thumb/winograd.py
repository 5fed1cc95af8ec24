"""conv2d 3x3, stride 1, as integer Winograd: F(2x2, 3x3) with 4 multiplications for every 9.

Exact for every input (docs/DESIGN.md "Winograd, exactly"): the identity has integer coefficients,
so it holds modulo 2^32, and only what is halved or rounded has to be a true integer; that is
proven per channel from the weights, or the layer is refused.

Variants: transformed weights as constants (16 int16 for 9 int8), or plain ones, transformed into
scratch for `step` output channels at a time; then the input is transformed anew for each step.
With two strips, each half of a row's columns is transformed on its own, in half the scratch.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
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
from codegen.overlap import sharing
from codegen.schedules import _window
from codegen.schedules._int4 import weight_bits
from codegen.thumb import _winograd_f2 as f2
from codegen.thumb import requant
from codegen.thumb._winograd_driver import driver
from codegen.thumb.routine import Routine

#: Columns of a step: two tiles.
TILES = 4
MAX_CHANNELS = 240
#: The largest magnitude of an input transformed in one dimension: a sum of two int8.
TRANSFORMED = 256
#: In how many passes the output channels may be taken where weights are transformed into scratch.
PASSES = (1, 2, 3, 4, 6, 8)
#: Groups of channels unrolled where weights are plain: code for speed 1.2 KB for 3 %.
BLOCK = 6


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    channels, weights = analysed(layer, p)
    p["zx"] = channels.input_zero_point
    u = f2.transform(weights)
    form = plan(channels, weights, u)
    packed = f2.pack(u * (form.scale // 2)[:, None, None])
    variant = {**p, **form.params, "step": p["O"], "strip": p["OW"], "block": p["C"] // 4}
    found = [_candidate(layer, variant, packed, form, "transformed weights")]
    # Unscaled weights; in the general form, which all layers can share.
    plain = plan(channels, weights, None)
    packed = f2.pack_plain(weights)
    for step, strip in _blocks(p):
        block = BLOCK if p["C"] & (p["C"] - 1) == 0 else p["C"] // 4
        variant = {**p, **plain.params, "requant": "general", "step": step, "strip": strip}
        variant |= {"block": min(block, p["C"] // 4)}
        note = f"weights transformed for {step} channels at a time, {strip} columns"
        found.append(_candidate(layer, variant, packed, plain, note))
    return found


def _blocks(p: dict[str, Any]) -> Iterator[tuple[int, int]]:
    strips = [p["OW"]]
    half = -(-p["OW"] // (2 * TILES)) * TILES
    if 2 * half < p["OW"] + TILES:
        strips.append(half)
    for step in sorted({2 * -(-p["O"] // (2 * passes)) for passes in PASSES}, reverse=True):
        for strip in strips:
            yield step, strip


def _candidate(
    layer: Layer, variant: dict[str, Any], packed: np.ndarray, form: requant.Requant, note: str
) -> Candidate:
    spec = KernelSpec(
        "conv2d",
        "thumb_dsp",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("w", str(packed.dtype), packed.size, "constant"),
            Operand("rq", "int32", 3 * variant["O"], "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        {"template": "winograd_f2", "weights": str(packed.dtype), **variant},
    )
    candidate = Candidate(
        spec,
        (layer.inputs[0].name,),
        {"w": packed, "rq": pack_requant(form)},
        note=f"Winograd F(2x2), {note}",
        cost=cost(spec.params),
    )
    return sharing(candidate, steps(spec.params))


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
    if p["OW"] < TILES or max(p["pads"]) > 2:
        raise NotApplicable(f"Winograd takes rows of {TILES} pixels or more and padding to 2")
    return p


def analysed(layer: Layer, p: dict[str, Any]) -> tuple[Channels, np.ndarray]:
    """Channels and their weights int8 [O, 3, 3, C], constant channels rewritten."""
    channels = analyse(layer)
    return channels, channels.weights.reshape(p["O"], 3, 3, p["C"])


def plan(channels: Channels, weights: np.ndarray, u: np.ndarray | None) -> requant.Requant:
    """The cheapest requantization with which all that must not wrap stays in 32 bits.

    Args:
        u: transformed weights [O, C, 16] that may be scaled by powers of two, or None.

    Raises:
        NotApplicable: where there is none.
    """
    # The factor 2 of `Requant.scale` is in U already.
    for offered in (None,) if u is None else (-(-np.abs(u) // 2), None):
        form = requant.plan(channels, offered)
        largest = 0 if u is None else int((np.abs(u).max((1, 2)) * (form.scale // 2)).max())
        if halves_fit(form, weights) and largest < 1 << 15:
            return form
    raise NotApplicable("sums of transformed rows can leave 32 bits")


def halves_fit(form: requant.Requant, weights: np.ndarray) -> bool:
    """Whether the sums of rows 1 and 2, which are added and then halved, never wrap.

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


def scratch_bytes(p: dict[str, Any]) -> tuple[int, int, int]:
    """Bytes of T; of V, where a row of padding lies too; of U with what aligns it."""
    t = 8 * p["C"] * (p["strip"] + 2)
    v = max(f2.POSITIONS * f2.pitch(p["C"]), min(p["W"], p["strip"] + 2) * p["C"])
    if p["weights"] == "int16":
        return t, -(-v // 8) * 8, 0
    return t, -(-v // 8) * 8, _alignment(p) - 8 + 32 * p["C"] * p["step"]


def _inside(p: dict[str, Any], ow: int) -> int:
    """Columns of the image among those that the strip at `ow` reads."""
    first = min(ow, p["OW"] - p["strip"]) - p["pads"][1]
    return int(min(p["W"] - first, p["strip"] + 2) - max(-first, 0))


def _alignment(p: dict[str, Any]) -> int:
    """Of U in scratch: loops over channels end where U is aligned to a position."""
    return 4 * int(p["C"]) if p["block"] < p["C"] // 4 else 8


def steps(p: dict[str, Any]) -> list[tuple[int, int]] | None:
    """Order of access for `codegen.overlap`: two output rows after their four input rows.

    None where the input is read anew for each block of output channels.
    """
    if p["step"] < p["O"]:
        return None
    in_row, out_row = p["W"] * p["C"], p["OW"] * p["O"]
    return [
        (min(max(oh - p["pads"][0], 0), p["H"]) * in_row, min(oh + 2, p["OH"]) * out_row)
        for oh in range(0, p["OH"], 2)
        for _ in range(0, p["OW"], p["strip"])
    ]


@cache
def _products(channels: int, block: int, form: str, shift: int) -> Routine:
    return f2.products(channels, block, form, shift)


@cache
def _horizontal(channels: int) -> Routine:
    return f2.horizontal(channels)


def _routines(p: dict[str, Any]) -> tuple[Routine, Routine]:
    shift = p["requant_shift"]
    return _horizontal(p["C"]), _products(p["C"], p["block"], p["requant"], shift)


def cost(p: dict[str, Any]) -> Cost:
    """Of a whole layer; the driver's share is an estimate."""
    groups, tile_rows = p["C"] // 4, -(-p["OH"] // 2)
    strips, pairs = -(-p["OW"] // p["strip"]), -(-p["strip"] // TILES)
    horizontal, products = _routines(p)
    pixels = sum(_inside(p, ow) for ow in range(0, p["OW"], p["strip"]))
    rows = f2.vertical().cost(columns=pixels, groups=groups)
    edges = strips * (p["strip"] + 2) - pixels
    rows += strips * Cost(110, 160) + edges * groups * Cost(14, 20)
    inverse = horizontal.cost(groups=groups, rows=4) + Cost(45, 70)
    passes = -(-p["O"] // p["step"])
    inner = f2.product_trips(p["C"], p["block"])
    work = products.cost(pairs=p["O"] // 2, **inner)
    work += (passes - 1) * products.cost(pairs=0, **inner)
    total = passes * tile_rows * (rows + strips * pairs * inverse)
    total += tile_rows * strips * pairs * work + Cost(60, 90)
    if p["weights"] == "int8":
        one = f2.weights_to_u().cost(rows=2 * groups, halves=2, between=1)
        total += p["O"] // 2 * (one + Cost(12, 20))
    return total


def write(spec: KernelSpec) -> Written:
    p = spec.params
    plain = p["weights"] == "int8"
    horizontal, products = _routines(p)
    vertical, weights = f2.vertical(), f2.weights_to_u()
    parts = {r.name: r.text() for r in (vertical, horizontal, products)}
    if plain:
        parts |= {weights.name: weights.text()}
    parts |= (run := driver(vertical.name, weights.name if plain else ""))
    top, left = p["pads"][:2]
    values = [p["H"], p["W"], p["C"], p["OH"], p["OW"], p["O"], top, left, p["strip"], p["step"]]
    values += [p["zx"], p["zy"], sum(scratch_bytes(p)[:2]) // 4, _alignment(p)]
    parameters = ["const int8_t *x", f"const {p['weights']}_t *restrict w"]
    parameters += ["const int32_t *restrict rq", "int8_t *y", "void *restrict scratch"]
    text = f"""\
void {spec.name}({", ".join(parameters)})
{{
    static const ek_wino2_t layer = {{
        {", ".join(map(str, values))},
        {horizontal.name}, {products.name},
    }};
    {list(run)[-1]}(&layer, x, w, rq, y, (int32_t *)scratch);
}}
"""
    return Written(text, parts, sum(scratch_bytes(p)))


TEMPLATES = (Template("winograd_f2", ("conv2d",), candidates, write),)
