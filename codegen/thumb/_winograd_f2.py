"""Routines of F(2x2, 3x3): transforms of weights, rows and columns, and the products.

Matrices of one dimension, all in integers: along x, G is doubled, so that results are twice the
convolution; along y sums of rows 1 and 2 are halved (docs/DESIGN.md "Winograd, exactly"):

    B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 -1 0 1]
    G along y = [1 0 0; 1 1 1; 1 -1 1; 0 0 1], along x = [2 0 0; 1 1 1; 1 -1 1; 0 0 2]
    y[0] = m[0] + m[1] + m[2], y[1] = m[1] - m[2] + m[3]

Buffers of words, each two int16 of channels c and c+2 (w = 0) or c+1 and c+3 (w = 1) of a group
of four channels:

* T [group][column][w][row]: rows transformed along y, in the order `ROWS`.
* V [row][column, in the order `COLUMNS`][group][w][tile]: two tiles side by side, each position
  followed by four words in which the products keep sums.
* U [pair of outputs][row][column][group][output][w]: transformed weights.
"""

from __future__ import annotations

import numpy as np

from codegen.thumb import requant
from codegen.thumb.routine import Routine

G_Y = np.array([[1, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 1]])
G_X = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]])
#: Order of transformed rows: sums are combined from the last back, 1 and 2 first.
ROWS = (0, 3, 1, 2)
#: Order of transformed columns: sum and difference of 1 and 2 start the accumulators of 0 and 3.
COLUMNS = (1, 2, 0, 3)
POSITIONS = 16
#: Bytes of a position's sums in V.
SLOT = 16
#: The most groups of a position that are unrolled.
UNROLLED = 8
#: The immediate of LDRD and STRD.
REACH = 1020


def transform(weights: np.ndarray) -> np.ndarray:
    """U = G w G': int64 [O, C, 16] of weights [O, 3, 3, C], positions in the order of use."""
    u = np.einsum("iy,oyxc,jx->ocij", G_Y, weights.astype(np.int64), G_X)
    return np.stack([u[:, :, i, j] for i in ROWS for j in COLUMNS], 2)


def pack(u: np.ndarray) -> np.ndarray:
    """int16 [O/2][16][C/4][output][w][channels c, c+2] of `transform`'s result."""
    outputs, channels, positions = u.shape
    pairs = u.reshape(outputs // 2, 2, channels // 4, 2, 2, positions)
    return pairs.transpose(0, 5, 2, 1, 4, 3).astype(np.int16).reshape(-1)


def pack_plain(weights: np.ndarray) -> np.ndarray:
    """int8 [O/2][C/4][output][9 taps][4 channels] of weights [O, 3, 3, C], for `weights_to_u`."""
    outputs, _, _, channels = weights.shape
    pairs = weights.reshape(outputs // 2, 2, 9, channels // 4, 4)
    return pairs.transpose(0, 3, 1, 2, 4).reshape(-1)


def pitch(channels: int) -> int:
    """Bytes of a position of V."""
    return 4 * channels + SLOT


def weights_to_u() -> Routine:
    """One pair's U, aligned to 8, from plain weights; `positions` is 4 * channels.

    `rows` is C/4 * 2: groups and outputs.
    """
    r = Routine(
        "wino2_weights", "const int8_t *w", "int32_t *u", "int32_t positions", "int32_t rows"
    )
    r.enter(1)
    taps = [f"r{3 + i}" for i in range(9)]
    top, middle, bottom = taps[:3], taps[3:6], taps[6:]
    r("str r3, [sp]")
    with r.loop("rows", "r3"):
        end = r.label()
        r("ldmia r0, {r3-r11}", *(f"sxtb16 {t}, {t}" for t in taps))
        with r.part("halves") as again:
            _row_of_u(r, top)
            _row_of_u(r, bottom)
            r(*(f"sadd16 {t}, {t}, {b}" for t, b in zip(top, bottom, strict=True)))
            r(*(f"sadd16 {bottom[i]}, {top[i]}, {middle[i]}" for i in range(3)))
            _row_of_u(r, bottom)
            r(*(f"ssub16 {middle[i]}, {top[i]}, {middle[i]}" for i in range(3)))
            _row_of_u(r, middle)
            r("sub r1, r1, r2, lsl #4", "add r1, #4", "tst r1, #4", f"beq {end}f")
        with r.part("between"):
            r("ldmia r0!, {r3-r11}", *(f"sxtb16 {t}, {t}, ror #8" for t in taps), f"b {again}b")
        r(f"{end}:", "ldr r3, [sp]", "sub r12, r3, #1", "str r12, [sp]")
    r.leave(1)
    return r


def _row_of_u(r: Routine, row: list[str]) -> None:
    """Four positions of U at r1, r2 apart, of one row of three transformed along y."""
    a, b, c = row
    r(f"sadd16 r12, {a}, {c}", f"sadd16 lr, r12, {b}", "str lr, [r1]")
    r(f"ssub16 lr, r12, {b}", "str lr, [r1, r2]", f"sadd16 lr, {a}, {a}", "add r1, r1, r2, lsl #1")
    r("str lr, [r1]", f"sadd16 lr, {c}, {c}", "str lr, [r1, r2]", "add r1, r1, r2, lsl #1")


def vertical() -> Routine:
    """Transform `columns` pixels of four input rows along y; `pitch` is bytes of a group of T."""
    r = Routine(
        "wino2_rows", "const int8_t *a", "const int8_t *b", "const int8_t *c", "const int8_t *d",
        "int32_t *t", "int32_t columns", "int32_t groups", "int32_t pitch",
    )  # fmt: skip
    at = r.enter()
    r(f"ldr r5, [sp, #{at + 12}]")
    with r.loop("columns", "r7"):
        r(f"ldr r4, [sp, #{at}]", f"ldr r6, [sp, #{at + 8}]")
        r("add r8, r4, #32", f"str r8, [sp, #{at}]")
        with r.loop("groups", "r6"):
            r("ldr r7, [r0], #4", "ldr r8, [r1], #4", "ldr r9, [r2], #4", "ldr r10, [r3], #4")
            r("sxtb16 r11, r8", "sxtb16 r12, r9", "sxtb16 lr, r7", "ssub16 lr, lr, r12")
            r("str lr, [r4]", "sxtb16 lr, r10", "ssub16 lr, lr, r11", "str lr, [r4, #4]")
            r("sadd16 lr, r11, r12", "ssub16 r12, r12, r11", "strd lr, r12, [r4, #8]")
            r(*(f"sxtb16 r{i}, r{i}, ror #8" for i in (7, 8, 9, 10)))
            r("ssub16 r7, r7, r9", "ssub16 r10, r10, r8", "strd r7, r10, [r4, #16]")
            r("sadd16 r11, r8, r9", "ssub16 r12, r9, r8", "strd r11, r12, [r4, #24]")
            r("add r4, r5")
        r(f"ldr r7, [sp, #{at + 4}]", "sub r8, r7, #1", f"str r8, [sp, #{at + 4}]")
    r.leave()
    return r


def horizontal(channels: int) -> Routine:
    """Transform six columns of T along x: V of two tiles."""
    step = pitch(channels)
    r = Routine("wino2_columns", "const int32_t *t", "int32_t *v", "int32_t groups", "int32_t next")
    r.enter()
    r("mov r12, r1")
    with r.loop("groups", "r2"):
        r("mov r11, #4")
        with r.loop("rows", "r11"):
            for w in (0, 1):
                r(*(f"ldr r{4 + c}, [r0, #{32 * c + 16 * w}]" for c in range(6)))
                back = step - 8 if w else 8 - 3 * step
                last = f"[r1], #{back}" if abs(back) <= REACH else "[r1]"
                r("sadd16 lr, r5, r6", "sadd16 r10, r7, r8", f"strd lr, r10, [r1], #{step}")
                r("ssub16 lr, r6, r5", "ssub16 r10, r8, r7", f"strd lr, r10, [r1], #{step}")
                r("ssub16 r4, r4, r6", "ssub16 r10, r6, r8", f"strd r4, r10, [r1], #{step}")
                r("ssub16 r5, r7, r5", "ssub16 r9, r9, r7", f"strd r5, r9, {last}")
                if "," not in last:
                    r(f"subw r1, r1, #{-back}")
            r("add r0, #4")
        r("add r0, r3", "add r12, #16", "mov r1, r12")
    r.leave()
    return r


def products(channels: int, block: int, form: str, shift: int) -> Routine:
    """Products of two tiles with output channels in pairs, inverse transform, requantization.

    `rq` is int32 [O/2][2 multipliers, 2 powers, 2 doubled biases], `out` the upper pixel of
    column 1 and `end` where it is for the channel after the last; `pixels` are the bytes of two
    pixels, `row` those to the next row (0: only the upper row is kept).

    Args:
        block: groups of channels that are unrolled. Where they are fewer than there are, `u` must
            be aligned to a position, 4 * channels bytes, which must be a power of two.
    """
    step = pitch(channels)
    r = Routine(
        "wino2_products", "const int32_t *v", "const int32_t *u", "const int32_t *rq",
        "int8_t *out", "const int8_t *end", "int32_t pixels", "int32_t row", "int32_t zero",
    )  # fmt: skip
    at = r.enter(4)
    size = POSITIONS * step
    r("mov r12, r1", *add_constant("r1", "r0", size), "strd r0, r1, [sp]", "strd r2, r3, [sp, #8]")
    with r.until("pairs", "r5", "r6"):
        r("ldr lr, [sp]")
        with r.until("rows", "lr", "r4"):
            _gemm(r, channels // 4, block, "1", first=True)
            r("stmia lr!, {r0-r3}")
            _gemm(r, channels // 4, block, "2", first=True)
            r(f"ldrd r4, r5, [lr, #{-step}]", f"ldrd r6, r7, [lr, #{8 - step}]")
            r(*(f"sub r{8 + i}, r{4 + i}, r{i}" for i in range(4)))
            r(*(f"add r{i}, r{i}, r{4 + i}" for i in range(4)))
            r("stmia lr!, {r8-r11}")
            _gemm(r, channels // 4, block, "0")
            r("stmia lr!, {r0-r3}")
            back = step + SLOT
            r(f"ldrd r0, r1, [lr, #{-back}]", f"ldrd r2, r3, [lr, #{8 - back}]")
            _gemm(r, channels // 4, block, "3")
            r("stmia lr!, {r0-r3}", "ldr r4, [sp, #4]")
        # The rows' loop ended with equality, which says that this is column 1. Nothing in between
        # sets flags.
        end = r.label()
        r(f"sub lr, lr, #{SLOT}")
        with r.part("outputs") as again:
            _combine(r, 4 * step)
            r("ldr r4, [sp, #8]", "ldmia r4, {r4-r7}")
            if form != "fast":
                r(f"ldr lr, [sp, #{at + 12}]")
            accumulators = [f"r{i}" for i in (0, 1, 2, 3, 8, 9, 10, 11)]
            requant.emit(
                r, form, shift, accumulators,
                ["r4", "r4", "r5", "r5"] * 2, ["r6", "r6", "r7", "r7"] * 2, "lr",
            )  # fmt: skip
            # The lower row first: with row = 0 the upper one, written over it, stays.
            r("ldr r4, [sp, #12]", f"ldrd r5, r6, [sp, #{at + 4}]")
            r("add r7, r4, r6", "strb r8, [r7]", "strb r9, [r7, r5]")
            r("strb r10, [r7, #1]!", "strb r11, [r7, r5]")
            r("strb r0, [r4]", "strb r1, [r4, r5]", "strb r2, [r4, #1]!", "strb r3, [r4, r5]")
            r(f"bne {end}f")
        with r.part("between"):
            r("sub r4, r4, r5, lsr #1", "sub r4, #1", "str r4, [sp, #12]")
            r(
                "ldr lr, [sp]",
                *add_constant("lr", "lr", size - step - SLOT),
                "cmp lr, #0",
                f"b {again}b",
            )
        r(f"{end}:", "add r5, r4, r5, lsr #1", "add r5, #1", "ldr r4, [sp, #8]", "add r4, #24")
        r(f"ldr r6, [sp, #{at}]")
        r("strd r4, r5, [sp, #8]")
    r.leave(4)
    return r


def product_trips(channels: int, block: int) -> dict[str, int]:
    """Trips of the inner loops of `products`, for its cost."""
    trips = {"rows": 4, "outputs": 2, "between": 1}
    if block >= channels // 4:
        return trips | {f"gemm{j}": 2 for j in COLUMNS}
    first, plain = _split(channels // 4, block, True), _split(channels // 4, block, False)
    return trips | {"gemm1": first[2], "gemm2": first[2], "gemm0": plain[2], "gemm3": plain[2]}


def _split(groups: int, block: int, first: bool) -> tuple[int, int, int]:
    """How a position with aligned U is unrolled: groups before the loop, in it, its rounds.

    Accumulators that start at zero need a group before the loop, whose products are not added.
    """
    splits = [
        (before, inner, (groups - before) // inner)
        for before in (range(1, block) if first else (0,))
        for inner in range(1, block + 1 - before)
        if (groups - before) % inner == 0
    ]
    return min(splits, key=lambda s: (s[2], s[0] + s[1]))


def _gemm(r: Routine, groups: int, block: int, name: str, first: bool = False) -> None:
    """One position: r0 to r3 (tile 0 and 1 of output 0, of output 1) += V (lr) * U (r12)."""
    if block >= groups:
        multiply(r, groups, f"gemm{name}", first)
        return
    before, inner, _ = _split(groups, block, first)
    multiply_groups(r, before, first)
    with r.until_aligned(f"gemm{name}", "r12", 16 * groups):
        multiply_groups(r, inner, False)


def multiply(r: Routine, groups: int, name: str, first: bool) -> None:
    """A position whose U has no alignment: unrolled, or in two rounds where that is long.

    Loads and products leave the flags alone, so these say which round it is.
    """
    if not halved(groups):
        multiply_groups(r, groups, first)
        return
    before = 2 - groups % 2 if first else groups % 2
    multiply_groups(r, before, first)
    end = r.label()
    r("cmp lr, lr")
    with r.part(name) as again:
        multiply_groups(r, (groups - before) // 2, False)
        r(f"bne {end}f")
    with r.part("between"):
        r("cmp lr, #0", f"b {again}b")
    r(f"{end}:")


def halved(groups: int) -> bool:
    """Whether `multiply` takes a position in two rounds."""
    return groups > UNROLLED


def multiply_groups(r: Routine, count: int, first: bool) -> None:
    for group in range(count):
        multiply_group(r, first and group == 0)


def multiply_group(r: Routine, first: bool) -> None:
    r("ldmia lr!, {r4-r7}", "ldmia r12!, {r8-r11}")
    for acc, tile, output in ((0, 0, 8), (1, 1, 8), (2, 0, 10), (3, 1, 10)):
        if first:
            r(f"smuad r{acc}, r{4 + tile}, r{output}")
        else:
            r(f"smlad r{acc}, r{4 + tile}, r{output}, r{acc}")
        r(f"smlad r{acc}, r{6 + tile}, r{output + 1}, r{acc}")


def _combine(r: Routine, row: int) -> None:
    """Sums of four transformed rows, the last at lr, to r0-r3 (output row 0), r8-r11 (row 1).

    The bias enters at row 1, doubled because rows 1 and 2 are halved.
    """
    down = f"subw lr, lr, #{row}"
    r("ldr r8, [sp, #8]", "ldrd r8, r9, [r8, #16]")
    r("ldmia lr, {r0-r3}", down, "ldmia lr, {r4-r7}", down)
    r("add r4, r4, r8", "add r5, r5, r8", "add r6, r6, r9", "add r7, r7, r9")
    r(*(f"sub r{8 + i}, r{4 + i}, r{i}" for i in range(4)))
    r(*(f"add r{i}, r{i}, r{4 + i}" for i in range(4)))
    r("ldmia lr, {r4-r7}", down)
    r(*(f"add r{8 + i}, r{4 + i}, r{8 + i}, asr #1" for i in range(4)))
    r("ldmia lr, {r4-r7}")
    r(*(f"add r{i}, r{4 + i}, r{i}, asr #1" for i in range(4)))


def add_constant(target: str, source: str, amount: int) -> list[str]:
    """An addition of any constant below 2^20."""
    low = amount & 0xFFF
    lines = [f"addw {target}, {source}, #{low}"]
    return lines if low == amount else [*lines, f"add {target}, {target}, #{amount - low}"]
