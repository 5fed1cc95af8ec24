"""What the page says of a box of the graph when it is selected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.htmlreport.compare import Change, LayerChange
from edgekit.htmlreport.facts import Facts, GraphNode, Layer
from edgekit.htmlreport.occupancy import occupancy
from edgekit.htmlreport.speed import Source
from edgekit.pages import grouped, microjoules, nbytes, percent, shape, signed

_KINDS = {
    "view": "runs no kernel: its result is bytes of another tensor, or is known beforehand",
    "input": "an input of the network",
    "output": "an output of the network",
    "state": "kept from one inference to the next: what the last one left",
    "update": "kept from one inference to the next: what this one leaves",
}


def details(
    facts: Facts, found: list[Source], changes: Mapping[int, LayerChange]
) -> list[dict[str, Any]]:
    """For every box: title, subtitle, rows (what, value, verdict) and notes, all of it text."""
    arena = occupancy(facts.buffers, len(facts.layers)).occupied if facts.buffers else None
    return [_detail(facts, node, found, changes, arena) for node in facts.nodes]


def _detail(
    facts: Facts,
    node: GraphNode,
    found: list[Source],
    changes: Mapping[int, LayerChange],
    arena: tuple[int, ...] | None,
) -> dict[str, Any]:
    rows: list[tuple[str, str, str]] = []
    notes: list[str] = []
    if node.layer is None:
        kind = _KINDS.get(node.kind, node.kind)
        subtitle = f"{node.op}: {kind}" if node.op else kind
    else:
        layer = facts.layers[node.layer]
        subtitle = f"{layer.op}, call {node.layer} of {len(facts.layers)}"
        rows += _speed(found, node.layer, layer)
        for e in facts.energies:
            uj = e.layers[node.layer].energy_uj
            if uj is not None:
                share = percent(e.share(node.layer))
                rows.append(
                    (f"energy on {e.board or 'a board'}", f"{microjoules(uj)}, {share}", "")
                )
        rows += _kernel(layer)
        if arena is not None:
            rows.append(("arena in use", nbytes(arena[node.layer]), ""))
        if layer.note:
            notes.append(f"Why this kernel: {layer.note}")
        if layer.runner_up:
            notes.append(f"Not taken: {layer.runner_up}")
        if layer.name in facts.wide:
            notes.append("Its result has 16 bits, other layers' have 8.")
        if node.layer in changes:
            rows += [
                _change(c) for c in changes[node.layer].changes if c.verdict not in ("", "same")
            ]
            if changes[node.layer].presence == "new":
                notes.append("The other build has no such layer.")
    rows += _tensor(node)
    return {"title": node.name, "subtitle": subtitle, "rows": rows, "notes": notes}


def _speed(found: list[Source], i: int, layer: Layer) -> list[tuple[str, str, str]]:
    rows = []
    for source in found:
        value = source.ticks[i].value
        time = source.time(value)
        share = percent(source.share(i))
        text = ", ".join(filter(None, [f"{grouped(value)} {source.unit}", time, share]))
        rows.append((source.label, text, ""))
    if layer.macs:
        per = f", {found[0].ticks[i].value / layer.macs:.2f} {found[0].unit} each" if found else ""
        rows.append(("multiply-accumulates", f"{grouped(layer.macs)}{per}", ""))
    return rows


def _kernel(layer: Layer) -> list[tuple[str, str, str]]:
    rows = [
        ("kernel", layer.kernel, ""),
        ("algorithm", ", ".join(filter(None, [layer.variant, layer.family])), ""),
        ("in", shape(layer.input_shape), ""),
        ("constants", nbytes(layer.constant_bytes), ""),
        ("scratch", nbytes(layer.scratch_bytes), ""),
    ]
    if layer.sqnr_db is not None:
        rows.append(("SQNR up to here", f"{layer.sqnr_db:.1f} dB", ""))
    return [row for row in rows if row[1]]


def _tensor(node: GraphNode) -> list[tuple[str, str, str]]:
    rows = [("out", f"{shape(node.shape) or 'scalar'} {node.dtype}".strip(), "")]
    if node.scale is not None:
        rows.append(("scale, zero point", f"{node.scale:.6g}, {node.zero_point}", ""))
    if node.weights:
        rows.append(("weights", node.weights, ""))
    return rows


def _change(c: Change) -> tuple[str, str, str]:
    grown = f" ({signed(c.percent, 1)}\N{NO-BREAK SPACE}%)" if c.percent is not None else ""
    delta = signed(c.delta or 0, 1 if c.unit in ("dB", "µJ") else 0)
    return (f"{c.what}, against the other build", f"{delta} {c.unit}{grown}", c.verdict)
