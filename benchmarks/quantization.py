"""Each choice of the quantizer on its own: SQNR, agreement, accuracy, bytes of weights.

    python -m benchmarks.quantization --shared DIR [--models kws] [--json FILE] [--update FILE]

Calibrated on the calibration set, judged on the evaluation set, as `benchmarks.accuracy` does.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.accuracy import batches, integer_logits, logits_of
from benchmarks.models import TFLITE, Model, models, names_of
from edgekit import data, importers
from edgekit.graph import Graph
from edgekit.reference import run
from quantizer import quantize

#: One option away from the defaults each, and int4 both ways.
CHOICES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "ranges minmax": {"ranges": "minmax"},
    "ranges percentile": {"ranges": "percentile"},
    "ranges kl": {"ranges": "kl"},
    "weights per-tensor": {"weights": "per-tensor"},
    "bias correction analytic": {"bias_correction": "analytic"},
    "bias correction none": {"bias_correction": "none"},
    "rounding gptq": {"rounding": "gptq"},
    "int4, rounding nearest": {"weight_bits": 4, "rounding": "nearest"},
    "int4 (gptq)": {"weight_bits": 4},
}


@dataclass(frozen=True)
class Row:
    """`accuracy` and `agreement` are shares, None without labels; `cpu` is of quantizing."""

    model: str
    choice: str
    samples: int
    sqnr_db: float
    agreement: float | None
    accuracy: float | None
    accuracy_float: float | None
    weight_bytes: int
    cpu: float


def weight_bytes(graph: Graph) -> int:
    """Bytes that weights take in flash, two int4 to a byte."""
    total = 0
    for node in graph.nodes:
        if len(node.inputs) == 3:
            bits = node.attrs.get("weight_bits", 8)
            total += -(-graph.values[node.inputs[1]].size * bits // 8)
    return total


def evaluate(model: Model) -> list[Row]:
    graph = importers.load(model.path)
    assert model.calibration is not None
    calibration = data.load(model.calibration, graph).arrays
    samples = data.load(model.evaluation, graph)
    name = logits_of(graph)
    floats = [
        run(graph, {k: v.astype(np.float32) for k, v in x.items()}, keep={name})[name]
        for x in batches(samples.arrays, samples.count)
    ]
    real = np.concatenate(floats).reshape(samples.count, -1).astype(np.float64)
    rows = []
    for choice, options in CHOICES.items():
        started = time.process_time()
        result = quantize(graph, calibration, **options)
        cpu = time.process_time() - started
        ours = integer_logits(result.graph, samples.arrays, samples.count)
        sqnr = float(10 * np.log10((real**2).sum() / ((real - ours) ** 2).sum()))
        shares: list[float | None] = [None, None, None]
        if samples.labels is not None:
            same = real.argmax(1) == ours.argmax(1)
            shares = [float(same.mean()), float((ours.argmax(1) == samples.labels).mean()),
                      float((real.argmax(1) == samples.labels).mean())]  # fmt: skip
        size = weight_bytes(result.graph)
        rows.append(Row(model.label, choice, samples.count, sqnr, *shares, size, cpu))
    return rows


def _interval(share: float | None, count: int) -> str:
    """A share in percent with the half width of its 95 % interval."""
    if share is None:
        return ""
    half = 1.96 * math.sqrt(share * (1 - share) / count)
    return f"{100 * share:.2f} ± {100 * half:.1f}"


def report(rows: list[Row]) -> str:
    columns = ("model", "choice", "n", "SQNR dB", "agreement %", "accuracy %", "float %",
               "weight bytes", "CPU s")  # fmt: skip
    return tables.table(
        columns,
        [
            (r.model, r.choice, r.samples, r.sqnr_db, _interval(r.agreement, r.samples),
             _interval(r.accuracy, r.samples),
             None if r.accuracy_float is None else 100 * r.accuracy_float, r.weight_bytes, r.cpu)
            for r in rows
        ],
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--models", type=names_of, default=list(TFLITE), help="such as kws,ad01")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    rows = [row for m in models(options.shared, options.models, "onnx") for row in evaluate(m)]
    text = report(rows)
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "quantization", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
