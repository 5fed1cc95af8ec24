"""The graph's layout: nothing overlaps, everything goes down, long paths are straight."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.htmlreport.layout import GAP_X, Box, place

_SIZES = [(236.0, 50.0), (176.0, 26.0)]


@st.composite
def drawn_graphs(draw: st.DrawFn) -> tuple[list[Box], list[tuple[int, int]]]:
    count = draw(st.integers(0, 24))
    boxes = [Box(*draw(st.sampled_from(_SIZES))) for _ in range(count)]
    pairs = [(a, b) for b in range(count) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=40)) if pairs else []
    return boxes, edges


@given(drawn_graphs())
@settings(max_examples=60, deadline=None)
def test_boxes_lie_apart_and_edges_lead_down(
    graph: tuple[list[Box], list[tuple[int, int]]],
) -> None:
    boxes, edges = graph
    found = place(boxes, edges)
    spans = [
        (x - b.width / 2, x + b.width / 2, y, y + b.height)
        for b, x, y in zip(boxes, found.centers, found.tops, strict=True)
    ]
    for i, (left, right, top, bottom) in enumerate(spans):
        assert left >= -0.01 and right <= found.width + 0.01
        assert top >= 0 and bottom <= found.height + 0.01
        for l2, r2, t2, b2 in spans[:i]:
            beside = right + GAP_X <= l2 + 0.01 or r2 + GAP_X <= left + 0.01
            assert beside or bottom <= t2 or b2 <= top
    assert all(re.fullmatch(r"M-?\d+ \d+([VC][-\d ]+)+", path) for path in found.paths)
    own = found.paths[len(found.paths) - len(edges) :]  # those in front of them are lanes
    for (a, b), path in zip(edges, own, strict=True):
        assert spans[a][3] < spans[b][2]
        assert path.endswith(f"{found.tops[b]:.0f}")


def test_the_longest_path_is_straight_and_skips_go_around_it() -> None:
    boxes = [Box(*_SIZES[0]) for _ in range(10)]
    chain = [(i, i + 1) for i in range(9)]
    found = place(boxes, [*chain, (0, 3), (3, 6), (2, 9)])
    assert max(found.centers) - min(found.centers) < 1
    lanes, own = found.paths[:3], found.paths[3:]
    assert len(own) == 12 and not [p for p in own[: len(chain)] if "C" in p]
    for lane in lanes:  # down beside the boxes, not through them
        beside = [int(x) for x in re.findall(r" (\d+) \d+V", lane)]
        assert beside and all(abs(x - found.centers[0]) > 118 for x in beside)


def test_branches_do_not_cross() -> None:
    boxes = [Box(*_SIZES[1]) for _ in range(8)]
    # 0 forks to 1, 2, 3; each goes on to its own; all meet in 7, listed the other way around.
    edges = [(0, 1), (0, 2), (0, 3), (1, 6), (2, 5), (3, 4), (4, 7), (5, 7), (6, 7)]
    found = place(boxes, edges)
    order = [sorted(row, key=lambda i: found.centers[i]) for row in ((1, 2, 3), (6, 5, 4))]
    assert [(1, 2, 3).index(i) for i in order[0]] == [(6, 5, 4).index(i) for i in order[1]]


def test_edges_that_lead_up_are_a_bug() -> None:
    with pytest.raises(ValueError, match="upwards"):
        place([Box(1, 1)] * 2, [(1, 0)])


def test_what_everything_reads_is_drawn_once() -> None:
    """A mask that each of 400 layers reads: one lane, not 400 of them."""
    boxes = [Box(*_SIZES[0]) for _ in range(401)]
    edges = [(i, i + 1) for i in range(400)] + [(0, i) for i in range(2, 401)]
    assert sum(map(len, place(boxes, edges).paths)) < 60_000
