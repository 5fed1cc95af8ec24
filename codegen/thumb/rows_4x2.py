"""Four pixels against two channels at a time, int16 weights: fewest cycles, at twice the flash.

Against `codegen.thumb.rows_2x2` a word that is loaded serves twice as many products: 17 cycles for
16 multiply-accumulates instead of 18, and per-channel constants are loaded half as often. It takes
11 instructions for them instead of 10, since eight sums leave registers for two pixels only.

The stream has for each pair of channels two biases, weights, two multipliers and two powers. An odd
channel is computed again with the one before it. One or two pixels at the end go to the routine of
two pixels; of three, each has its own offset into y, and the fourth place is stored over.
"""

from __future__ import annotations

from typing import Any

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Template, Written
from codegen.thumb import requant
from codegen.thumb.gather import Gather, gather_cost, indent
from codegen.thumb.layers import candidate, channels_of, params, part_of
from codegen.thumb.routine import Routine
from codegen.thumb.rows_2x2 import UNROLLED, pack_constants
from codegen.thumb.rows_2x2 import parameters as parameters_of_two
from codegen.thumb.rows_2x2 import rows as rows_of_two

TILE = 4
# Words of the stack, in the order in which LDM takes them.
_Y, _O1, _O2, _O3, _END, _ZERO, _A, _A_END = range(0, 32, 4)
_FRAME = 8
_SUMS = [[f"r{i}" for i in range(4)], [f"r{i}" for i in range(4, 8)]]


def rows(form: str, shift: int, part: int, loops: bool) -> Routine:
    """``(const int32_t *a, const int16_t *w, int8_t *y, const int32_t *p)``.

    `p` is: channels, offsets of pixels 1 to 3 in y, zero point, bytes of a. `part` weights are
    unrolled, repeated until the end of the activations where `loops`. Loops: "channels", "parts".
    """
    inputs = ["const int32_t *a", "const int16_t *w", "int8_t *y", "const int32_t *p"]
    r = Routine("rows_4x2", *inputs)
    r.enter(_FRAME)
    r("ldmia r3, {r4-r9}", "mov r12, r1", "add r4, r4, r2", "add r9, r9, r0")
    for place, pair in ((_Y, "r2, r5"), (_O2, "r6, r7"), (_END, "r4, r8"), (_A, "r0, r9")):
        r(f"strd {pair}, [sp, #{place}]")
    with r.until("channels", "r8", "lr"):
        r(f"ldr lr, [sp, #{_A}]", "ldrd r0, r4, [r12], #8")
        if loops:
            r(*(f"mov {s}, {some[0]}" for some in _SUMS for s in some[1:]))
            with r.until("parts", "lr", "r8"):
                _dot(r, part, first=False)
                r(f"ldr r8, [sp, #{_A_END}]")
        else:
            _dot(r, part, first=True)
        r("ldmia r12!, {r8-r11}")
        if form != "fast":
            r(f"ldr lr, [sp, #{_ZERO}]")
        sums = _SUMS[0] + _SUMS[1]
        pairs = (["r8"] * 4 + ["r9"] * 4, ["r10"] * 4 + ["r11"] * 4)
        requant.emit(r, form, shift, sums, *pairs, zero_point="lr")
        r("ldm sp, {r8-r11, lr}")
        for some in _SUMS:
            r(
                *(
                    f"strb {s}, [r8, {o}]"
                    for s, o in zip(some[1:], ("r9", "r10", "r11"), strict=True)
                )
            )
            r(f"strb {some[0]}, [r8], #1")
        r(f"str r8, [sp, #{_Y}]")
    r.leave(_FRAME)
    return r


def _dot(r: Routine, taps: int, first: bool) -> None:
    """Sums of r0 to r3 and r4 to r7 against r10 and r11; biases are in r0 and r4 at `first`."""
    for word in range(taps // 2):
        r("ldmia r12!, {r10, r11}", "ldmia lr!, {r8, r9}")
        if first and word == 0:
            # The biases are needed until the last of the other pixels has been here.
            _add(r, 1, "r9", "bias")
            for pixel in (2, 3):
                r("ldr r9, [lr], #4")
                _add(r, pixel, "r9", "bias")
            _add(r, 0, "r8")
            continue
        _add(r, 0, "r8")
        _add(r, 1, "r9")
        r("ldmia lr!, {r8, r9}")
        _add(r, 2, "r8")
        _add(r, 3, "r9")


def _add(r: Routine, pixel: int, activations: str, source: str = "") -> None:
    for some, weights in zip(_SUMS, ("r10", "r11"), strict=True):
        r(f"smlad {some[pixel]}, {activations}, {weights}, {some[0 if source else pixel]}")


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    if p["O"] < 2 or p["OH"] * p["OW"] < TILE:
        raise NotApplicable("fewer than four pixels or two channels")
    if p["x_dtype"] != "int8":
        raise NotApplicable(f"{p['x_dtype']} activations")
    channels, weights = channels_of(layer, p["taps"])
    q = requant.plan(requant.settled(channels), weights)
    p |= {"template": "rows_4x2", "zx": channels.input_zero_point, **q.params}
    packed = pack_constants(q, weights)
    return [candidate(layer, p, packed, cost(p), note="int16 weights", tile=TILE)]


def _routine(p: dict[str, Any], pixels: int = TILE) -> Routine:
    part = part_of(p["taps"], UNROLLED)
    maker = rows_of_two if pixels <= 2 else rows
    return maker(p["requant"], p["requant_shift"], part, part < p["taps"])


def _calls(p: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """(name, channels, int16 before in the stream, offset in y) of the calls for a tile."""
    out = p["O"]
    stride = (out // 2) * (2 * p["taps"] + 12)
    calls = [("pairs", out // 2 * 2, 0, 0), ("last", 2, stride, out - 2)]
    return calls[: 1 + out % 2]


def _tiles(p: dict[str, Any]) -> list[tuple[int, int]]:
    """(how many, pixels of each)."""
    whole, rest = divmod(p["OH"] * p["OW"], TILE)
    return [(count, pixels) for count, pixels in ((whole, TILE), (1, rest)) if pixels]


def cost(p: dict[str, Any]) -> Cost:
    """Of the whole layer; what the compiler makes of the loop over tiles is estimated."""
    total = Cost(24, 36) + gather_cost(p, TILE, "plain")
    parts = p["taps"] // part_of(p["taps"], UNROLLED)
    for count, pixels in _tiles(p):
        for _, channels, _, _ in _calls(p):
            one = _routine(p, pixels).cost(channels=channels // 2, parts=parts)
            total += (one + Cost(7, 11)) * count
    return total


def write(spec: KernelSpec) -> Written:
    p = spec.params
    out = p["O"]
    gather = Gather(p, TILE, "plain", TILE)
    parts: dict[str, str] = {}
    tables = body = ""
    for count, pixels in _tiles(p):
        routine = _routine(p, pixels)
        parts[routine.name] = routine.text()
        if pixels > 2:
            pack = gather.text() if pixels == TILE else gather.few(pixels)
            statement, places = pack.statement, TILE
        else:
            pack = Gather(p, 2, "plain", 2).text()
            statement, places = pack.statement if pixels == 2 else pack.single, 2
        parts |= pack.parts
        calls = ""
        for name, channels, before, place in _calls(p):
            offsets = [i * out if i < pixels else 0 for i in range(1, places)]
            if places == 2:
                numbers = parameters_of_two(channels, *offsets, p["zy"], p["taps"])
            else:
                numbers = [channels, *offsets, p["zy"], 2 * places * p["taps"]]
            values = ", ".join(map(str, numbers))
            tables += f"    static const int32_t {name}{pixels}[] = {{{values}}};\n"
            calls += f"{routine.name}(a, w + {before}, y + {place}, {name}{pixels});\n"
        step = f"x += {TILE * p['C']};\n" if gather.mode == "pixels" else ""
        each = statement.rstrip("\n") + f"\n{calls}"
        if pixels == TILE:
            each = (
                f"for (uint32_t t = 0; t < {count}u; t++) {{\n"
                f"{indent(f'{each}{step}y += {TILE * out};')}}}\n"
            )
        body += indent(each)
    head = "    int32_t *const a = scratch;\n"
    if gather.patch_bytes:
        head += f"    int8_t *const patch = (int8_t *)scratch + {gather.bytes};\n"
    if gather.mode != "pixels":
        head += f"    int32_t iy = {-p['pads'][0]}, ix = {-p['pads'][1]};\n"
    text = (
        f"void {spec.name}(const int8_t *x, const int16_t *restrict w, int8_t *y, "
        f"void *restrict scratch)\n{{\n{tables}{head}{body}}}\n"
    )
    return Written(text, parts, gather.bytes + gather.patch_bytes)


TEMPLATES = (Template("rows_4x2", ("conv2d",), candidates, write),)
