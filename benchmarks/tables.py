"""Measured figures as Markdown tables, beside those of other tools."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import QEMU, VIRTUAL, Measured

Cell = str | int | float | None


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A Markdown table; numbers with thousands separated, floats with two digits."""
    body = [[_cell(value) for value in row] for row in rows]
    numeric = [
        all(not isinstance(v := row[i], str) or v.startswith("**") for row in rows) and i > 0
        for i in range(len(columns))
    ]
    rule = ["---:" if right else "---" for right in numeric]
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, rule, *body)) + "\n"


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else value


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _ratio(theirs: float | None, ours: int | None) -> float | None:
    return theirs / ours if theirs and ours else None


def _mean_row(rows: Sequence[Sequence[Cell]], columns: Sequence[int], width: int) -> list[Cell]:
    """A last row with the geometric mean of the ratios in `columns`."""
    row: list[Cell] = ["**geometric mean**", *([None] * (width - 1))]
    for column in columns:
        values = [v for r in rows if isinstance(v := r[column], float)]
        row[column] = f"**{geometric_mean(values):.2f}** ({len(values)})" if values else None
    return row


def speed(all_: Sequence[Measured], peers: dict[str, Any]) -> str:
    """Exact instructions and estimated cycles of the ahead-of-time build beside the peers'."""
    columns = ("model", "MACs", "instructions", "per MAC", "TFLM + CMSIS-NN", "ratio", "TinyEngine",
               "ratio", "onnx2c (float)", "ratio")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        run = m.run(QEMU, "aot")
        ours = run.total if run else None
        row: list[Cell] = [m.label, m.macs, ours, ours / m.macs if ours else None]
        for tool in ("tflm", "tinyengine", "onnx2c"):
            theirs = peers[m.name].get(tool, {}).get("instructions")
            row += [theirs, _ratio(theirs, ours)]
        rows.append(row)
    means = _mean_row(rows, (5, 7, 9), len(columns))
    return table(columns, [*rows, means])


def cycles(all_: Sequence[Measured], peers: dict[str, Any]) -> str:
    columns = (
        *("model", "cycles (est.)", "per MAC", "TFLM + CMSIS-NN (est.)", "ratio"),
        *("TinyEngine (est.)", "ratio", "best published silicon", "ratio", "whose"),
    )
    rows: list[list[Cell]] = []
    for m in all_:
        run = m.run(VIRTUAL, "aot")
        ours = run.total if run else None
        row: list[Cell] = [m.label, ours, ours / m.macs if ours else None]
        for tool in ("tflm", "tinyengine", "silicon"):
            theirs = peers[m.name].get(tool, {}).get("cycles")
            row += [theirs, _ratio(theirs, ours)]
        rows.append([*row, peers[m.name].get("silicon", {}).get("who")])
    return table(columns, [*rows, _mean_row(rows, (4, 6, 8), len(columns))])


def ram(all_: Sequence[Measured], peers: dict[str, Any]) -> str:
    columns = ("model", "arena B", "lower bound B", "runtime B", "stack B", "TFLM arena B", "ratio",
               "TinyEngine B", "ratio", "heliaAOT B", "ratio")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        stacks = [r.stack for r in m.runs if r.way == "interpreter"]
        row: list[Cell] = [m.label, m.arena, m.arena_lower_bound, m.runtime_ram,
                           max(stacks, default=0)]  # fmt: skip
        for tool in ("tflm", "tinyengine", "helia"):
            theirs = peers[m.name].get(tool, {}).get("ram")
            row += [theirs, _ratio(theirs, m.arena)]
        rows.append(row)
    return table(columns, [*rows, _mean_row(rows, (6, 8, 10), len(columns))])


def flash(all_: Sequence[Measured], peers: dict[str, Any]) -> str:
    columns = ("model", "kernels B", "runtime B", "bundle B", "AOT kernels B", "AOT constants B",
               "TFLM code B", "ratio", "TFLM model B", "ratio", "TinyEngine code B",
               "ratio")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        ours, aot, tflm = m.flash["interpreter"], m.flash["aot"], peers[m.name].get("tflm", {})
        tiny = peers[m.name].get("tinyengine", {}).get("code")
        code = ours.kernels + ours.runtime
        rows.append([m.label, ours.kernels, ours.runtime, ours.constants, aot.kernels,
                     aot.constants, tflm.get("code"), _ratio(tflm.get("code"), code),
                     tflm.get("model"), _ratio(tflm.get("model"), ours.constants), tiny,
                     _ratio(tiny, aot.kernels)])  # fmt: skip
    return table(columns, [*rows, _mean_row(rows, (7, 9, 11), len(columns))])


def interpreter(all_: Sequence[Measured]) -> str:
    """What the interpreter costs over ahead-of-time code."""
    columns = ("model", "source", "AOT instructions", "interpreter", "more %", "AOT cycles (est.)",
               "interpreter", "more %")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        row: list[Cell] = [m.label, m.source]
        for board in (QEMU, VIRTUAL):
            aot, through = m.run(board, "aot"), m.run(board, "interpreter")
            if aot and through:
                row += [aot.total, through.total, 100 * (through.total / aot.total - 1)]
            else:
                row += [None, None, None]
        rows.append(row)
    return table(columns, rows)


def sources(all_: Sequence[Measured]) -> str:
    """Every model and source: what it needs here, without peers."""
    columns = ("model", "source", "instructions", "cycles (est.)", "arena B", "kernels B",
               "constants B", "golden vectors exact")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        exact, virtual = m.run(QEMU, "aot"), m.run(VIRTUAL, "aot")
        vectors = sum(r.golden for r in m.runs)
        rows.append([m.label, m.source, exact.total if exact else None,
                     virtual.total if virtual else None, m.arena, m.flash["aot"].kernels,
                     m.constants, f"{vectors} of {vectors}"])  # fmt: skip
    return table(columns, rows)


def layers(m: Measured, peers: dict[str, Any]) -> str:
    """A row per layer of the ahead-of-time build."""
    exact, virtual = m.run(QEMU, "aot"), m.run(VIRTUAL, "aot")
    theirs: list[int | None] = list(peers["layers"].get(m.name, []))
    if m.source != "tflite" or len(theirs) != len(m.layers):
        theirs = [None] * len(m.layers)
    columns = ("", "operator", "out", "MACs", "kernel", "instructions", "per MAC", "cycles (est.)",
               "TFLM + CMSIS-NN instructions", "ratio")  # fmt: skip
    rows: list[list[Cell]] = []
    for i, layer in enumerate(m.layers):
        ours = exact.layers[i] if exact else None
        macs = layer["macs"]
        rows.append([i, layer["op"], "x".join(map(str, layer["out"])), macs, layer["kernel"], ours,
                     ours / macs if ours and macs else None,
                     virtual.layers[i] if virtual else None, theirs[i],
                     _ratio(theirs[i], ours)])  # fmt: skip
    return table(columns, rows)


def update(document: Path, name: str, body: str) -> None:
    """Replace what stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Raises:
        ValueError: the document has no such marks.
    """
    text = document.read_text(encoding="utf-8")
    marks = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    changed, count = marks.subn(lambda m: f"{m[1]}\n{body.strip()}\n\n{m[2]}", text)
    if count != 1:
        raise ValueError(f"{document} has {count} sections '{name}', one is needed")
    document.write_text(changed, encoding="utf-8")
