"""Five pixels against one channel at a time, int8 weights: convolution as a matrix product.

The taps of five pixels are packed once (`codegen.thumb.scaled`), then one call walks over all
output channels: two words of weights are 27 instructions for 40 multiply-accumulates. What is left
of an image is one smaller tile, so that no pixel is read or written twice.

The constants of a layer are one stream: a table of one byte for a channel, then for each channel
its bias, weights and multiplier.

There are two kinds of routines. Heavy layers have one with their number of taps unrolled. All
others share one for any number of taps, which jumps into its unrolled loop: 3 to 8 % slower, and a
kilobyte less code for every further number of taps.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, Template, Written
from codegen.thumb.gather import Gather, gather_cost, indent
from codegen.thumb.layers import candidate, channels_of, mode_of, params, part_of
from codegen.thumb.routine import Routine
from codegen.thumb.scaled import Scaled, emit, scaled

#: Pixels of a tile; what is left of an image is one smaller tile.
TILE = 5
#: Weights of a channel up to which their loop is unrolled; longer ones loop over a part of them.
UNROLLED = 64
#: Multiply-accumulates from which a layer may have a routine of its own.
HEAVY = 500_000
# Words of the stack, in the order in which LDM takes them.
_Y, _TABLE, _SIXTY_FOUR, _ZERO, _STRIDE, _STRIDE_3, _END, _A, _A_END, _ODD, _INDEX = range(0, 44, 4)
_FRAME = 11


def rows(form: str, tile: int, part: int, loops: bool) -> Routine:
    """A routine of `tile` pixels (see `_begin`) with `part` unrolled weights.

    They are repeated until the end of the activations where `loops`. Loops: "channels", "parts".
    """
    r = _begin(tile)
    with r.until("channels", "r6", "lr"):
        r(f"ldr lr, [sp, #{_A}]")
        if loops:
            r("ldr r0, [r12], #4", *(f"mov r{i}, r0" for i in range(1, tile)))
            with r.until("parts", "lr", "r5"):
                _dot(r, tile, part, first=False)
                r(f"ldr r5, [sp, #{_A_END}]")
        else:
            _dot(r, tile, part, first=True)
        _store(r, form, tile)
    r.leave(_FRAME)
    return r


def shared_rows(form: str, tile: int) -> Routine:
    """A routine of `tile` pixels for any number of taps; `trips` says how often what runs."""
    r = _begin(tile)
    steps = _steps(tile)
    labels = [r.label() for _ in range(steps + 1)]
    even = r.label()
    with r.until("channels", "r6", "lr"):
        r(f"ldr lr, [sp, #{_A}]", "ldr r0, [r12], #4", f"ldrd r5, r6, [sp, #{_ODD}]")
        r(*(f"mov r{i}, r0" for i in range(1, tile)), f"cbz r5, {even}f")
        with r.part("odd"):
            _dot(r, tile, 4, first=False)
            r(f"ldr r6, [sp, #{_INDEX}]")
        r(f"{even}:")
        r.jump("r6", labels)
        with r.until("parts", "lr", "r5"):
            for i in range(steps):
                r(f"{labels[i]}:")
                with r.part(f"step{i}"):
                    _dot(r, tile, 8, first=False)
            r(f"{labels[steps]}:", f"ldr r5, [sp, #{_A_END}]")
        _store(r, form, tile)
    r.leave(_FRAME)
    return r


def _steps(tile: int) -> int:
    """Pairs of words that a shared routine has unrolled."""
    return UNROLLED // 8 if tile == TILE else 1


def entry(taps: int, tile: int) -> tuple[int, int]:
    """Where a shared routine starts for `taps`: whether a single word comes first, which step."""
    pairs, odd = divmod(taps // 4, 2)
    steps = _steps(tile)
    first = (pairs - 1) % steps + 1 if pairs else 0
    return odd, steps - first


def trips(taps: int, tile: int) -> dict[str, int | Fraction]:
    """Trips of a shared routine's parts by name."""
    odd, index = entry(taps, tile)
    rounds = max(-(-(taps // 8) // _steps(tile)), 1)
    each = {f"step{i}": Fraction(rounds - (i < index), rounds) for i in range(_steps(tile))}
    return {"odd": odd, "parts": rounds, **each}


def _begin(tile: int) -> Routine:
    """``(const int32_t *a, const int8_t *w, int8_t *y, const int32_t *p)`` and its stack.

    `p` is: channels, bytes of the table, zero point, bytes of one packed pixel, `entry`.
    """
    inputs = ["const int32_t *a", "const int8_t *w", "int8_t *y", "const int32_t *p"]
    r = Routine(f"rows_{tile}x1", *inputs)
    r.enter(_FRAME)
    r("ldmia r3, {r4-r7, r10, r11}", "add r12, r1, r5", "sub r1, r1, r2")
    r("add r8, r4, r4, lsl #1", "add r9, r2, r4", f"movs r3, #{tile}", "mul r7, r7, r3")
    r("add r7, r7, r0", "movs r3, #64")
    for place, pair in ((_Y, "r2, r1"), (_SIXTY_FOUR, "r3, r6"), (_STRIDE, "r4, r8"),
                        (_END, "r9, r0"), (_A_END, "r7, r10")):  # fmt: skip
        r(f"strd {pair}, [sp, #{place}]")
    r(f"str r11, [sp, #{_INDEX}]")
    return r


def _store(r: Routine, form: str, tile: int) -> None:
    """Requantize a channel's sums and store them; what is left is to compare r6 with lr."""
    pixels = [f"r{i}" for i in range(tile)]
    r("ldr r5, [r12], #4", "ldm sp, {r6-r11, lr}", "ldrb r7, [r6, r7]", "lsl r7, r8, r7")
    emit(r, form, pixels, "r5", "r7", "r8", "r9")
    places = ["", "[r6, r10]", "[r6, r10, lsl #1]", "[r6, r11]", "[r6, r10, lsl #2]"]
    r(*(f"strb {p}, {place}" for p, place in zip(pixels[1:], places[1:tile], strict=True)))
    r("strb r0, [r6], #1", f"str r6, [sp, #{_Y}]")


def _dot(r: Routine, tile: int, taps: int, first: bool) -> None:
    """`taps` weights at r12 against activations at lr; the `first` ones come after the bias."""
    for word in range(taps // 4):
        if word % 2 == 0:
            count = min(2, taps // 4 - word)
            bias = "r0, " if first and word == 0 else ""
            r(f"ldmia r12!, {{{bias}r10{', r11' if count == 2 else ''}}}")
        weights = f"r{10 + word % 2}"
        for half in range(2):
            r(f"ldmia lr!, {{r5-r{4 + tile}}}" if tile > 1 else "ldr r5, [lr], #4")
            for i in reversed(range(tile)):
                source = 0 if first and word == half == 0 else i
                r(f"smlad r{i}, r{5 + i}, {weights}, r{source}")
            if half == 0:
                r(f"sxtb16 {weights}, {weights}")


def pack_constants(constants: Scaled) -> np.ndarray:
    """int8: the table padded to words, then bias, weights and multiplier of each channel."""
    count = len(constants.bias)
    stream = np.concatenate(
        [
            constants.bias.astype("<i4").reshape(count, 1).view(np.int8),
            np.ascontiguousarray(constants.words.astype("<i2")).view(np.int8),
            constants.multiplier.astype("<i4").reshape(count, 1).view(np.int8),
        ],
        1,
    )
    table = np.zeros(table_bytes(count), np.uint8)
    table[:count] = constants.power
    return np.concatenate([table.view(np.int8), stream.reshape(-1)])


def table_bytes(channels: int) -> int:
    """Bytes of the table at the start of the stream."""
    return -(-channels // 4) * 4


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    channels, weights = channels_of(layer, p["taps"])
    constants = scaled(channels, weights)
    p |= {"template": "rows_5x1", "form": constants.form}
    p |= {"zx": channels.input_zero_point, "zy": constants.zero_point}
    packed = pack_constants(constants)
    macs = p["OH"] * p["OW"] * p["O"] * p["taps"]
    kinds = [False, True] if macs >= HEAVY and part_of(p["taps"], UNROLLED) >= 32 else [True]
    found = []
    for shared in kinds:
        q = {**p, "shared": shared}
        note = "shared routine" if shared else ""
        found.append(candidate(layer, q, packed, cost(q), note=note, tile=TILE))
    return found


class _Tiles:
    """A layer's pixels as tiles: how many whole ones, and what the smaller one at the end is."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.whole, self.rest = divmod(p["OH"] * p["OW"], TILE)

    def routine(self, tile: int) -> Routine:
        taps = self.p["taps"]
        if self._shared(tile):
            return shared_rows(self.p["form"], tile)
        part = part_of(taps, UNROLLED)
        return rows(self.p["form"], tile, part, part < taps)

    def cost_of(self, tile: int) -> Cost:
        taps, channels = self.p["taps"], self.p["O"]
        if self._shared(tile):
            return self.routine(tile).cost(channels=channels, **trips(taps, tile))
        return self.routine(tile).cost(channels=channels, parts=taps // part_of(taps, UNROLLED))

    def _shared(self, tile: int) -> bool:
        return self.p["shared"] or tile < TILE

    def table(self, tile: int) -> list[int]:
        """The routine's parameters."""
        p = self.p
        start = entry(p["taps"], tile) if self._shared(tile) else (0, 0)
        return [p["O"], table_bytes(p["O"]), p["zy"], 2 * p["taps"], *start]


def cost(p: dict[str, Any]) -> Cost:
    """Of the whole layer; what the compiler makes of the loop over tiles is estimated."""
    tiles = _Tiles(p)
    total = Cost(18, 30)
    if tiles.whole:
        total += (tiles.cost_of(TILE) + Cost(8, 12)) * tiles.whole
    if tiles.rest:
        total += tiles.cost_of(tiles.rest) + Cost(8, 12)
    return total + gather_cost(p, TILE, "scaled")


def write(spec: KernelSpec) -> Written:
    p = spec.params
    tiles = _Tiles(p)
    parts: dict[str, str] = {}
    packed = patch = 0
    body = tables = ""
    for tile, count in ((TILE, tiles.whole), (tiles.rest, 1)):
        if not tile or not count:
            continue
        gather, routine = Gather(p, tile, "scaled", TILE), tiles.routine(tile)
        pack = gather.text()
        parts |= pack.parts | {routine.name: routine.text()}
        packed, patch = max(packed, gather.bytes), max(patch, gather.patch_bytes)
        values = ", ".join(map(str, tiles.table(tile)))
        tables += f"    static const int32_t table{tile}[] = {{{values}}};\n"
        step = f"        x += {tile * p['C']};\n" if gather.mode == "pixels" else ""
        body += (
            f"    for (uint32_t t = 0; t < {count}u; t++) {{\n"
            f"{indent(indent(pack.statement))}"
            f"        {routine.name}(a, w, y, table{tile});\n{step}"
            f"        y += {tile * p['O']};\n    }}\n"
        )
    text = (
        f"void {spec.name}(const int8_t *x, const int8_t *restrict w, int8_t *y, "
        f"void *restrict scratch)\n{{\n{tables}    int32_t *const a = scratch;\n"
    )
    if patch:
        text += f"    int8_t *const patch = (int8_t *)scratch + {packed};\n"
    if mode_of(p) != "pixels":
        text += f"    int32_t iy = {-p['pads'][0]}, ix = {-p['pads'][1]};\n"
    return Written(f"{text}{body}}}\n", parts, packed + patch)


TEMPLATES = (Template("rows_5x1", ("conv2d", "fully_connected"), candidates, write),)
