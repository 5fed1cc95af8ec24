"""Measured figures as Markdown tables, beside those of other tools."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Measured

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


def builds(all_: Sequence[Measured], peers: dict[str, Any]) -> str:
    """Every build of every model on the Cortex-M4, each whole in one row, beside the peers."""
    columns = ("model", "build", "instructions", "TFLM ratio", "TinyEngine ratio", "cycles (est.)",
               "TFLM ratio", "silicon ratio", "RAM B", "TFLM ratio", "heliaAOT ratio", "stack B",
               "code B", "TFLM ratio", "constants B")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        theirs = peers[m.name]
        tflm, tiny = theirs.get("tflm", {}), theirs.get("tinyengine", {})
        code = m.flash["aot"].code
        rows.append([
            m.label, m.build, m.instructions,
            _ratio(tflm.get("instructions"), m.instructions),
            _ratio(tiny.get("instructions"), m.instructions),
            m.cycles, _ratio(tflm.get("cycles"), m.cycles),
            _ratio(theirs.get("silicon", {}).get("cycles"), m.cycles),
            m.arena, _ratio(tflm.get("ram"), m.arena),
            _ratio(theirs.get("helia", {}).get("ram"), m.arena), m.stack,
            code, _ratio(tflm.get("code"), code), m.constants,
        ])  # fmt: skip
    for build in dict.fromkeys(m.build for m in all_):
        mean = _mean_row([r for r in rows if r[1] == build], (3, 4, 6, 7, 9, 10, 13), len(columns))
        mean[1] = build
        rows.append(mean)
    return table(columns, rows)


def theirs(peers: dict[str, Any], names: Sequence[str]) -> str:
    """The peers' own figures that the ratios above are to."""
    columns = ("model", "TFLM instructions", "cycles (est.)", "RAM B", "code B", "model B",
               "TinyEngine instructions", "RAM B", "code B", "onnx2c (float) instructions",
               "heliaAOT RAM B", "best published silicon, cycles", "whose")  # fmt: skip
    rows: list[list[Cell]] = []
    for name in names:
        p = peers[name]
        tflm, tiny = p.get("tflm", {}), p.get("tinyengine", {})
        rows.append([
            p["label"], *(tflm.get(k) for k in ("instructions", "cycles", "ram", "code", "model")),
            *(tiny.get(k) for k in ("instructions", "ram", "code")),
            p.get("onnx2c", {}).get("instructions"), p.get("helia", {}).get("ram"),
            p.get("silicon", {}).get("cycles"), p.get("silicon", {}).get("who"),
        ])  # fmt: skip
    return table(columns, rows)


#: Cores that are set beside TFLM's reference kernels on the Cortex-M4.
WITHOUT_DSP = ("cortex-m0", "cortex-m0plus", "cortex-m3", "riscv32")


def cores(all_: Sequence[Measured], peers: dict[str, Any]) -> str:
    """Instructions by core, beside what is to be beaten there."""
    columns = ("core", "model", "instructions", "beside", "ratio", "cycles (est.)", "RAM B",
               "code B", "constants B")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        beside = peers[m.name].get("cores", {}).get(m.core)
        if m.core in WITHOUT_DSP:
            beside = peers[m.name].get("tflm_reference", {}).get("instructions")
        rows.append([m.core, m.label, m.instructions, beside, _ratio(beside, m.instructions),
                     m.cycles, m.arena, m.flash["aot"].code, m.constants])  # fmt: skip
    return table(columns, rows)


def interpreter(all_: Sequence[Measured]) -> str:
    """What the interpreter costs over ahead-of-time code."""
    columns = ("model", "source", "AOT instructions", "interpreter", "more %", "AOT cycles (est.)",
               "interpreter", "more %", "AOT code B", "interpreter B", "RAM besides the arena B",
               "bundle B")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        row: list[Cell] = [m.label, m.source]
        for unit in ("instructions", "cycles"):
            aot, through = m.run(unit, "aot"), m.run(unit, "interpreter")
            if aot and through:
                row += [aot.total, through.total, 100 * (through.total / aot.total - 1)]
            else:
                row += [None, None, None]
        ours = m.flash["interpreter"]
        rows.append([*row, m.flash["aot"].code, ours.code, m.runtime_ram, ours.constants])
    return table(columns, rows)


def sources(all_: Sequence[Measured]) -> str:
    """Every model and source: what it needs here, without peers."""
    columns = ("model", "source", "build", "instructions", "cycles (est.)", "RAM B", "code B",
               "constants B", "golden vectors exact")  # fmt: skip
    rows: list[list[Cell]] = []
    for m in all_:
        vectors = sum(r.golden for r in m.runs)
        rows.append([m.label, m.source, m.build, m.instructions, m.cycles, m.arena,
                     m.flash["aot"].code, m.constants, f"{vectors} of {vectors}"])  # fmt: skip
    return table(columns, rows)


def layers(m: Measured, peers: dict[str, Any]) -> str:
    """A row per layer of the ahead-of-time build."""
    exact, virtual = m.run("instructions", "aot"), m.run("cycles", "aot")
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
