"""Two pixels against two channels at a time, int16 weights: the fastest rows, at twice the flash.

Four words of activations and four of weights meet in ten instructions for 16 multiply-accumulates.
Weights may be multiplied by a power of two before they are stored, so that a layer with ReLU takes
the fast requantization (`codegen.thumb.requant`).

The stream has for each pair of channels two biases, weights, two multipliers and two powers. An odd
channel is computed again with the one before it; an odd pixel fills both places of its tile.

A layer may have a routine with its number of taps unrolled, or one that layers share: it takes any
number of taps by jumping into its unrolled loop, for 3 to 6 % more time. So that layers with the
fast requantization agree on a routine, they take it at `SHARED_SHIFT` where they can.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Template, Written
from codegen.thumb import requant
from codegen.thumb.gather import Gather, gather_cost, indent
from codegen.thumb.layers import candidate, channels_of, params, part_of
from codegen.thumb.routine import Routine

TILE = 2
#: Weights of a channel up to which their loop is unrolled; longer ones loop over a part of them.
UNROLLED = 128
#: Words of a pixel that the shared routine has unrolled.
STEPS = 16
#: The fast requantization's shift of shared routines, where a layer can have it.
SHARED_SHIFT = 12
# Words of the stack, in the order in which LDM takes them.
_Y, _SECOND, _END, _ZERO, _INDEX, _A, _A_END = range(0, 28, 4)
_FRAME = 7


def rows(form: str, shift: int, part: int, loops: bool) -> Routine:
    """A routine (see `_begin`) with `part` unrolled weights.

    They are repeated until the end of the activations where `loops`. Loops: "channels", "parts".
    """
    r = _begin()
    with r.until("channels", "r4", "r6"):
        r(f"ldr lr, [sp, #{_A}]", "ldrd r0, r2, [r12], #8")
        if loops:
            r("mov r1, r0", "mov r3, r2")
            with r.until("parts", "lr", "r4"):
                _dot(r, part, first=False)
                r(f"ldr r4, [sp, #{_A_END}]")
        else:
            _dot(r, part, first=True)
        _store(r, form, shift)
    r.leave(_FRAME)
    return r


def shared_rows(form: str, shift: int) -> Routine:
    """A routine for any number of taps; `trips` says how often what runs."""
    r = _begin()
    labels = [r.label() for _ in range(STEPS)]
    with r.until("channels", "r4", "r6"):
        r(f"ldrd r4, lr, [sp, #{_INDEX}]", "ldrd r0, r2, [r12], #8", "mov r1, r0", "mov r3, r2")
        r.jump("r4", labels)
        with r.until("parts", "lr", "r4"):
            for i in range(STEPS):
                r(f"{labels[i]}:")
                with r.part(f"step{i}"):
                    _dot(r, 4, first=False)
            r(f"ldr r4, [sp, #{_A_END}]")
        _store(r, form, shift)
    r.leave(_FRAME)
    return r


def trips(taps: int) -> dict[str, int | Fraction]:
    """Trips of the shared routine's parts by name."""
    rounds = -(-taps // 4 // STEPS)
    skipped = rounds * STEPS - taps // 4
    return {"parts": rounds} | {
        f"step{i}": Fraction(rounds - (i < skipped), rounds) for i in range(STEPS)
    }


def parameters(channels: int, second: int, zero_point: int, taps: int) -> list[int]:
    """What `p` holds; `second` is the offset of the second pixel in y."""
    return [channels, second, zero_point, -(taps // 4) % STEPS, 4 * taps]


def _begin() -> Routine:
    """``(const int32_t *a, const int16_t *w, int8_t *y, const int32_t *p)`` and its stack.

    `p` is: channels, offset of the second pixel in y, zero point, steps that the first round of a
    shared routine leaves out, bytes of a.
    """
    r = Routine("rows_2x2", "const int32_t *a", "const int16_t *w", "int8_t *y", "const int32_t *p")
    r.enter(_FRAME)
    r("ldmia r3, {r4-r8}", "mov r12, r1", "add r4, r4, r2", "add r8, r8, r0")
    r(f"strd r2, r5, [sp, #{_Y}]", f"strd r4, r6, [sp, #{_END}]", f"strd r7, r0, [sp, #{_INDEX}]")
    r(f"str r8, [sp, #{_A_END}]")
    return r


def _store(r: Routine, form: str, shift: int) -> None:
    """Requantize the four sums and store them; what is left is to compare r4 with r6."""
    r("ldmia r12!, {r4-r7}")
    if form != "fast":
        r(f"ldr r8, [sp, #{_ZERO}]")
    sums = ["r0", "r1", "r2", "r3"]
    pairs = (["r4", "r4", "r5", "r5"], ["r6", "r6", "r7", "r7"])
    requant.emit(r, form, shift, sums, *pairs, zero_point="r8")
    r("ldm sp, {r4-r6}", "strb r1, [r4, r5]", "strb r0, [r4], #1")
    r("strb r3, [r4, r5]", "strb r2, [r4], #1", f"str r4, [sp, #{_Y}]")


def _dot(r: Routine, taps: int, first: bool) -> None:
    """r0, r1: first channel with both pixels; r2, r3: second one. Biases are in r0 and r2."""
    for word in range(taps // 4):
        r("ldmia lr!, {r4-r7}", "ldmia r12!, {r8-r11}")
        for channel, (w0, w1) in enumerate((("r8", "r10"), ("r9", "r11"))):
            low, high = f"r{2 * channel}", f"r{2 * channel + 1}"
            r(f"smlad {high}, r5, {w0}, {low if first and word == 0 else high}")
            r(f"smlad {low}, r4, {w0}, {low}")
            r(f"smlad {high}, r7, {w1}, {high}", f"smlad {low}, r6, {w1}, {low}")


def pack_constants(q: requant.Requant, weights: np.ndarray) -> np.ndarray:
    """int16: for each pair of channels biases, weights by two taps, multipliers and powers."""
    count, taps = weights.shape
    scaled = (weights.astype(np.int64) * q.scale[:, None]).astype("<i2")
    words = np.ascontiguousarray(scaled.reshape(count, taps // 4, 2, 2).swapaxes(2, 3))
    words32 = words.reshape(count, taps // 2, 2).view("<i4")[:, :, 0]
    parts = []
    for start in (min(i, count - 2) for i in range(0, count, 2)):
        some = slice(start, start + 2)
        parts += [q.bias[some], words32[some].T.reshape(-1), q.multiplier[some], q.power[some]]
    stream = np.concatenate([p.astype(np.int64) for p in parts])
    return (stream & 0xFFFFFFFF).astype("<u4").view("<i2")


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    if p["O"] < 2 or p["OH"] * p["OW"] < 2:
        raise NotApplicable("one pixel or one channel")
    if p["x_dtype"] != "int8":
        raise NotApplicable(f"{p['x_dtype']} activations")
    channels, weights = channels_of(layer, p["taps"])
    q = requant.plan(requant.settled(channels), weights)
    p |= {"template": "rows_2x2", "zx": channels.input_zero_point}
    agreed = q
    if q.form == "fast" and q.shift < SHARED_SHIFT:
        largest = np.abs(weights.astype(np.int64)).max(1)
        if requant.highest_shift(q, channels.bound, largest) >= SHARED_SHIFT:
            agreed = requant.at_shift(q, SHARED_SHIFT)
    found = []
    for form, shared in ((q, False), (agreed, True)):
        some = {**p, **form.params, "shared": shared}
        note = "int16 weights, shared routine" if shared else "int16 weights"
        packed = pack_constants(form, weights)
        found.append(candidate(layer, some, packed, cost(some), note=note, tile=TILE))
    return found


def _routine(p: dict[str, Any]) -> Routine:
    if p["shared"]:
        return shared_rows(p["requant"], p["requant_shift"])
    part = part_of(p["taps"], UNROLLED)
    return rows(p["requant"], p["requant_shift"], part, part < p["taps"])


def _trips(p: dict[str, Any]) -> dict[str, int | Fraction]:
    return trips(p["taps"]) if p["shared"] else {"parts": p["taps"] // part_of(p["taps"], UNROLLED)}


def cost(p: dict[str, Any]) -> Cost:
    """Of the whole layer; what the compiler makes of the loop over tiles is estimated."""
    routine = _routine(p)
    tiles = -(-p["OH"] * p["OW"] // TILE)
    pairs = [n for n in (p["O"] // 2, p["O"] % 2) if n]
    total = Cost(24, 36) + gather_cost(p, TILE, "plain")
    for count in pairs:
        total += (routine.cost(channels=count, **_trips(p)) + Cost(7, 11)) * tiles
    return total


def write(spec: KernelSpec) -> Written:
    p = spec.params
    routine, out = _routine(p), p["O"]
    gather = Gather(p, TILE, "plain", TILE)
    pack = gather.text()
    parts = pack.parts | {routine.name: routine.text()}
    whole, rest = divmod(p["OH"] * p["OW"], TILE)
    stride = (out // 2) * (2 * p["taps"] + 12)
    tables, calls = "", {"whole": "", "odd": ""}
    for name, channels, offset, place in (
        ("pairs", out // 2 * 2, "w", "y"),
        ("last", 2 if out % 2 else 0, f"w + {stride}", f"y + {out - 2}"),
    ):
        for tile in ("whole", "odd") if rest else ("whole",):
            if not channels:
                continue
            second = out if tile == "whole" else 0
            values = ", ".join(map(str, parameters(channels, second, p["zy"], p["taps"])))
            tables += f"    static const int32_t {name}_{tile}[] = {{{values}}};\n"
            calls[tile] += f"        {routine.name}(a, {offset}, {place}, {name}_{tile});\n"
    step = f"        x += {TILE * p['C']};\n" if gather.mode == "pixels" else ""
    text = (
        f"void {spec.name}(const int8_t *x, const int16_t *restrict w, int8_t *y, "
        f"void *restrict scratch)\n{{\n{tables}    int32_t *const a = scratch;\n"
    )
    if gather.patch_bytes:
        text += f"    int8_t *const patch = (int8_t *)scratch + {gather.bytes};\n"
    if gather.mode != "pixels":
        text += f"    int32_t iy = {-p['pads'][0]}, ix = {-p['pads'][1]};\n"
    if whole:
        text += (
            f"    for (uint32_t t = 0; t < {whole}u; t++) {{\n"
            f"{indent(indent(pack.statement))}"
            f"{calls['whole']}{step}        y += {TILE * out};\n    }}\n"
        )
    if rest:
        text += indent(pack.single) + calls["odd"].replace("        ", "    ")
    return Written(text + "}\n", parts, gather.bytes + gather.patch_bytes)


TEMPLATES = (Template("rows_2x2", ("conv2d",), candidates, write),)
