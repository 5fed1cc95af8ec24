"""Rows of an image with its padding, copied to scratch."""

from __future__ import annotations

from functools import cache

from codegen.a64.routine import Routine
from codegen.kernel import Cost

#: Bytes that a loop moves in a round; shorter rows are written out.
ROUND, WRITTEN_OUT = 256, 1536
#: Instructions of the C that calls it.
CALL = 30
#: Bytes that are moved at once, and the registers that hold them.
_PIECES = (
    (64, "{{v{0}.16b, v{1}.16b, v{2}.16b, v{3}.16b}}"), (32, "q{0}, q{1}"), (16, "q{0}"),
    (8, "d{0}"), (4, "s{0}"), (2, "h{0}"), (1, "b{0}"),
)  # fmt: skip


@cache
def rows(left: int, middle: int, right: int, pitch: int, zero_point: int) -> Routine:
    """Copies rows of `middle` bytes and surrounds them with bytes of the zero point.

    The C function takes where to, where from, and how many rows to make above, inside and below.

    Args:
        left, right: bytes of padding in a row.
        pitch: bytes from row to row of what is copied.
    """
    r = Routine(
        "a64_pad", "int8_t *to", "const int8_t *from", "int32_t above", "int32_t inside",
        "int32_t below",
    )  # fmt: skip
    r(*(f"movi v{i}.16b, #{zero_point & 0xFF}" for i in range(4)))
    whole = left + middle + right
    for name, counter in (("above", "w2"), ("inside", "w3"), ("below", "w4")):
        after = r.label()
        r(f"cbz {counter}, {after}f")
        with r.loop(name, counter):
            if name == "inside":
                _move(r, left, "", "left")
                _move(r, middle, "x1", "middle")
                r.add("x1", "x1", pitch - middle)
                _move(r, right, "", "right")
            else:
                _move(r, whole, "", "whole")
        r(f"{after}:")
    return r


def cost(r: Routine, sizes: tuple[int, int, int], above: int, inside: int, below: int) -> Cost:
    """Of one call; `sizes` are `left`, `middle` and `right`."""
    names = dict(zip(("left", "middle", "right"), sizes, strict=True), whole=sum(sizes))
    trips = {name: _rounds(size) for name, size in names.items()}
    return r.cost(above=above, inside=inside, below=below, **trips) + Cost(CALL, CALL)


def _rounds(count: int) -> int:
    return count // ROUND if count > WRITTEN_OUT else 0


def _move(r: Routine, count: int, source: str, name: str) -> None:
    """`count` bytes to x0, which advances, from `source` or of v0."""
    if rounds := _rounds(count):
        r(f"mov x9, #{rounds}")
        with r.loop(name, "x9"):
            _pieces(r, ROUND, source)
        count -= rounds * ROUND
    _pieces(r, count, source)


def _pieces(r: Routine, count: int, source: str) -> None:
    for size, registers in _PIECES:
        name = "1" if size == 64 else "p" if size == 32 else "r"
        for _ in range(count // size):
            if source:
                r(f"ld{name} {registers.format(4, 5, 6, 7)}, [{source}], #{size}")
                r(f"st{name} {registers.format(4, 5, 6, 7)}, [x0], #{size}")
            else:
                r(f"st{name} {registers.format(0, 1, 2, 3)}, [x0], #{size}")
        count %= size
