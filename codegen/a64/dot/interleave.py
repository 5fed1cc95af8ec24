"""Four rows of an image interleaved byte by byte, for dot products over rows.

Of sixteen channels in a column, four vectors hold four channels each with their pixels of four
rows; with 8, 4, 2 or 1 channels the sixteen lanes are neighbouring columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.a64.routine import Routine

LANES, VECTOR = 16, 16
#: Bytes of four registers: of a column's four rows, or of weights for them.
QUAD = 64
#: Quads of padding that are written without a loop.
WRITTEN_OUT = 8


@dataclass(frozen=True)
class Columns:
    """What is read of an image: `inside` columns, with `left` and `right` ones of padding."""

    channels: int
    height: int
    width: int
    left: int
    inside: int
    right: int

    @property
    def pixels(self) -> int:
        """Columns that a vector holds."""
        return LANES // self.channels if self.channels < LANES else 1

    @property
    def size(self) -> int:
        """Bytes of an interleaved column."""
        return QUAD // self.pixels

    @property
    def trips(self) -> dict[str, int]:
        """Of the loops of `rows`."""
        return {
            "columns": self.inside // self.pixels,
            "before": self.left * self.size // QUAD,
            "behind": self.right * self.size // QUAD,
        }


def rows(columns: Columns, quads: int, step: int, zero_point: int) -> Routine:
    """So many quads of rows for each of some groups of output rows, of one block of channels.

    The C function takes where to, the image from its first row and the block's first channel on,
    a vector's room for padding, the first group's first row, and how many groups.

    Args:
        step: rows from group to group.
    """
    c, pixels = columns.channels, columns.pixels
    r = Routine(
        "a64_interleave", "int8_t *to", "const int8_t *x", "int8_t *padding", "int32_t row",
        "int32_t groups",
    )  # fmt: skip
    r(*(f"movi v{v}.16b, #{zero_point & 0xFF}" for v in range(16, 20)), "str q16, [x2]")
    r.constant("w15", columns.width * c)
    r.constant("w16", columns.height)
    r.constant("x14", c * pixels)
    with r.loop("groups", "w4"):
        for quad in range(quads):
            for i in range(4):  # rows that do not exist are padding, over and over
                row, forward = f"x{5 + i}", f"x{9 + i}"
                r(f"add w13, w3, #{4 * quad + i}", "cmp w13, w16")
                r(f"umaddl {row}, w13, w15, x1", f"csel {row}, {row}, x2, lo")
                r(f"csel {forward}, x14, xzr, lo")
            _fill(r, "before", columns.left * columns.size)
            r(f"mov w13, #{columns.inside // pixels}")
            with r.loop("columns", "w13"):
                r(*(f"ld1 {{v{i}.16b}}, [x{5 + i}], x{9 + i}" for i in range(4)))
                _zip(r)
            if rest := columns.inside % pixels:  # the last columns, some of them again
                back = pixels - rest
                for i in range(4):
                    r(f"cmp x{9 + i}, #0", f"sub x13, x{5 + i}, #{back * c}")
                    r(f"csel x{5 + i}, x{5 + i}, x13, eq", f"ldr q{i}, [x{5 + i}]")
                r(f"sub x0, x0, #{back * columns.size}")
                _zip(r)
            _fill(r, "behind", columns.right * columns.size)
        r(f"add w3, w3, #{step}")
    return r


def series(channels: int, height: int, count: int) -> Routine:
    """The first `count` fours of a series' rows, of one block of channels.

    Bytes for rows that do not exist are left as they are. Args: where to, the block's first row.
    """
    r = Routine("a64_fours", "int8_t *to", "const int8_t *x")
    r("mov x5, x1")
    for i in range(1, 4):
        r.add(f"x{5 + i}", f"x{4 + i}", channels)
    r.constant("x14", 4 * channels)
    whole = min(height // 4, count)
    if whole:
        r(f"mov w13, #{whole}")
        with r.loop("columns", "w13"):
            r(*(f"ld1 {{v{i}.16b}}, [x{5 + i}], x14" for i in range(4)))
            _zip(r)
    if whole < count and height % 4:
        r(*(f"ldr q{i}, [x{5 + i}]" for i in range(height % 4)))
        _zip(r)
    return r


def _fill(r: Routine, name: str, nbytes: int) -> None:
    """Columns of padding."""
    fill = f"st1 {names(four(16))}, [x0], #{QUAD}"
    whole, rest = divmod(nbytes, QUAD)
    if whole > WRITTEN_OUT:
        r.constant("x13", whole)
        with r.loop(name, "x13"):
            r(fill)
    else:
        r(*[fill] * whole)
    for size, register in ((32, "p q16, q17"), (16, "r q16"), (8, "r d16"), (4, "r s16")):
        if rest & size:
            r(f"st{register}, [x0], #{size}")


def _zip(r: Routine) -> None:
    """v0 to v3, four rows of sixteen lanes, interleaved to x0."""
    for i, (a, b) in enumerate(((0, 2), (1, 3))):
        r(f"zip1 v{4 + 2 * i}.16b, v{a}.16b, v{b}.16b")
        r(f"zip2 v{5 + 2 * i}.16b, v{a}.16b, v{b}.16b")
    for i, (a, b) in enumerate(((4, 6), (5, 7))):
        r(f"zip1 v{2 * i}.16b, v{a}.16b, v{b}.16b")
        r(f"zip2 v{2 * i + 1}.16b, v{a}.16b, v{b}.16b")
    r(f"st1 {names(four(0))}, [x0], #{QUAD}")


def four(first: int) -> list[int]:
    """Registers from `first` on."""
    return list(range(first, first + 4))


def names(registers: list[int]) -> str:
    """Registers as LD1 and ST1 name them."""
    return "{" + ", ".join(f"v{v}.16b" for v in registers) + "}"
