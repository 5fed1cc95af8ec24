"""Local sizes divide the global size, and the global size covers all items."""

from __future__ import annotations

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from codegen.gpu.items import MOST, sizes

COUNT = st.integers(1, 300)


@given(st.tuples(COUNT, COUNT, COUNT))
def test_sizes(items: tuple[int, int, int]) -> None:
    whole, local, others = sizes(items)
    assert all(n <= w < 2 * n + 1 for n, w in zip(items, whole, strict=True))
    assert len({local, *others}) == 1 + len(others)
    for size in (local, *others):
        assert prod(size) <= MOST
        assert all(w % s == 0 for w, s in zip(whole, size, strict=True))
