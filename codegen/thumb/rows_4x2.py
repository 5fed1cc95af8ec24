"""Four pixels against two channels at a time, int16 weights: fewest cycles, at twice the flash.

Against `codegen.thumb.rows_2x2` a word that is loaded serves twice as many products: 17 cycles for
16 multiply-accumulates instead of 18, and per-channel constants are loaded half as often. It takes
11 instructions for them instead of 10, since eight sums leave registers for two pixels only.

The stream has for each pair of channels two biases, weights, two multipliers and two powers. An odd
channel is computed again with the one before it. Three pixels at the end have a routine of their
own, one or two take that of two pixels.
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
_Y, _END, _A, _A_END, _ZERO = range(0, 20, 4)
_FRAME = 5
#: What the offset of a store reaches.
REACH = 4095


def rows(form: str, shift: int, tile: int, out: int, part: int, loops: bool) -> Routine:
    """``(const int32_t *a, const int16_t *w, int8_t *y, const int32_t *p)``.

    `tile` is 3 or 4 pixels, `out` the bytes from one to the next in y. `p` is: channels, zero
    point, bytes of a. `part` weights are unrolled, repeated until the end of the activations where
    `loops`. Loops: "channels", "parts".
    """
    inputs = ["const int32_t *a", "const int16_t *w", "int8_t *y", "const int32_t *p"]
    r = Routine(f"rows_{tile}x2", *inputs)
    sums = _sums(tile)
    y, end = "r8", "r9"
    r.enter(_FRAME)
    r("ldmia r3, {r4-r6}", "mov r12, r1", "add r4, r4, r2", "add r6, r6, r0", "mov lr, r0")
    for place, pair in ((_Y, "r2, r4"), (_A, "r0, r6")):
        r(f"strd {pair}, [sp, #{place}]")
    r(f"str r5, [sp, #{_ZERO}]")
    with r.until("channels", y, end):
        r(f"ldrd {sums[0][0]}, {sums[1][0]}, [r12], #8")
        if loops:
            r(*(f"mov {s}, {some[0]}" for some in sums for s in some[1:]))
            with r.until("parts", "lr", y):
                _dot(r, sums, part, first=False)
                r(f"ldr {y}, [sp, #{_A_END}]")
        else:
            _dot(r, sums, part, first=True)
        r("ldmia r12!, {r8-r11}")
        if form != "fast":
            r(f"ldr lr, [sp, #{_ZERO}]")
        pairs = (["r8"] * tile + ["r9"] * tile, ["r10"] * tile + ["r11"] * tile)
        requant.emit(r, form, shift, sums[0] + sums[1], *pairs, zero_point="lr")
        r(f"ldm sp, {{{y}, {end}, lr}}")
        for channel, some in enumerate(sums):
            for pixel, s in enumerate(some):
                if pixel or channel:
                    r(f"strb {s}, [{y}, #{pixel * out + channel}]")
        r(f"strb {sums[0][0]}, [{y}], #2", f"str {y}, [sp, #{_Y}]")
    r.leave(_FRAME)
    return r


def _sums(tile: int) -> list[list[str]]:
    return [[f"r{i}" for i in range(tile)], [f"r{i + 4}" for i in range(tile)]]


def _dot(r: Routine, sums: list[list[str]], taps: int, first: bool) -> None:
    """Sums of two channels against r10 and r11; biases are in each one's first at `first`."""
    tile = len(sums[0])
    for word in range(taps // 2):
        r("ldmia r12!, {r10, r11}")
        bias = "bias" if first and word == 0 else ""
        # The biases are needed until the last of the other pixels has been here.
        if tile == 3:
            r("ldmia lr!, {r3, r8, r9}")
            for pixel, activations in ((1, "r8"), (2, "r9"), (0, "r3")):
                _add(r, sums, pixel, activations, bias)
        elif bias:
            r("ldmia lr!, {r8, r9}")
            _add(r, sums, 1, "r9", bias)
            for pixel in (2, 3):
                r("ldr r9, [lr], #4")
                _add(r, sums, pixel, "r9", bias)
            _add(r, sums, 0, "r8")
        else:
            for pixel in (0, 2):
                r("ldmia lr!, {r8, r9}")
                _add(r, sums, pixel, "r8")
                _add(r, sums, pixel + 1, "r9")


def _add(r: Routine, sums: list[list[str]], pixel: int, activations: str, source: str = "") -> None:
    for some, weights in zip(sums, ("r10", "r11"), strict=True):
        r(f"smlad {some[pixel]}, {activations}, {weights}, {some[0 if source else pixel]}")


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    if p["O"] < 2 or p["OH"] * p["OW"] < TILE:
        raise NotApplicable("fewer than four pixels or two channels")
    if p["x_dtype"] != "int8":
        raise NotApplicable(f"{p['x_dtype']} activations")
    if (TILE - 1) * p["O"] + 1 > REACH:
        raise NotApplicable(f"{p['O']} channels")
    channels, weights = channels_of(layer, p["taps"])
    q = requant.plan(requant.settled(channels), weights)
    p |= {"template": "rows_4x2", "zx": channels.input_zero_point, **q.params}
    packed = pack_constants(q, weights)
    return [candidate(layer, p, packed, cost(p), note="int16 weights", tile=TILE)]


def _routine(p: dict[str, Any], pixels: int = TILE) -> Routine:
    part = part_of(p["taps"], UNROLLED)
    loops = part < p["taps"]
    if pixels <= 2:
        return rows_of_two(p["requant"], p["requant_shift"], part, loops)
    return rows(p["requant"], p["requant_shift"], pixels, p["O"], part, loops)


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


def _rest(p: dict[str, Any], pixels: int) -> Gather:
    """Packing of the pixels at the end."""
    return Gather(p, 3, "plain") if pixels == 3 else Gather(p, 2, "plain", 2)


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
        pack = gather.text() if pixels == TILE else _rest(p, pixels).text()
        statement = pack.single if pixels == 1 else pack.statement
        parts |= pack.parts
        calls = ""
        for name, channels, before, place in _calls(p):
            if pixels > 2:
                numbers = [channels, p["zy"], 2 * pixels * p["taps"]]
            else:
                second = out if pixels == 2 else 0
                numbers = parameters_of_two(channels, second, p["zy"], p["taps"])
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
