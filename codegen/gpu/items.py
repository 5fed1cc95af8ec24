"""Local sizes of functions that give the same bytes with every one."""

from __future__ import annotations

from itertools import product
from math import prod

from codegen.gpu.kernel import Size

#: Global sizes are rounded up to multiples of these, or of the next power of two where there are
#: fewer items: what local sizes can be made of, at the price of items that return at once.
MULTIPLES = (16, 4, 4)
#: Items of a group: at least a SIMD group's where there are so many, at most what every device has.
FEWEST, MOST, USUAL = 16, 128, 64
#: Local sizes that a tuner may try beside the usual one.
OTHERS = 7


def sizes(items: Size) -> tuple[Size, Size, tuple[Size, ...]]:
    """For so many items: the global size, the local size to take without a tuner, and others."""
    steps = [min(m, 1 << (n - 1).bit_length()) for n, m in zip(items, MULTIPLES, strict=True)]
    x, y, z = (-(-n // s) * s for n, s in zip(items, steps, strict=True))
    powers = [[1 << i for i in range(s.bit_length())] for s in steps]
    found = [(a, b, c) for a, b, c in product(*powers) if prod((a, b, c)) <= MOST]
    fewest = min(FEWEST, max(map(prod, found)))
    # Nearest to the usual number, then the longest rows: neighbours in memory are neighbours here.
    order = sorted(
        (s for s in found if prod(s) >= fewest),
        key=lambda s: (abs(prod(s).bit_length() - USUAL.bit_length()), -s[0], -s[1]),
    )
    return (x, y, z), order[0], tuple(order[1 : 1 + OTHERS])
