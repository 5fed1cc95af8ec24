"""The quantizer's choices, one by one, beside onnxruntime's static quantizer.

    python -m benchmarks.quantization --shared DIR [--models kws] [--json FILE] [--update FILE]

Calibrated on the calibration set, judged on the evaluation set, as `benchmarks.accuracy` does. Each
row runs in a process of its own: CPU seconds are those of quantizing, memory is the process's peak.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ai_edge_ptq, onnxruntime_ptq, tables
from benchmarks.isolated import isolated, timed
from benchmarks.models import TFLITE, models, names_of
from benchmarks.quality import Case, Quality, case_of, integer_logits, interval, judge
from edgekit.graph import Graph
from quantizer import quantize

DEFAULTS, INT4, WIDE = "defaults", "int4", "16x8"
#: One option away from the defaults each, and int4.
CHOICES: dict[str, dict[str, Any]] = {
    DEFAULTS: {},
    "ranges minmax": {"ranges": "minmax"},
    "ranges percentile": {"ranges": "percentile"},
    "ranges kl": {"ranges": "kl"},
    "weights per-tensor": {"weights": "per-tensor"},
    "weights per-tensor, equalize": {"weights": "per-tensor", "equalize": True},
    "equalize": {"equalize": True},
    "bias correction analytic": {"bias_correction": "analytic"},
    "bias correction none": {"bias_correction": "none"},
    "rounding nearest": {"rounding": "nearest"},
    INT4: {"weight_bits": 4},
    "int4, rounding nearest": {"weight_bits": 4, "rounding": "nearest"},
    WIDE: {"activation_bits": 16},
    "16x8, rounding nearest": {"activation_bits": 16, "rounding": "nearest"},
    "16x4": {"activation_bits": 16, "weight_bits": 4},
}
#: What is asked of the defaults: least SQNR in dB and agreement in %, and of int4: most points of
#: accuracy below float, largest share of the bytes of int8 weights; of 16x8 the least SQNR.
BARS: dict[str, dict[str, float]] = {
    "kws": {"sqnr": 32.5, "agreement": 99, "points": 1, "bytes": 0.65, "wide": 41},
    "vww96": {"sqnr": 22, "agreement": 98.5, "points": 2, "bytes": 0.62, "wide": 24},
    "resnet8": {"sqnr": 30, "agreement": 97.5, "points": 2.5, "bytes": 0.58, "wide": 33},
    "ad01": {"sqnr": 42, "wide": 44},
    "sww": {"sqnr": 31.5, "agreement": 100, "wide": 37},
}
CPU_SECONDS, MEGABYTES = 60, 2048


@dataclass(frozen=True)
class Row:
    """`cpu` in seconds of quantizing, `memory` in MB; `weight_bytes` is None for other tools."""

    name: str
    model: str
    tool: str
    choice: str
    quality: Quality
    weight_bytes: int | None
    cpu: float
    memory: float
    equalized: bool | None = None


def weight_bytes(graph: Graph) -> int:
    """Bytes that weights take in flash, two int4 to a byte."""
    total = 0
    for node in graph.nodes:
        if len(node.inputs) == 3:
            bits = node.attrs.get("weight_bits", 8)
            total += -(-graph.values[node.inputs[1]].size * bits // 8)
    return total


def ours(case: Case, choice: str) -> Row:
    def work() -> tuple[np.ndarray, int, float, bool | None]:
        options = CHOICES[choice]
        result, cpu = timed(lambda: quantize(case.graph, case.calibration, **options))
        kept = result.equalized if "equalize" in options else None
        logits = integer_logits(result.graph, case.samples)
        return logits, weight_bytes(result.graph), cpu, kept

    (logits, size, cpu, kept), memory = isolated(work)
    model = case.model
    return Row(model.name, model.label, "edgekit", choice, judge(case, logits), size, cpu, memory,
               kept)  # fmt: skip


def theirs(case: Case, choice: str) -> Row:
    def work() -> tuple[np.ndarray, float]:
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            file, cpu = timed(lambda: onnxruntime_ptq.quantized(case, choice, Path(folder)))
            return onnxruntime_ptq.logits(case, file), cpu

    (logits, cpu), memory = isolated(work)
    model = case.model
    return Row(model.name, model.label, "onnxruntime", choice, judge(case, logits), None, cpu,
               memory)  # fmt: skip


def evaluate(case: Case, say: Callable[[str], None]) -> list[Row]:
    rows = []
    for function, choices in ((ours, CHOICES), (theirs, onnxruntime_ptq.CHOICES)):
        for choice in choices:
            row = function(case, choice)
            say(f"{row.model} {row.tool} {choice}: {row.quality.sqnr_db:.2f} dB, {row.cpu:.1f} s")
            rows.append(row)
    return rows


def report(rows: list[Row]) -> str:
    columns = ("model", "tool", "choice", "n", "SQNR dB", "agreement %", "accuracy %", "float %",
               "weight bytes", "CPU s", "peak MB")  # fmt: skip

    def named(row: Row) -> str:
        kept = {None: "", True: " (kept)", False: " (undone)"}[row.equalized]
        return row.choice + kept

    return tables.table(
        columns,
        [
            (r.model, r.tool, named(r), q.samples, q.sqnr_db, interval(q.agreement, q.samples),
             interval(q.accuracy, q.samples),
             None if q.accuracy_float is None else 100 * q.accuracy_float, r.weight_bytes, r.cpu,
             int(r.memory))
            for r in rows for q in [r.quality]
        ],
    )  # fmt: skip


def bars(rows: list[Row]) -> str:
    """What is asked, what was measured, and onnxruntime's best row of the same widths."""
    columns = ("model", "figure", "asked", "edgekit", "onnxruntime's best", "n", "met")
    lines: list[tuple[tables.Cell, ...]] = []
    for name in dict.fromkeys(r.name for r in rows):
        mine = {r.choice: r for r in rows if r.name == name and r.tool == "edgekit"}
        peers = [r.quality for r in rows
                 if r.name == name and r.tool == "onnxruntime" and r.choice != WIDE]  # fmt: skip
        first, bar = mine[DEFAULTS], BARS[name]
        q, label = first.quality, first.model

        def line(figure: str, asked: str, have: str, peer: str, met: bool, n: int = q.samples,
                 label: str = label) -> None:  # fmt: skip
            lines.append((label, figure, asked, have, peer, n, "yes" if met else "**no**"))

        best = max(p.sqnr_db for p in peers)
        line("int8 SQNR, dB", f"≥ {bar['sqnr']}", f"{q.sqnr_db:.2f}", f"{best:.2f}",
             q.sqnr_db >= bar["sqnr"])  # fmt: skip
        if "agreement" in bar and q.agreement is not None:
            agreed = max(p.agreement or 0.0 for p in peers)
            line("int8 agreement, %", f"≥ {bar['agreement']}", interval(q.agreement, q.samples),
                 interval(agreed, q.samples), 100 * q.agreement >= bar["agreement"])  # fmt: skip
        if "points" in bar:
            four = mine[INT4]
            lost = 100 * ((four.quality.accuracy_float or 0) - (four.quality.accuracy or 0))
            ratio = (four.weight_bytes or 0) / (first.weight_bytes or 1)
            line("int4 accuracy, points below float", f"≤ {bar['points']}", f"{lost:.2f}", "",
                 lost <= bar["points"])  # fmt: skip
            line("int4 weight bytes / int8", f"≤ {bar['bytes']}", f"{ratio:.3f}", "",
                 ratio <= bar["bytes"])  # fmt: skip
        wide = mine[WIDE].quality.sqnr_db
        others = {r.choice: r for r in rows if r.name == name and r.tool == "onnxruntime"}
        peer_wide = others[WIDE].quality.sqnr_db
        line("16x8 SQNR, dB", f"≥ {bar['wide']}", f"{wide:.2f}", f"{peer_wide:.2f}",
             wide >= bar["wide"])  # fmt: skip
        cpu, memory = max(r.cpu for r in mine.values()), max(r.memory for r in mine.values())
        line("most CPU s", f"< {CPU_SECONDS}", f"{cpu:.1f}", "", cpu < CPU_SECONDS)
        line("most memory, MB", f"< {MEGABYTES}", f"{memory:.0f}", "", memory < MEGABYTES)
    return tables.table(columns, lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--models", type=names_of, default=list(TFLITE), help="such as kws,ad01")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose sections are replaced")
    options = parser.parse_args(argv)
    rows, others = [], []
    for model in models(options.shared, options.models, "onnx"):
        case = case_of(model)
        rows += evaluate(case, lambda text: print(text, file=sys.stderr, flush=True))
        said = ai_edge_ptq.outcome(model.name, options.shared / "models", case.calibration)
        others.append((model.label, " ".join(said.split())))
        # After every model: the whole run takes long.
        sections = {
            "quantization bars": bars(rows),
            "quantization": report(rows),
            "ai-edge-quantizer": tables.table(("model", "ai-edge-quantizer"), others),
        }
        if options.json:
            options.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
        for name, text in sections.items() if options.update else ():
            tables.update(options.update, name, text)
    print("\n".join(sections.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
