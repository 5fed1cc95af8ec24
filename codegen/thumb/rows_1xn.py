"""One pixel against four, six or eight channels at a time, int8 weights: fully connected layers.

Two variants (`codegen.thumb.scaled` has the arithmetic):

* "packed": activations are packed once to scratch; two words of them meet four channels in 27
  instructions and 39 cycles for 32 multiply-accumulates, or six channels in 41 instructions and 57
  cycles for 48. Weights are then loaded by four, two of which may be of the next word. More
  channels are no faster: they leave fewer registers for weights, as int16 weights do;
* "direct": no scratch; each word of activations is packed where it is read, against eight channels
  (33 instructions for 32 multiply-accumulates) or four.

The stream has for each group of channels their biases, the weights word by word, and for four
channels at a time a word of four powers and the multipliers (for six, multipliers and powers of two
in pairs); where these are the same for all channels, they are arguments instead. The last group may
overlap the one before: its channels are computed twice. What six do not divide goes by four.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Template, Written
from codegen.thumb.gather import Gather, indent
from codegen.thumb.layers import candidate, channels_of, mode_of, params, part_of
from codegen.thumb.packing import pair_lines
from codegen.thumb.routine import Routine
from codegen.thumb.scaled import Scaled, emit, scaled

#: Pixels above which rows of five pixels are faster.
MOST_PIXELS = 4
#: Weights of a channel whose loop is unrolled, by variant; in small layers code counts for more.
UNROLLED = {"packed": 64, "direct": 32}
UNROLLED_SMALL, SMALL_LAYER = 16, 8192
#: Channels of the faster group, and its weights whose loop is unrolled.
SIX, UNROLLED_SIX = 6, 128
# Words of the stack, in the order in which LDM takes them.
_MULTIPLIER, _SIXTY_FOUR, _Y, _END, _A, _A_END = 0, 8, 16, 20, 24, 28
_FRAME = 8


def rows(form: str, variant: str, group: int, part: int, uniform: bool) -> Routine:
    """``(a, const int8_t *w, int8_t *y, const int32_t *p)``, a packed or int8 activations.

    `p` is: channels, multiplier, power, zero point, bytes of a. Loops: "groups", "parts".
    """
    a = "const int32_t *a" if variant == "packed" else "const int8_t *a"
    r = Routine(f"rows_1x{group}", a, "const int8_t *w", "int8_t *y", "const int32_t *p")
    sums = [f"r{i}" for i in range(group)]
    free = [f"r{i}" for i in range(group, 12)] + ["lr"]
    r.enter(_FRAME)
    r("ldmia r3, {r4-r8}", "mov r12, r1", "movs r9, #64", "add r4, r4, r2", "add r8, r8, r0")
    for place, pair in ((_MULTIPLIER, "r5, r6"), (_SIXTY_FOUR, "r9, r7"), (_Y, "r2, r4"),
                        (_A, "r0, r8")):  # fmt: skip
        r(f"strd {pair}, [sp, #{place}]")
    with r.until("groups", "lr", free[0]):
        r(f"ldr lr, [sp, #{_A}]", f"ldmia r12!, {{r0-{sums[-1]}}}")
        with r.until("parts", "lr", free[0]):
            (_six if group == SIX else _packed if variant == "packed" else _direct)(r, sums, part)
            r(f"ldr {free[0]}, [sp, #{_A_END}]")
        m, power, sixty_four, zero = free[:4]
        if uniform:
            r(f"ldm sp, {{{m}-{zero}}}")
            emit(r, form, sums, m, power, sixty_four, zero)
        elif group == SIX:
            r(f"ldrd r10, lr, [sp, #{_SIXTY_FOUR}]")
            for i in range(0, SIX, 2):
                r("ldmia r12!, {r6-r9}")
                emit(r, form, [sums[i]], "r6", "r7", "r10", "lr")
                emit(r, form, [sums[i + 1]], "r8", "r9", "r10", "lr")
        else:
            r(f"ldrd {sixty_four}, {zero}, [sp, #{_SIXTY_FOUR}]")
            for i, s in enumerate(sums):
                if i % 4 == 0:
                    r("ldr lr, [r12], #4")
                byte = f", ror #{8 * (i % 4)}" if i % 4 else ""
                r(f"ldr {m}, [r12], #4", f"uxtb {power}, lr{byte}")
                r(f"lsl {power}, {sixty_four}, {power}")
                emit(r, form, [s], m, power, sixty_four, zero)
        r(f"ldrd lr, {m}, [sp, #{_Y}]")
        r(*(f"strb {s}, [lr, #{i}]" for i, s in enumerate(sums) if i))
        r(f"strb r0, [lr], #{group}", f"str lr, [sp, #{_Y}]")
    r.leave(_FRAME)
    return r


def _packed(r: Routine, sums: list[str], taps: int) -> None:
    for word in range(taps // 4):
        if word % 2 == 0:
            r("ldmia lr!, {r4-r7}" if word + 1 < taps // 4 else "ldmia lr!, {r4, r5}")
        high, low = ("r4", "r5") if word % 2 == 0 else ("r6", "r7")
        r("ldmia r12!, {r8-r11}")
        for i, s in enumerate(sums):
            r(f"smlad {s}, r{8 + i}, {high}, {s}", f"sxtb16 r{8 + i}, r{8 + i}")
        for i, s in enumerate(sums):
            r(f"smlad {s}, r{8 + i}, {low}, {s}")


def _six(r: Routine, sums: list[str], taps: int) -> None:
    count = SIX * taps // 4
    for i in range(count):
        if i % 4 == 0:
            r(f"ldmia r12!, {{r8-r{min(11, 7 + count - i)}}}")
        if i % SIX == 0:
            r("ldmia lr!, {r6, r7}")
        s, w = sums[i % SIX], f"r{8 + i % 4}"
        r(f"smlad {s}, {w}, r6, {s}", f"sxtb16 {w}, {w}", f"smlad {s}, {w}, r7, {s}")


def _direct(r: Routine, sums: list[str], taps: int) -> None:
    group = len(sums)
    high, low = f"r{group}", f"r{group + 1}"
    weights = [f"r{i}" for i in range(group + 2, 12)][: 4 if group == 4 else 2]
    for _ in range(taps // 4):
        r(f"ldr {low}, [lr], #4", *pair_lines("scaled", low, high))
        for first in range(0, group, len(weights)):
            r(f"ldmia r12!, {{{weights[0]}-{weights[-1]}}}")
            some = sums[first : first + len(weights)]
            for s, w in zip(some, weights, strict=True):
                r(f"smlad {s}, {w}, {high}, {s}", f"sxtb16 {w}, {w}")
            for s, w in zip(some, weights, strict=True):
                r(f"smlad {s}, {w}, {low}, {s}")


def sections(channels: int, group: int) -> list[tuple[int, int, int]]:
    """(channels of a group, first channel, how many groups) of the calls for a pixel."""
    whole, rest = divmod(channels, group)
    if group == SIX and rest == 2 and whole > 1:
        whole, rest = whole - 1, rest + SIX
    found = [(group, 0, whole)]
    if group == SIX and rest == 8:
        found.append((4, channels - rest, 2))
    elif rest:
        last = 4 if group == SIX and rest <= 4 else group
        found.append((last, channels - last, 1))
    return found


def pack_constants(constants: Scaled, group: int, uniform: bool) -> np.ndarray:
    """int32: for each group biases, weights by word, and powers and multipliers."""
    words = np.ascontiguousarray(constants.words.astype("<i2")).view("<i4")
    pairs = np.stack([constants.multiplier, _powers(constants)], 1)
    parts = []
    for size, first, count in sections(len(constants.bias), group):
        for start in range(first, first + size * count, size):
            some = slice(start, start + size)
            parts += [constants.bias[some], words[some].T.reshape(-1)]
            if not uniform and size == SIX:
                parts.append(pairs[some].reshape(-1))
            for four in () if uniform or size == SIX else range(start, start + size, 4):
                parts += [constants.power[four : four + 4].view("<i4")]
                parts += [constants.multiplier[four : four + 4]]
    return np.concatenate(parts).astype(np.int32)


def _words(p: dict[str, Any], group: int) -> int:
    """Of a group in the stream."""
    own = 0 if p["uniform"] else 2 * group if group == SIX else group + group // 4
    return int(group * (1 + p["taps"] // 4) + own)


def _powers(constants: Scaled) -> np.ndarray:
    powers: np.ndarray = np.int64(64) << constants.power.astype(np.int64)
    return powers


def candidates(layer: Layer) -> list[Candidate]:
    p = params(layer)
    if p["OH"] * p["OW"] > MOST_PIXELS:
        raise NotApplicable(f"{p['OH'] * p['OW']} pixels")
    channels, weights = channels_of(layer, p["taps"])
    constants = scaled(channels, weights)
    pairs = np.stack([constants.multiplier, _powers(constants)])
    uniform = bool((pairs == pairs[:, :1]).all())
    p |= {"template": "rows_1xn", "form": constants.form, "uniform": uniform}
    p |= {"zx": channels.input_zero_point, "zy": constants.zero_point}
    p |= {"pair": pairs[:, 0].tolist() if uniform else [0, 0]}
    variants = [("packed", 4), ("packed", SIX)]
    if mode_of(p) == "pixels":
        variants.append(("direct", 8 if p["O"] >= 8 else 4))
    found = []
    for variant, group in variants:
        if p["O"] < group:
            continue
        q = p | {"variant": variant, "group": group}
        packed = pack_constants(constants, group, uniform)
        note, tile = ("", 1) if variant == "packed" else ("no scratch", 0)
        found.append(candidate(layer, q, packed, cost(q), note=note, tile=tile))
    if not found:
        raise NotApplicable(f"{p['O']} channels")
    return found


def _part(p: dict[str, Any], group: int) -> int:
    if group == SIX:
        return part_of(p["taps"], UNROLLED_SIX)
    small = p["taps"] * p["O"] < SMALL_LAYER
    return part_of(p["taps"], UNROLLED_SMALL if small else UNROLLED[p["variant"]])


def _routine(p: dict[str, Any], group: int) -> Routine:
    return rows(p["form"], p["variant"], group, _part(p, group), p["uniform"])


def cost(p: dict[str, Any]) -> Cost:
    """Of the whole layer; what the compiler makes of the driver is estimated."""
    one = Cost(0, 0)
    for group, _, count in sections(p["O"], p["group"]):
        parts = p["taps"] // _part(p, group)
        one += _routine(p, group).cost(groups=count, parts=parts) + Cost(7, 12)
    pixels = p["OH"] * p["OW"]
    if p["variant"] == "packed":
        one += Gather(p, 1, "scaled").pixel_cost(True)
    return Cost(12, 20) + one * pixels


def write(spec: KernelSpec) -> Written:
    p = spec.params
    parts: dict[str, str] = {}
    packed = p["variant"] == "packed"
    a_bytes = p["taps"] * (2 if packed else 1)
    source = "a" if packed else "x"
    tables, calls, offset = "", "", 0
    names = ("table", "last")
    for name, (group, first, count) in zip(names, sections(p["O"], p["group"]), strict=False):
        routine = _routine(p, group)
        parts[routine.name] = routine.text()
        values = ", ".join(map(str, [group * count, *p["pair"], p["zy"], a_bytes]))
        tables += f"    static const int32_t {name}[] = {{{values}}};\n"
        at = f"(const int8_t *)(w + {offset})" if offset else "(const int8_t *)w"
        place = f"y + {first}" if first else "y"
        calls += f"        {routine.name}({source}, {at}, {place}, {name});\n"
        offset += count * _words(p, group)
    gather = Gather(p, 1, "scaled")
    scratch, head, pack = "", "", ""
    if packed:
        text = gather.text()
        parts |= text.parts
        scratch = ", void *restrict scratch"
        head = "    int32_t *const a = scratch;\n"
        pack = indent(indent(text.statement))
        if gather.patch_bytes:
            head += f"    int8_t *const patch = (int8_t *)scratch + {gather.bytes};\n"
        if gather.mode != "pixels":
            head += f"    int32_t iy = {-p['pads'][0]}, ix = {-p['pads'][1]};\n"
    step = f"        x += {p['C']};\n" if gather.mode == "pixels" else ""
    body = (
        f"void {spec.name}(const int8_t *x, const int32_t *restrict w, int8_t *y{scratch})\n{{\n"
        f"{tables}{head}    for (uint32_t t = 0; t < {p['OH'] * p['OW']}u; t++) {{\n{pack}{calls}"
        f"{step}        y += {p['O']};\n    }}\n}}\n"
    )
    return Written(body, parts, gather.bytes + gather.patch_bytes if packed else 0)


TEMPLATES = (Template("rows_1xn", ("conv2d", "fully_connected"), candidates, write),)
