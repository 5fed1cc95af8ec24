"""Routines of F(4x4, 3x3): transforms of rows and columns, products with inverse transform.

Matrices of one dimension, in integers (docs/DESIGN.md "Winograd, exactly"): with these, output
(i, j) is 9 * 2^(a[i] + a[j]) times the convolution, a = `EXPONENTS`.

Inputs are taken as u = x + 128, 0 to 255, so that transformed ones fit int16: -12750 to 17340. T
holds a pair of int16 as the sum high * 65536 + low, on which plain ADD and SUB (with free shifts)
work; the last transform makes it a pair.

* T [group][column][w][row], w = 0 with channels c and c+2 of a group of four, w = 1 with c+1, c+3.
* V [row][column, in the order `COLUMNS`][group][w][tile]: two tiles side by side, each position
  followed by four words in which the products keep sums; row i's results for output column x end
  up behind position 5 - x.
* U [pair of outputs][row][column][group][output][w]: transformed weights.
"""

from __future__ import annotations

import numpy as np

from codegen.thumb import requant
from codegen.thumb._winograd_f2 import SLOT, add_constant, multiply, pitch
from codegen.thumb.routine import Routine

G = np.array([[6, 0, 0], [-1, -1, -1], [-1, 1, -1], [1, 2, 4], [1, -2, 4], [0, 0, 6]])
B = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
A = np.array([[1, 4, 4, 1, 1, 0], [0, 2, -2, 1, -1, 0], [0, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 1]])
#: Powers of two in the outputs, by row and by column, besides 9.
EXPONENTS = (3, 2, 1, 1)
INVERSE_9 = pow(9, -1, 1 << 32)
#: Sums and differences of 1, 2 and of 3, 4 start the accumulators of 5 and 0.
COLUMNS = (1, 2, 3, 4, 5, 0)
POSITIONS = 36
#: Powers of two that the accumulators are multiplied by at least: the largest pair of EXPONENTS.
SHIFT = 6


def transform(weights: np.ndarray) -> np.ndarray:
    """U = G w G': int64 [O, C, 36] of weights [O, 3, 3, C], positions in the order of use."""
    u = np.einsum("iy,oyxc,jx->ocij", G, weights.astype(np.int64), G)
    return np.stack([u[:, :, i, j] for i in range(6) for j in COLUMNS], 2)


def pack_requant(
    scale: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, power: np.ndarray
) -> np.ndarray:
    """int32 [O/2][x = 3..0][output][bias, 3 factors, multiplier, power].

    `scale` is what the accumulator is to be multiplied by, at least 2^SHIFT, `bias` that of a
    convolution of u. The factors take outputs of row 0, 1, 2 and 3 from 9 * 2^(a[y] + a[x]) to it.
    """
    table = np.zeros((len(scale), 4, 6), np.int64)
    for k, x in enumerate((3, 2, 1, 0)):
        table[:, k, 0] = bias * 36 * int(A[x, 1])
        for y in range(3):
            table[:, k, 1 + y] = scale * INVERSE_9 >> (EXPONENTS[x] + EXPONENTS[y])
        table[:, k, 4], table[:, k, 5] = multiplier, power
    pairs = table.reshape(-1, 2, 4, 6).transpose(0, 2, 1, 3)
    return (pairs & 0xFFFFFFFF).astype(np.uint32).view(np.int32).reshape(-1)


def vertical() -> Routine:
    """Transform `columns` pixels of six input rows along y; `pitch` is bytes of a group of T."""
    r = Routine(
        "wino4_rows", *(f"const int8_t *{name}" for name in "abcdef"),
        "int32_t *t", "int32_t columns", "int32_t channels", "int32_t pitch",
    )  # fmt: skip
    at = r.enter(1)
    r(f"ldrd r4, r5, [sp, #{at}]")
    with r.loop("columns", "r7"):
        r(f"ldr r6, [sp, #{at + 8}]", "add r7, r6, #48", f"str r7, [sp, #{at + 8}]")
        r(f"ldr r7, [sp, #{at + 16}]", "add r7, r7, r0", "str r7, [sp]")
        with r.until("groups", "r0", "r7"):
            for w in (0, 1):
                data = [f"r{7 + k}" for k in range(6)]
                for k, d in enumerate(data):
                    r(f"ldr {d}, [r{k}]{', #4' if w else ''}", f"eor {d}, {d}, #0x80808080")
                    r(f"uxtb16 {d}, {d}{', ror #8' if w else ''}")
                v, _ = _transform(r, data, "lr", pairs=False)
                r(*(f"strd {v[2 * k]}, {v[2 * k + 1]}, [r6, #{24 * w + 8 * k}]" for k in range(3)))
            r(f"ldr r7, [sp, #{at + 20}]", "add r6, r6, r7", "ldr r7, [sp]")
        r(f"ldr r7, [sp, #{at + 12}]", "sub r8, r7, #1", f"str r8, [sp, #{at + 12}]")
    r.leave(1)
    return r


def horizontal(channels: int) -> Routine:
    """Transform ten columns of T along x: V of two tiles."""
    step = pitch(channels)
    r = Routine("wino4_columns", "const int32_t *t", "int32_t *v", "int32_t groups", "int32_t next")
    r.enter(1)
    r("str r1, [sp]", "mov r11, r3", "mov r12, r2")
    with r.loop("groups", "r12"):
        r("mov r10, #6", "ldr r1, [sp]", "add r2, r1, #16", "str r2, [sp]")
        with r.loop("rows", "r10"):
            for tile, w in np.ndindex(2, 2):
                data = [f"r{2 + c}" for c in range(6)]
                r(*(f"ldr {d}, [r0, #{192 * tile + 48 * c + 24 * w}]" for c, d in enumerate(data)))
                v, _ = _transform(r, data, "r8", pairs=True)
                for j in range(6):
                    r(f"str {v[j]}, [r1, #{COLUMNS.index(j) * step + 8 * w + 4 * tile}]")
            r("add r0, #4", *add_constant("r1", "r1", 6 * step))
        r("add r0, r11")
    r.leave(1)
    return r


def _transform(r: Routine, d: list[str], t: str, *, pairs: bool) -> tuple[list[str], str]:
    """B' on six registers of sums high * 65536 + low; the results' registers and one left over.

    With `pairs` the results are pairs of int16: low is taken as unsigned, 0x8000 too high, and
    the bit that this moved is put right.
    """
    d0, d1, d2, d3, d4, d5 = d
    r(f"sub {t}, {d0}, {d2}", f"sub {d5}, {d5}, {d3}", f"sub {d0}, {d4}, {d2}, lsl #2")
    r(f"sub {d2}, {d4}, {d2}")
    if pairs:
        r(*(f"add {x}, {x}, #0x8000" for x in (d0, d2, d5)))
    r(f"sub {d4}, {d3}, {d1}, lsl #2", f"sub {d3}, {d3}, {d1}", f"add {t}, {d2}, {t}, lsl #2")
    r(f"sub {d5}, {d5}, {d3}, lsl #2", f"add {d1}, {d0}, {d4}", f"sub {d0}, {d0}, {d4}")
    r(f"add {d4}, {d2}, {d3}, lsl #1", f"sub {d2}, {d2}, {d3}, lsl #1")
    results = [t, d1, d0, d4, d2, d5]
    if pairs:
        r(*(f"eor {x}, {x}, #0x8000" for x in results))
    return results, d3


def products(channels: int, form: str, shift: int) -> Routine:
    """Products of two tiles with output channels in pairs, inverse transform, requantization.

    `rq` is `pack_requant`'s table, `out` the pixel at row 0, column 3 of the first tile and `end`
    where it is for the channel after the last; `pixels` are the bytes of four pixels, `row` those
    to the next row.
    """
    step = pitch(channels)
    r = Routine(
        "wino4_products", "const int32_t *v", "const int32_t *u", "const int32_t *rq",
        "int8_t *out", "const int8_t *end", "int32_t pixels", "int32_t row", "int32_t zero",
    )  # fmt: skip
    # v, its end; slots of the first and behind the last column; rq, out; u.
    at = r.enter(7)
    first = 3 * step - SLOT
    r("mov r12, r1", "strd r2, r3, [sp, #16]", *add_constant("r1", "r0", POSITIONS * step))
    r("strd r0, r1, [sp]", *add_constant("r2", "r0", first), *add_constant("r3", "r2", 4 * step))
    r("strd r2, r3, [sp, #8]")
    with r.until("pairs", "r5", "r6"):
        r("ldr lr, [sp]")
        with r.until("rows", "lr", "r4"):
            _row(r, channels, step)
            r("ldr r4, [sp, #4]")
        r("str r12, [sp, #24]", "ldr r12, [sp, #16]")
        with r.until("outputs", "r2", "r3"):
            for output in (0, 1):
                r("ldr lr, [sp, #8]")
                _combine(r, 6 * step, 8 * output)
                r("ldmia r12!, {r2, r3, r6, r7, lr}")
                rows = [("r0", "r1"), ("r8", "r9"), ("r4", "r5"), ("r10", "r11")]
                for pair, factor in zip(rows, ("r2", "r3", "r6", "r6"), strict=True):
                    r(*(f"mul {a}, {a}, {factor}" for a in pair))
                accumulators = [a for pair in rows for a in pair]
                if form != "fast":
                    r(*(f"asr {a}, {a}, #{SHIFT - 1}" for a in accumulators))
                    r(f"ldr r2, [sp, #{at + 12}]")
                requant.emit(r, form, shift, accumulators, ["r7"] * 8, ["lr"] * 8, "r2")
                r("ldr r2, [sp, #20]", f"ldrd r3, r6, [sp, #{at + 4}]")
                if output:
                    r("sub r7, r2, r3, lsr #2", "str r7, [sp, #20]", "add r2, #1")
                for y, (a, b) in enumerate(rows):
                    r(f"strb {a}, [r2]", f"strb {b}, [r2, r3]", *(["add r2, r6"] if y < 3 else []))
            r("ldrd r2, r3, [sp, #8]", *add_constant("r2", "r2", step), "str r2, [sp, #8]")
        r(f"subw r2, r2, #{4 * step}", "str r2, [sp, #8]", "str r12, [sp, #16]")
        r("ldr r12, [sp, #24]", f"ldrd r6, r3, [sp, #{at}]", "ldr r5, [sp, #20]")
        r("add r5, r3", "add r5, #2", "str r5, [sp, #20]")
    r.leave(7)
    return r


def _gemm(r: Routine, channels: int, first: bool = False) -> None:
    multiply(r, channels // 4, "gemm", first)


def _row(r: Routine, channels: int, step: int) -> None:
    """A transformed row: six positions, and its sums of each output column."""

    def four(operation: str, target: int, left: int, right: int, shift: str = "") -> None:
        for k in range(4):
            r(f"{operation} r{target + k}, r{left + k}, r{right + k}{shift}")

    def words(operation: str, first: int, offset: int) -> None:
        r(f"{operation} r{first}, r{first + 1}, [lr, #{offset}]")
        r(f"{operation} r{first + 2}, r{first + 3}, [lr, #{offset + 8}]")

    _gemm(r, channels, first=True)
    r("stmia lr!, {r0-r3}")
    _gemm(r, channels, first=True)
    words("ldrd", 4, -step)
    four("sub", 8, 4, 0)
    four("add", 0, 0, 4)
    r("stmia lr!, {r8-r11}")  # m1 - m2 behind position 1
    words("strd", 0, -step - SLOT)  # m1 + m2 behind position 0
    _gemm(r, channels, first=True)
    r("stmia lr!, {r0-r3}")
    _gemm(r, channels, first=True)
    words("ldrd", 4, -step)
    four("sub", 8, 4, 0)  # m3 - m4
    four("add", 0, 0, 4)  # m3 + m4
    words("ldrd", 4, -3 * step)
    four("add", 0, 0, 4)
    r("stmia lr!, {r0-r3}")  # column 2 = (m1 + m2) + (m3 + m4)
    four("add", 0, 0, 4, ", lsl #1")
    four("add", 0, 0, 4)  # 4 (m1 + m2) + (m3 + m4), which column 0 starts with
    words("ldrd", 4, -2 * step - SLOT)
    words("strd", 0, -2 * step - SLOT)
    four("add", 0, 4, 8, ", lsl #1")  # (m1 - m2) + 2 (m3 - m4), which column 3 starts with
    four("add", 8, 8, 4, ", lsl #1")
    words("strd", 8, step - SLOT)  # column 1 = 2 (m1 - m2) + (m3 - m4)
    _gemm(r, channels)
    words("strd", 0, -2 * step)  # column 3
    r(f"add lr, #{SLOT}")
    words("ldrd", 0, -3 * step - SLOT)
    _gemm(r, channels)
    r("stmia lr!, {r0-r3}")  # column 0


def _combine(r: Routine, row: int, offset: int) -> None:
    """Six rows' sums of one output channel at lr, for two tiles: rows to r0, r8, r4, r10 (+ 1)."""
    at = offset
    for i in range(6):
        if at > 1020:
            r(*add_constant("lr", "lr", at))
            at = 0
        r(f"ldrd r{2 * i}, r{2 * i + 1}, [lr, #{at}]")
        at += row
    r("ldr lr, [r12], #4", "add r2, r2, lr", "add r3, r3, lr")
    for e in (0, 1):
        m0, m1, m2, m3, m4, m5 = (f"r{2 * i + e}" for i in range(6))
        r(f"add lr, {m1}, {m2}", f"sub {m1}, {m1}, {m2}", f"add {m2}, {m3}, {m4}")
        r(f"sub {m3}, {m3}, {m4}", f"add {m0}, {m0}, {m2}", f"add {m0}, {m0}, lr, lsl #2")
        r(f"add {m2}, {m2}, lr", f"add {m4}, {m3}, {m1}, lsl #1", f"add {m5}, {m5}, {m1}")
        r(f"add {m5}, {m5}, {m3}, lsl #1")
