"""Where the boxes of a graph go: rows from top to bottom, few crossings, straight long edges.

After Sugiyama, Tagawa and Toda 1981: a row per rank (longest path), bends where an edge passes a
row, orders by barycenters. Places within a row are the least squares fit to the neighbours' places
that keeps the order and the gaps (isotonic regression by pooling adjacent violators), in which long
paths count most, so that they go straight down.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

GAP_X, GAP_Y, LANE = 26.0, 30.0, 14.0
_SWEEPS, _FITS = 8, 8
#: How much more than its neighbours an edge of a path counts, and how much more than a lane a box.
_MAIN, _FIRM = 1e6, 1e3
#: Pixels that nobody sees.
_NEARLY = 5.0


@dataclass(frozen=True)
class Box:
    """A box's size on entry."""

    width: float
    height: float


@dataclass(frozen=True)
class Placement:
    """Centre and top of every box, SVG paths that are the edges, and the size of the whole.

    The edges of one box share a lane; it is a path of its own, and each edge one from there.
    """

    centers: list[float]
    tops: list[float]
    paths: list[str]
    width: float
    height: float


@dataclass
class _Item:
    """A box (`box` is its index), or a lane in which the edges of `source` pass a row."""

    rank: int
    width: float
    box: int | None = None
    above: list[tuple[int, float]] = field(default_factory=list)
    below: list[tuple[int, float]] = field(default_factory=list)
    x: float = 0.0
    #: How much it resists being moved by others of its row.
    weight: float = 1.0


def place(boxes: Sequence[Box], edges: Sequence[tuple[int, int]]) -> Placement:
    """Place `boxes` so that every edge (source, target) goes down.

    Raises:
        ValueError: where an edge does not lead to a later box (the order is one of execution).
    """
    if any(a >= b for a, b in edges):
        raise ValueError("an edge leads upwards")
    ranks = _ranks(len(boxes), edges)
    main = _main_edges(len(boxes), edges)
    lengths = _path_lengths(len(boxes), main)
    items = [
        _Item(ranks[i], b.width, i, weight=_FIRM * lengths[i] ** 2) for i, b in enumerate(boxes)
    ]
    lanes = _lanes(items, edges, main)
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for i, item in enumerate(items):
        rows[item.rank].append(i)
    _order(items, rows)
    _fit(items, rows)
    left = min((i.x - i.width / 2 for i in items), default=0.0)
    for item in items:
        item.x -= left
    heights = [max((boxes[i].height for i in row if i < len(boxes)), default=0.0) for row in rows]
    row_top, y = [], 0.0
    for height in heights:
        row_top.append(y)
        y += height + GAP_Y
    tops = [row_top[r] + (heights[r] - b.height) / 2 for r, b in zip(ranks, boxes, strict=True)]
    bottoms = [y + b.height for y, b in zip(tops, boxes, strict=True)]
    starts = {a: [(items[a].x, bottoms[a])] for a, _ in edges}
    for a, chain in lanes.items():
        for lane in chain:
            at, row = items[lane].x, items[lane].rank
            starts[a] += [(at, row_top[row]), (at, row_top[row] + heights[row])]
    paths = [_path(points) for points in starts.values() if len(points) > 1]
    for a, b in edges:
        passed = ranks[b] - ranks[a] - 1
        paths.append(_path([starts[a][2 * passed], (items[b].x, tops[b])]))
    width = max((i.x + i.width / 2 for i in items), default=0.0)
    return Placement(
        [items[i].x for i in range(len(boxes))], tops, paths, width, max(y - GAP_Y, 0.0)
    )


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path from above; what nothing leads to stands right over its first reader."""
    ranks = [0] * count
    readers, fed = defaultdict(list), set()
    for a, b in sorted(edges, key=lambda e: e[1]):
        ranks[b] = max(ranks[b], ranks[a] + 1)
        readers[a].append(b)
        fed.add(b)
    for i in range(count):
        if i not in fed and readers[i]:
            ranks[i] = max(min(ranks[b] for b in readers[i]) - 1, 0)
    return ranks


def _main_edges(count: int, edges: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Edges that lead from a box to the deepest of its readers and are its longest way up."""
    depth, height = [0] * count, [0] * count
    up: dict[int, int] = {}
    down: dict[int, int] = {}
    for a, b in sorted(edges, key=lambda e: e[1]):
        if depth[a] + 1 > depth[b]:
            depth[b], up[b] = depth[a] + 1, a
    for a, b in sorted(edges, key=lambda e: -e[0]):
        if height[b] + 1 > height[a]:
            height[a], down[a] = height[b] + 1, b
    return {(a, b) for a, b in down.items() if up[b] == a}


def _path_lengths(count: int, main: set[tuple[int, int]]) -> list[int]:
    """For every box how many boxes the path has that main edges make through it."""
    path = list(range(count))
    for a, b in sorted(main):
        path[b] = path[a]
    sizes = Counter(path)
    return [sizes[p] for p in path]


def _lanes(
    items: list[_Item], edges: Sequence[tuple[int, int]], main: set[tuple[int, int]]
) -> dict[int, list[int]]:
    """Join items of neighbouring rows; long edges of one box share a lane. Lanes by box, by row."""
    lanes: dict[int, list[int]] = defaultdict(list)
    for a, b in edges:
        chain = lanes[a]
        for rank in range(items[a].rank + 1 + len(chain), items[b].rank):
            above = chain[-1] if chain else a
            chain.append(len(items))
            items.append(_Item(rank, LANE))
            _join(items, above, chain[-1], 1.0)
        steps = items[b].rank - items[a].rank - 2
        _join(items, chain[steps] if steps >= 0 else a, b, _MAIN if (a, b) in main else 1.0)
    return lanes


def _join(items: list[_Item], above: int, below: int, weight: float) -> None:
    items[above].below.append((below, weight))
    items[below].above.append((above, weight))


def _order(items: list[_Item], rows: list[list[int]]) -> None:
    """Sort each row by the mean place of the neighbours in the row before, down and up again."""
    at = {i: k for row in rows for k, i in enumerate(row)}
    best, least = [list(r) for r in rows], _crossings(items, rows, at)
    for sweep in range(_SWEEPS):
        if not least:
            break
        down = sweep % 2 == 0
        for row in rows[1:] if down else rows[-2::-1]:
            keys = {}
            for i in row:
                near = items[i].above if down else items[i].below
                keys[i] = sum(at[j] for j, _ in near) / len(near) if near else float(at[i])
            row.sort(key=keys.__getitem__)
            at.update((i, k) for k, i in enumerate(row))
        if (found := _crossings(items, rows, at)) < least:
            best, least = [list(r) for r in rows], found
    rows[:] = best


def _crossings(items: list[_Item], rows: list[list[int]], at: dict[int, int]) -> int:
    """Pairs of edges between neighbouring rows that cross."""
    total = 0
    for row in rows:
        seen: list[int] = []
        for i in row:
            ends = sorted(at[j] for j, _ in items[i].below)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def _fit(items: list[_Item], rows: list[list[int]]) -> None:
    for row in rows:
        _pool(items, row, dict.fromkeys(row, 0.0))
    for turn in range(_FITS):
        down = turn % 2 == 0
        for row in rows[1:] if down else rows[-2::-1]:
            wanted = {}
            for i in row:
                near = items[i].above if down else items[i].below
                whole = sum(w for _, w in near)
                wanted[i] = sum(items[j].x * w for j, w in near) / whole if near else items[i].x
            _pool(items, row, wanted)


def _pool(items: list[_Item], row: list[int], wanted: dict[int, float]) -> None:
    """The places nearest to `wanted` that keep the order of `row` and its gaps."""
    shift, blocks = [], []
    offset = 0.0
    for k, i in enumerate(row):
        if k:
            offset += (items[row[k - 1]].width + items[i].width) / 2 + GAP_X
        shift.append(offset)
        blocks.append((wanted[i] - offset, items[i].weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m, p), (b, n, q) = blocks[-2:]
            blocks[-2:] = [((a * m + b * n) / (m + n), m + n, p + q)]
    k = 0
    for place_, _, count in blocks:
        for _ in range(count):
            items[row[k]].x = place_ + shift[k]
            k += 1


def _path(points: list[tuple[float, float]]) -> str:
    """Straight down where the ends are above each other, or nearly, else an S between the rows."""
    x, y = points[0]
    parts = [f"M{x:.0f} {y:.0f}"]
    for to_x, to_y in points[1:]:
        if abs(to_x - x) >= _NEARLY:
            half = (y + to_y) / 2
            parts.append(f"C{x:.0f} {half:.0f} {to_x:.0f} {half:.0f} {to_x:.0f} {to_y:.0f}")
            x = to_x
        elif parts[-1].startswith("V"):
            parts[-1] = f"V{to_y:.0f}"
        else:
            parts.append(f"V{to_y:.0f}")
        y = to_y
    return "".join(parts)
