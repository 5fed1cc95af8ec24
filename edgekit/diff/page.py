"""The comparison as one HTML file: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import math

from edgekit import pages
from edgekit.diff import svg
from edgekit.diff.model import Diff, TensorDiff

#: Histograms are drawn for this many tensors, the worst ones.
HISTOGRAMS = 8


def page(diff: Diff) -> str:
    """The whole page as text."""
    finite = [x for t in diff.tensors for x in (t.sqnr_db, t.local_sqnr_db or 0) if x < math.inf]
    full = max([*finite, 10.0])
    blamed = diff.worst_locally() or diff.worth_lifting() or diff.unmatched
    return pages.render(
        "diff.html",
        ("base.css", "diff.css"),
        diff=diff,
        facts=_facts(diff),
        nobody=not blamed and diff.lift_base_db is None,
        full=full,
        length=lambda db: _length(db, full),
        worst=_worst(diff),
        histogram=lambda t: svg.histogram(t.histogram_left, t.histogram_right),
        ranges=lambda t: svg.ranges(t.seen, t.covered),
    )


def _length(db: float | None, full: float) -> float:
    """Of a bar, in percent; full where nothing differs."""
    return 0.0 if db is None or math.isnan(db) else 100 * min(max(db / full, 0.0), 1.0)


def _facts(diff: Diff) -> list[tuple[str, str]]:
    found = [("SQNR of the logits", pages.decibels(diff.logits_sqnr_db))]
    if diff.agreement is not None:
        found.append(("same class", pages.percent(diff.agreement, 2)))
    found.append(("samples", f"{diff.samples}"))
    if diff.accuracy_left is not None and diff.accuracy_right is not None:
        both = (pages.percent(x, 2) for x in (diff.accuracy_left, diff.accuracy_right))
        found.append(("accuracy", " → ".join(both)))
    if diff.weights_only_db is not None:
        found.append(("with no activation quantized", pages.decibels(diff.weights_only_db)))
    return found


def _worst(diff: Diff) -> list[TensorDiff]:
    """Lifting says what matters; where it was not measured, the local error does."""
    chosen = diff.worth_lifting(HISTOGRAMS) or diff.worst_locally(HISTOGRAMS)
    return chosen or list(diff.tensors[:HISTOGRAMS])
