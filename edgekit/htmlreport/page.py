"""A report as one HTML file."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit import pages
from edgekit.htmlreport.cards import Card, cards
from edgekit.htmlreport.compare import Change, Comparison, LayerChange
from edgekit.htmlreport.details import details
from edgekit.htmlreport.drawing import describe, draw_arena, draw_graph
from edgekit.htmlreport.facts import BUFFER_KINDS, Facts, Layer
from edgekit.htmlreport.measured import Use
from edgekit.htmlreport.speed import Source, sources


@dataclass(frozen=True)
class Why:
    """What the compiler says of layers: those of `names` have the same operator and note."""

    names: tuple[str, ...]
    op: str
    note: str


def page(facts: Facts, comparison: Comparison | None = None) -> str:
    """The whole page as text; it loads nothing and needs no server."""
    found = sources(facts)
    drawn = draw_graph(facts.nodes, [(e.source, e.target) for e in facts.edges])
    changes = {r.after: r for r in comparison.layers if r.after is not None} if comparison else {}
    calls = len(facts.layers)
    return pages.render(
        "report.html",
        ("base.css", "report.css"),
        ("report.js",),
        facts=facts,
        cards=cards(facts, comparison, found),
        sources=found,
        graph=drawn,
        details=details(facts, found, changes),
        arena=draw_arena(facts),
        describe=lambda b: describe(b, calls),
        memories=_memories(facts),
        kinds=[k for k in BUFFER_KINDS if any(b.kind == k for b in facts.buffers or ())],
        notes=_notes(facts.layers),
        runners_up=[x for x in facts.layers if x.runner_up],
        flash=parts(facts.flash),
        ram=parts(facts.ram),
        comparison=comparison,
        changes=changes,
        marks={i: mark(row) for i, row in changes.items()},
        mark=mark,
        speed_of=speed_of,
        changes_by_name=lambda row: {c.what: c for c in row.changes},
        size=math.prod,
    )


def parts(by_name: dict[str, int]) -> list[tuple[str, int, float, float]]:
    """Parts of a whole: name, bytes, and start and width in percent."""
    whole = sum(by_name.values()) or 1
    found, at = [], 0
    for name, nbytes in by_name.items():
        found.append((name, nbytes, 100 * at / whole, 100 * nbytes / whole))
        at += nbytes
    return found


def mark(row: LayerChange) -> str:
    """The verdict on a layer: that on its speed, or where that is the same the worst of others."""
    if row.presence != "both":
        return row.presence
    speed = speed_of(row)
    if speed is not None and speed.verdict in ("worse", "better"):
        return speed.verdict
    verdicts = [c.verdict for c in row.changes]
    for verdict in ("worse", "better", "same"):
        if verdict in verdicts:
            return verdict
    return ""


def speed_of(row: LayerChange) -> Change | None:
    """The change of a layer's speed, where both builds have it in one unit."""
    return next((c for c in row.changes if c.what == "speed"), None)


def _memories(facts: Facts) -> dict[tuple[str, tuple[Use, ...]], list[str]]:
    """Files of the profiles by board and what the program takes of its memories."""
    found: dict[tuple[str, tuple[Use, ...]], list[str]] = {}
    for p in facts.profiles:
        if p.regions:
            found.setdefault((p.board or "the board", p.regions), []).append(p.file)
    return found


def _notes(layers: tuple[Layer, ...]) -> list[Why]:
    found: dict[tuple[str, str], list[str]] = {}
    for layer in layers:
        if layer.note:
            found.setdefault((layer.op, layer.note), []).append(layer.name)
    return [Why(tuple(names), op, note) for (op, note), names in found.items()]


__all__ = ["Card", "Source", "page"]
