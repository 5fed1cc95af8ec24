"""The comparison as one HTML file: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import math
from html import escape

from edgekit.diff import svg
from edgekit.diff.model import Diff, TensorDiff

#: Histograms are drawn for this many tensors, the worst ones.
HISTOGRAMS = 8

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2126;--dim:#5a6570;--track:#e6e9ec;--a:#7f95aa;
--b:#c8501e;--c:#2f7d5b;--line:#d5dade}
@media(prefers-color-scheme:dark){:root{--bg:#15181b;--fg:#e6e8ea;--dim:#9aa4ae;--track:#2b3136;
--a:#6f88a0;--b:#f08a52;--c:#5cba90;--line:#363d43}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:68rem;padding:1rem;background:var(--bg);color:var(--fg);
font:16px/1.45 system-ui,sans-serif}
h1{font-size:1.4rem;margin:.3rem 0}h2{font-size:1.1rem;margin:2rem 0 .3rem}
p{margin:.3rem 0 .8rem;max-width:44rem}.dim,small{color:var(--dim)}
code{overflow-wrap:anywhere;font-size:.9em}
svg{display:block;width:100%}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.6rem;
margin:1rem 0}
.facts div{border:1px solid var(--line);border-radius:6px;padding:.5rem .7rem}
.facts b{display:block;font-size:1.3rem}
.row{padding:.3rem 0;border-top:1px solid var(--line);display:grid;gap:.1rem 1rem;
grid-template-columns:20rem 1fr;align-items:center}
.row>div:first-child{line-height:1.25}.row>div>small{display:block}
@media(max-width:44rem){.row{grid-template-columns:1fr}}
.pair{display:grid;grid-template-columns:1fr 6.5rem;gap:.1rem .6rem;align-items:center}
.pair span{text-align:right;font-variant-numeric:tabular-nums;font-size:.85rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}
.ends{display:flex;justify-content:space-between;font-size:.8rem;color:var(--dim)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .6rem;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}
td:first-child,th:first-child{text-align:left}
.track{fill:var(--track)}.left{fill:var(--a)}.total{fill:var(--b)}.local{fill:var(--c)}
.outside{fill:var(--b)}.zero{fill:var(--fg)}.right{fill:none;stroke:var(--b);stroke-width:1.5}
.k{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.3em}
"""


def page(diff: Diff) -> str:
    """The whole page as text."""
    title = f"{escape(diff.left)} against {escape(diff.right)}"
    sections = [
        _head(diff, title),
        _blame(diff),
        _layers(diff),
        _histograms(diff),
        _ranges(diff),
        _table(diff),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _db(x: float | None, sign: str = "") -> str:
    if x is None or math.isnan(x):
        return "–"
    return f"{x:{sign}.1f} dB" if math.isfinite(x) else ("equal" if x > 0 else "no signal")


def _bytes(n: int) -> str:
    return f"{n:,} B".replace(",", " ")


def _percent(x: float | None) -> str:
    return "–" if x is None else f"{100 * x:.2f} %"


def _head(diff: Diff, title: str) -> str:
    facts = [("SQNR of the logits", _db(diff.logits_sqnr_db)), ("samples", f"{diff.samples}")]
    if diff.agreement is not None:
        facts.insert(1, ("same class", _percent(diff.agreement)))
    if diff.accuracy_left is not None:
        both = f"{_percent(diff.accuracy_left)} → {_percent(diff.accuracy_right)}"
        facts.append(("accuracy", both))
    if diff.weights_only_db is not None:
        facts.append(("with no activation quantized", _db(diff.weights_only_db)))
    cells = "".join(f"<div><b>{value}</b><small>{name}</small></div>" for name, value in facts)
    return (
        f'<h1>{title}</h1>\n<p class="dim">SQNR: signal to quantization noise ratio; every 6 dB '
        f"halve the error.</p>\n<div class=facts>{cells}</div>"
    )


def _blame(diff: Diff) -> str:
    lines = []
    for t in diff.worst_locally():
        lines.append(f"<li>{_layer(t)} by itself: {_db(t.local_sqnr_db)} on exact operands</li>")
    for t in diff.worth_lifting():
        assert t.lift is not None
        lines.append(
            f"<li><code>{escape(t.name)}</code> in 16 bits would gain {_db(t.lift.gain_db, '+')} "
            f"of the logits for {_bytes(t.lift.ram_bytes)} more RAM and "
            f"{_bytes(t.lift.flash_bytes)} more constants (estimated; the tensor itself grows by "
            f"{_bytes(t.lift.tensor_bytes)})</li>"
        )
    if diff.lift_base_db is not None and not diff.worth_lifting():
        lines.append("<li>no single tensor in 16 bits would gain 0.1 dB of the logits</li>")
    if diff.unmatched:
        names = ", ".join(f"<code>{escape(n)}</code>" for n in diff.unmatched[:8])
        lines.append(f"<li>{len(diff.unmatched)} tensors are in the second only: {names}</li>")
    return f"<h2>Who is to blame</h2><ul>{''.join(lines) or '<li>nobody: no loss</li>'}</ul>"


def _layer(t: TensorDiff) -> str:
    """A layer by its name and, where that is another, its result's, which the plots have."""
    made = "" if t.name == t.layer else f", which makes <code>{escape(t.name)}</code>,"
    return f"<code>{escape(t.layer)}</code> ({t.op}){made}"


def _gain(t: TensorDiff) -> str:
    """What 16 bits would gain, where it is worth a word."""
    worth = t.lift is not None and t.lift.gain_db >= 0.1
    return f" · 16 bits: {_db(t.lift.gain_db, '+')}" if worth and t.lift else ""


def _layers(diff: Diff) -> str:
    finite = [x for t in diff.tensors for x in (t.sqnr_db, t.local_sqnr_db or 0) if x < math.inf]
    full = max([*finite, 10.0])
    rows = []
    for t in diff.tensors:
        rows.append(
            f"<div class=row><div><code>{escape(t.name)}</code>"
            f"<small>{t.op}{_gain(t)}</small></div>"
            f"<div class=pair>{svg.bar(t.sqnr_db, full, 'total')}<span>{_db(t.sqnr_db)}</span>"
            f"{svg.bar(t.local_sqnr_db, full, 'local')}<span>{_db(t.local_sqnr_db)}</span></div>"
            "</div>"
        )
    return (
        "<h2>Error by layer</h2><p><i class=k style='background:var(--b)'></i>the whole network "
        "up to here <i class=k style='background:var(--c)'></i>this layer alone, on exact "
        f"operands. Longer is better; a full bar is {full:.0f} dB.</p>" + "".join(rows)
    )


def _worst(diff: Diff) -> list[TensorDiff]:
    """Lifting says what matters; where it was not measured, the local error does."""
    chosen = diff.worth_lifting(HISTOGRAMS) or diff.worst_locally(HISTOGRAMS)
    return chosen or list(diff.tensors[:HISTOGRAMS])


def _histograms(diff: Diff) -> str:
    cards = []
    for t in _worst(diff):
        ends = f"<span>{t.covered[0]:.4g}</span><span>{t.covered[1]:.4g}</span>"
        plot = svg.histogram(t.histogram_left, t.histogram_right)
        cards.append(
            f"<div><code>{escape(t.name)}</code>{plot}"
            f"<div class=ends>{ends}</div><small>step {t.scale:.4g}, saturated "
            f"{_percent(t.saturated)}, largest error {t.max_error:.4g}</small></div>"
        )
    return (
        "<h2>Histograms of the tensors that matter</h2>"
        f"<p><i class=k style='background:var(--a)'></i>{escape(diff.left)} "
        f"<i class=k style='background:var(--b)'></i>{escape(diff.right)} (line). Counts are "
        "logarithmic; filled bars at the very ends are values that the integers cannot hold.</p>"
        f"<div class=cards>{''.join(cards)}</div>"
    )


def _ranges(diff: Diff) -> str:
    rows = []
    for t in diff.tensors:
        rows.append(
            f"<div class=row><div><code>{escape(t.name)}</code></div>"
            f"<div>{svg.ranges(t.seen, t.covered)}"
            f"<div class=ends><span>seen {t.seen[0]:.4g} … {t.seen[1]:.4g}</span>"
            f"<span>covered {t.covered[0]:.4g} … {t.covered[1]:.4g}</span></div></div></div>"
        )
    return (
        "<h2>Ranges</h2><p><i class=k style='background:var(--a)'></i>values of "
        f"{escape(diff.left)} <i class=k style='background:var(--track)'></i>what the integers "
        "cover <i class=k style='background:var(--b)'></i>values beyond that; the line is "
        "zero.</p>" + "".join(rows)
    )


def _table(diff: Diff) -> str:
    columns = ("tensor", "operator", "shape", "SQNR", "local", "max error", "cosine", "saturated",
               "range used", "16 bit gain", "tensor +", "RAM +", "constants +")  # fmt: skip
    head = "".join(f"<th>{c}</th>" for c in columns)
    rows = []
    for t in diff.tensors:
        cells = [
            escape(t.name), t.op, "x".join(map(str, t.shape[1:])), _db(t.sqnr_db),
            _db(t.local_sqnr_db), f"{t.max_error:.4g}", f"{t.cosine:.5f}", _percent(t.saturated),
            _percent(t.used), _db(t.lift.gain_db, "+") if t.lift else "–",
            _bytes(t.lift.tensor_bytes) if t.lift else "–",
            _bytes(t.lift.ram_bytes) if t.lift else "–",
            _bytes(t.lift.flash_bytes) if t.lift else "–",
        ]  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
    return (
        f"<h2>All figures</h2><div class=scroll><table><tr>{head}</tr>{''.join(rows)}</table></div>"
    )
