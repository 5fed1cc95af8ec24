"""Two small plots as inline SVG. They hold no text, so that they may stretch to any width."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH = 300


def _svg(height: int, body: str, label: str) -> Markup:
    """The words and numbers in `body` and `label` are all ours: nothing is to be escaped."""
    return Markup(
        f'<svg class="plot" role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}" '
        f'preserveAspectRatio="none" height="{height}">{body}</svg>'
    )


def _rect(x: float, y: float, w: float, h: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{w:.2f}" height="{h:.2f}"/>'


def histogram(left: Sequence[int], right: Sequence[int]) -> Markup:
    """Two histograms over each other on a logarithmic scale: the first filled, the second a line.

    The first and the last bin, values outside of the covered range, stand apart.
    """
    height, n = 90, len(left)
    top = math.log1p(max(*left, *right, 1))
    step = WIDTH / n
    fill, line = [], []
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        y = height * math.log1p(a) / top
        kind = "fill-b" if i in (0, n - 1) else "fill-a"
        if a:
            fill.append(_rect(i * step, height - y, step, y, kind))
        z = height - max(height * math.log1p(b) / top, 0) if b else height
        line.append(f"{'M' if not i else 'L'}{i * step:.1f} {z:.1f}H{(i + 1) * step:.1f}")
    path = f'<path class="outline" d="{"".join(line)}" vector-effect="non-scaling-stroke"/>'
    return _svg(height, "".join(fill) + path, "histograms of both networks")


def ranges(seen: tuple[float, float], covered: tuple[float, float]) -> Markup:
    """What the first network's values span (thick) in what the integers cover (frame); the part
    of it that the integers do not cover has a colour of its own."""
    lo, hi = min(seen[0], covered[0], 0.0), max(seen[1], covered[1], 0.0)
    scale = WIDTH / (hi - lo) if hi > lo else 0.0

    def span(range_: tuple[float, float], y: float, h: float, kind: str) -> str:
        return _rect((range_[0] - lo) * scale, y, max((range_[1] - range_[0]) * scale, 1), h, kind)

    zero = _rect(max(-lo * scale - 0.5, 0), 0, 1, 14, "zero")
    body = span(covered, 0, 14, "track") + span(seen, 4, 6, "fill-a")
    if seen[0] < covered[0]:
        body += span((seen[0], covered[0]), 4, 6, "fill-b")
    if seen[1] > covered[1]:
        body += span((covered[1], seen[1]), 4, 6, "fill-b")
    body += zero
    return _svg(14, body, "range of values within the covered range")
