"""Three small plots as inline SVG. They hold no text, so that they may stretch to any width."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH = 300


def _svg(height: int, body: str, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {height}" '
        f'preserveAspectRatio="none" style="height:{height}px">{body}</svg>'
    )


def _rect(x: float, y: float, w: float, h: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{w:.2f}" height="{h:.2f}"/>'


def bar(value: float | None, full: float, kind: str) -> str:
    """A horizontal bar of length ``value / full``; full where `value` is infinite."""
    share = 0.0 if value is None or math.isnan(value) else min(max(value / full, 0.0), 1.0)
    body = _rect(0, 0, WIDTH, 8, "track") + _rect(0, 0, WIDTH * share, 8, kind)
    return _svg(8, body, f"{100 * share:.0f} % of the axis")


def histogram(left: Sequence[int], right: Sequence[int]) -> str:
    """Two histograms over each other on a logarithmic scale: the first filled, the second a line.

    The first and the last bin, values outside of the covered range, stand apart.
    """
    height, n = 90, len(left)
    top = math.log1p(max(*left, *right, 1))
    step = WIDTH / n
    fill, line = [], []
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        y = height * math.log1p(a) / top
        kind = "outside" if i in (0, n - 1) else "left"
        if a:
            fill.append(_rect(i * step, height - y, step, y, kind))
        z = height - max(height * math.log1p(b) / top, 0) if b else height
        line.append(f"{'M' if not i else 'L'}{i * step:.1f} {z:.1f}H{(i + 1) * step:.1f}")
    path = f'<path class="right" d="{"".join(line)}" vector-effect="non-scaling-stroke"/>'
    return _svg(height, "".join(fill) + path, "histograms of both networks")


def ranges(seen: tuple[float, float], covered: tuple[float, float]) -> str:
    """What the first network's values span (thick) in what the integers cover (frame); the part
    of it that the integers do not cover has a colour of its own."""
    lo, hi = min(seen[0], covered[0], 0.0), max(seen[1], covered[1], 0.0)
    scale = WIDTH / (hi - lo) if hi > lo else 0.0

    def span(range_: tuple[float, float], y: float, h: float, kind: str) -> str:
        return _rect((range_[0] - lo) * scale, y, max((range_[1] - range_[0]) * scale, 1), h, kind)

    zero = _rect(max(-lo * scale - 0.5, 0), 0, 1, 14, "zero")
    body = span(covered, 0, 14, "track") + span(seen, 4, 6, "left")
    if seen[0] < covered[0]:
        body += span((seen[0], covered[0]), 4, 6, "outside")
    if seen[1] > covered[1]:
        body += span((covered[1], seen[1]), 4, 6, "outside")
    body += zero
    return _svg(14, body, "range of values within the covered range")
