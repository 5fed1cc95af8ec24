"""Loops with remainders in their indices, as the generator prints them: int32, never unsigned.

clang 22 vectorizes the same loops with unsigned indices wrongly (DESIGN, "What building taught").
"""

from __future__ import annotations

import ctypes
import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from edgekit.toolchain import host_library

MODULI = (2, 4, 5, 8, 16)
BASES = ("b", "b * {m}", "(b >> 3) * {m}", "b * {m} * 2")
INDICES = (
    "base + i % {m}",
    "base + (i + 1) % {m}",
    "base * 2 + i % {m}",
    "i / {m} * {m} + i % {m}",
)
COUNTS = ("n", "n / {m} * {m}", "64")
LOOPS = [
    (base.format(m=m), index.format(m=m), count.format(m=m), element)
    for m, base, index, count, element in itertools.product(
        MODULI, BASES, INDICES, COUNTS, ("int32_t", "int8_t")
    )
]
FUNCTION = """void f{k}({index} b, {index} n, const {element} *restrict p, int32_t *restrict z)
{{
    const {index} base = {base};
    (void)base;
    (void)n;
    for ({index} i = 0; i < {count}; ++i) {{
        z[i] = i * 3 + p[{at}];
    }}
}}
"""


def wrong_loops(index: str, folder: Path) -> int:
    """How many of `LOOPS` with indices of type `index` zig gets wrong for this machine."""
    text = "#include <stdint.h>\n" + "".join(
        FUNCTION.format(k=k, index=index, element=element, base=base, at=at, count=count)
        for k, (base, at, count, element) in enumerate(LOOPS)
    )
    source = folder / "loops.c"
    source.write_text(text.replace("i * 3", "(int32_t)i * 3"))
    library = ctypes.CDLL(str(host_library([source])))
    tables = {name: np.arange(1024).astype(name[:-2]) for name in ("int32_t", "int8_t")}
    wrong = 0
    for k, (base, at, count, element) in enumerate(LOOPS):
        b, n = 11, 61
        names = {"b": b, "n": n, "base": eval(re.sub("/", "//", base), {"b": b})}
        want = np.zeros(64, np.int32)
        for i in range(eval(re.sub("/", "//", count), names)):
            want[i] = 3 * i + int(tables[element][eval(re.sub("/", "//", at), {**names, "i": i})])
        got = np.zeros(64, np.int32)
        library[f"f{k}"](b, n, *(ctypes.c_void_p(a.ctypes.data) for a in (tables[element], got)))
        wrong += not np.array_equal(got, want)
    return wrong


@pytest.mark.slow
def test_signed_indices_are_right(tmp_path: Path) -> None:
    assert wrong_loops("int32_t", tmp_path) == 0
