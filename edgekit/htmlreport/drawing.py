"""Coordinates of the two drawings: the graph, and the arena over the calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.htmlreport import layout
from edgekit.htmlreport.facts import Buffer, Facts, GraphNode
from edgekit.htmlreport.occupancy import Occupancy, occupancy
from edgekit.pages import grouped, short

#: Pixels. A layer's box has two lines, everything else one.
LAYER_SIZE, SMALL_SIZE = (236.0, 50.0), (176.0, 26.0)
#: Characters that fit in a box of either size.
_FIT = {LAYER_SIZE: 20, SMALL_SIZE: 24}


@dataclass(frozen=True)
class DrawnNode:
    """A box with its upper left corner; `label` fits in it."""

    node: GraphNode
    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class DrawnGraph:
    """Boxes, and edges as SVG paths, in pixels."""

    nodes: list[DrawnNode]
    edges: list[str]
    width: float
    height: float


def draw_graph(nodes: Sequence[GraphNode], edges: Sequence[tuple[int, int]]) -> DrawnGraph:
    """Place boxes for `nodes`; `edges` must lead to later nodes."""
    sizes = [LAYER_SIZE if n.kind == "layer" else SMALL_SIZE for n in nodes]
    placed = layout.place([layout.Box(*s) for s in sizes], edges)
    drawn = [
        DrawnNode(n, x - w / 2, y, w, h, short(n.name, _FIT[w, h]))
        for n, (w, h), x, y in zip(nodes, sizes, placed.centers, placed.tops, strict=True)
    ]
    return DrawnGraph(drawn, placed.paths, placed.width, placed.height)


@dataclass(frozen=True)
class DrawnBuffer:
    """A rectangle of the arena; `label` is "" where none fits."""

    buffer: Buffer
    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class DrawnArena:
    """Bytes by call as columns (x, y, width, height, bytes), and under them the buffers.

    Offsets grow upwards. `ticks` are (y, bytes) of the lower drawing.
    """

    columns: list[tuple[float, float, float, float, int]]
    buffers: list[DrawnBuffer]
    ticks: list[tuple[float, int]]
    left: float
    bars_top: float
    bars_bottom: float
    map_top: float
    map_bottom: float
    width: float
    height: float
    occupancy: Occupancy


_LEFT, _RIGHT, _BARS, _MAP, _GAP = 66.0, 14.0, 110.0, 300.0, 34.0
#: Width of the drawing that columns share, and what one of them has at least and at most.
_ROOM, _NARROW, _WIDE = 940.0, 17.0, 150.0


def draw_arena(facts: Facts) -> DrawnArena | None:
    """None where the memory plan is not known, or nothing is in it."""
    calls = len(facts.layers)
    buffers = facts.buffers or ()
    found = occupancy(buffers, calls)
    if not found.highest or not calls:
        return None
    column = min(max(_ROOM / calls, _NARROW), _WIDE)
    bars_top = 24.0
    bars_bottom = bars_top + _BARS
    map_top = bars_bottom + _GAP
    map_bottom = map_top + _MAP
    most = max(found.occupied) or 1
    columns = []
    for i, nbytes in enumerate(found.occupied):
        height = _BARS * nbytes / most
        columns.append((_LEFT + i * column, bars_bottom - height, column, height, nbytes))
    scale = _MAP / found.highest
    drawn = []
    for b in buffers:
        first, last = max(b.first, 0), min(b.last, calls - 1)
        if first > last or not b.nbytes:
            continue
        width, height = (last - first + 1) * column, b.nbytes * scale
        fits = int((width - 8) / 6.6)
        name = "scratch" if b.kind == "scratch" else b.name
        label = short(name, fits) if height >= 13 and fits >= min(len(name), 8) else ""
        top = map_bottom - (b.offset + b.nbytes) * scale
        drawn.append(DrawnBuffer(b, _LEFT + first * column, top, width, max(height, 1.0), label))
    ticks = [(map_bottom - n * scale, n) for n in _nice(found.highest)]
    width = _LEFT + calls * column + _RIGHT
    return DrawnArena(columns, drawn, ticks, _LEFT, bars_top, bars_bottom, map_top,
                      map_bottom, width, map_bottom + 40, found)  # fmt: skip


def _nice(highest: int, about: int = 5) -> list[int]:
    """Round numbers from 0 to `highest`, about so many."""
    step = 1
    while highest / step > about:
        step *= 2
    return list(range(0, highest + 1, step))


def describe(b: Buffer, calls: int) -> str:
    """A buffer in a sentence."""
    first = "the start" if b.first < 0 else f"call {b.first}"
    last = "the end" if b.last >= calls else f"call {b.last}"
    span = first if first == last else f"{first} to {last}"
    end = grouped(b.offset + b.nbytes)
    return f"{b.name}: {b.kind}, {grouped(b.nbytes)} B at {grouped(b.offset)} to {end}, {span}"
