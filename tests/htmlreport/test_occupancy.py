"""Bytes in use: each counted once, whatever overlaps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgekit.htmlreport.facts import Buffer
from edgekit.htmlreport.occupancy import occupancy

_BUFFERS = st.lists(
    st.builds(
        lambda offset, nbytes, first, length: Buffer("b", offset, nbytes, first, first + length),
        st.integers(0, 60), st.integers(0, 40), st.integers(-1, 6), st.integers(0, 6),
    ),
    max_size=8,
)  # fmt: skip


@given(_BUFFERS, st.integers(0, 7))
def test_against_counting_bytes(buffers: list[Buffer], calls: int) -> None:
    found = occupancy(buffers, calls)
    for call in range(calls):
        taken = {
            at
            for b in buffers
            if b.first <= call <= b.last
            for at in range(b.offset, b.offset + b.nbytes)
        }
        assert found.occupied[call] == len(taken)
    if calls:
        assert found.peak is not None
        assert found.occupied[found.peak] == max(found.occupied)
    else:
        assert found.peak is None
