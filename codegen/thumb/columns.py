"""Pixels of four channels as columns of int16 pairs, which depthwise kernels read.

A buffer holds columns of a padded image for four channels: word t of column c and channel q, at
``buffer + 4 * pitch * c + pitch * q + 4 * t``, is the pair of padded rows (2t, 2t + 1). Two
vertical neighbours are one operand of SMLAD that way. Padding is written once, when the buffer is
filled with pairs of the zero point; `transpose` writes real pixels only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from codegen.kernel import Cost
from codegen.thumb.routine import Routine

#: Channels that are transposed together: a word of the image.
CHANNELS = 4
#: Bits of the routine's `parts`: which rows besides groups of four a column has.
FIRST, FOURS, TWO, LAST = 1, 2, 4, 8


@dataclass(frozen=True)
class Rows:
    """How `rows` rows of the image that follow `pad` rows of padding split into words."""

    pad: int
    rows: int

    @property
    def first(self) -> int:
        """1 where the first row is the upper half of a word with padding below."""
        return int(self.pad % 2 == 1 and self.rows > 0)

    @property
    def fours(self) -> int:
        return (self.rows - self.first) // 4

    @property
    def two(self) -> int:
        return (self.rows - self.first) % 4 // 2

    @property
    def last(self) -> int:
        """1 where the last row is the lower half of a word with padding above."""
        return (self.rows - self.first) % 2

    @property
    def parts(self) -> int:
        return FIRST * self.first + FOURS * (self.fours > 0) + TWO * self.two + LAST * self.last

    @property
    def offset(self) -> int:
        """Byte offset of the word that the first row goes to."""
        return self.pad // 2 * 4

    def cost(self, pitch: int, columns: int) -> Cost:
        """Of one call of `transpose`."""
        return transpose(pitch).cost(
            columns=columns, first=self.first, fours=self.fours, two=self.two, last=self.last,
            some=int(self.fours > 0),
        )  # fmt: skip


@cache
def transpose(pitch: int) -> Routine:
    """``(x, to, row, step, parts, fours, columns)``: `columns` columns of four channels.

    `x` is the first row's pixel in the first column, `row` and `step` the bytes from row to row and
    from column to column, `to` the word of the first row; `parts` and `fours` are `Rows`'.
    """
    r = Routine(
        "columns", "const int8_t *x", "int16_t *to", "int32_t row", "int32_t step",
        "int32_t parts", "int32_t fours", "int32_t columns",
    )  # fmt: skip
    at = r.enter(2)
    parts, fours, columns, base = f"[sp, #{at}]", f"[sp, #{at + 4}]", f"[sp, #{at + 8}]", "[sp]"
    r("str r3, [sp, #4]")
    a, b, c, d = ("r4", "r5"), ("r6", "r7"), ("r8", "r9"), ("r10", "r11")
    image, count, t = "r12", "r3", "lr"
    word = [f"[r1, #{pitch * q}]" if q else "[r1]" for q in range(CHANNELS)]
    with r.until("columns", "r4", "#0"):
        r(f"mov {image}, r0", f"str r1, {base}", f"ldr {t}, {parts}")
        r(f"tst {t}, #{FIRST}")
        with r.when("first", "ne"):
            r(f"ldr {a[0]}, [{image}]", f"add {image}, {image}, r2")
            _single(r, a, pitch, 2)
            r("add r1, r1, #4")
        r(f"tst {t}, #{FOURS}")
        with r.when("some", "ne"):
            r(f"ldr {count}, {fours}")
            with r.loop("fours", count):
                for upper, lower in ((a, b), (c, d)):
                    r(f"ldr {upper[0]}, [{image}]", f"ldr {lower[0]}, [{image}, r2]")
                    r(f"add {image}, {image}, r2, lsl #1")
                _pairs(r, a, b)
                _pairs(r, c, d)
                for q in (3, 2, 1):
                    r(f"strd {(a + b)[q]}, {(c + d)[q]}, {word[q]}")
                r(f"strd {a[0]}, {c[0]}, [r1], #8")
            r(f"ldr {t}, {parts}")
        r(f"tst {t}, #{TWO}")
        with r.when("two", "ne"):
            r(f"ldr {a[0]}, [{image}]", f"ldr {b[0]}, [{image}, r2]")
            r(f"add {image}, {image}, r2, lsl #1")
            _pairs(r, a, b)
            r(*(f"str {(a + b)[q]}, {word[q]}" for q in (3, 2, 1)), f"str {a[0]}, [r1], #4")
        r(f"tst {t}, #{LAST}")
        with r.when("last", "ne"):
            r(f"ldr {a[0]}, [{image}]")
            _single(r, a, pitch, 0)
        r(f"ldrd r1, r5, {base}", "add r0, r0, r5", f"addw r1, r1, #{CHANNELS * pitch}")
        r(f"ldr r4, {columns}", "sub r4, r4, #1", f"str r4, {columns}")
    r.leave(2)
    return r


def _pairs(r: Routine, a: tuple[str, str], b: tuple[str, str]) -> None:
    """Four bytes of a row in a[0], of the next in b[0]: pairs of channels 0, 1 in a, 2, 3 in b."""
    r(f"pkhtb {b[1]}, {b[0]}, {a[0]}, asr #16", f"pkhbt {a[1]}, {a[0]}, {b[0]}, lsl #16")
    r(f"sxtb16 {b[0]}, {b[1]}", f"sxtb16 {b[1]}, {b[1]}, ror #8")
    r(f"sxtb16 {a[0]}, {a[1]}", f"sxtb16 {a[1]}, {a[1]}, ror #8")


def _single(r: Routine, row: tuple[str, str], pitch: int, half: int) -> None:
    """Four bytes in the first register to one half of the words at r1."""
    even, odd = row
    r(f"sxtb16 {odd}, {even}, ror #8", f"sxtb16 {even}, {even}")
    for q, register in enumerate((even, odd, even, odd)):
        if q == 2:
            r(f"lsr {even}, {even}, #16", f"lsr {odd}, {odd}, #16")
        r(f"strh {register}, [r1, #{pitch * q + half}]")
