"""Float against int8 on held-out data: accuracy, agreement, SQNR.

    python -m benchmarks.accuracy --shared DIR [--models kws,ad01] [--json FILE] [--update FILE]

The float ONNX model runs in numpy, so does its int8 form as edgekit quantizes it (every board gives
those bytes). MLPerf Tiny's own int8 file runs on the same samples. SQNR is that of the last layer
before softmax, over all samples.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import tables
from benchmarks.models import TFLITE, Model, models, names_of
from edgekit import data, importers
from edgekit.graph import Graph
from edgekit.reference import run
from quantizer import quantize

BATCH = 50
NOTES = {
    "kws": "official MLPerf Tiny stimuli (Speech Commands)",
    "resnet8": "JPEG copies of CIFAR-10: compare with float only",
    "vww96": "photos of COCO: compare with float only",
    "ad01": "normal windows only: no AUC; MSE is the reconstruction error",
    "sww": "12 spectrograms: too few for more than a smoke test",
}


@dataclass(frozen=True)
class Accuracy:
    """Shares are 0 to 1, None without labels; `mse_*` is the reconstruction error of AD."""

    name: str
    label: str
    samples: int
    float_accuracy: float | None
    int8_accuracy: float | None
    file_accuracy: float | None
    agreement: float | None
    sqnr_db: float
    mse_float: float | None
    mse_int8: float | None


def logits_of(graph: Graph) -> str:
    """The value before a final softmax, else the output."""
    last = graph.producer(graph.outputs[0])
    return last.inputs[0] if last and last.op == "softmax" else graph.outputs[0]


def batches(arrays: dict[str, np.ndarray], count: int) -> Iterator[dict[str, np.ndarray]]:
    for i in range(0, count, BATCH):
        yield {name: a[i : i + BATCH] for name, a in arrays.items()}


def integer_logits(graph: Graph, arrays: dict[str, np.ndarray], count: int) -> np.ndarray:
    """Real values of the logits of an integer graph, [count, ...]."""
    name = logits_of(graph)
    parts = [
        data.dequantize(
            graph.values[name], run(graph, data.quantize_inputs(graph, x), keep={name})[name]
        )
        for x in batches(arrays, count)
    ]
    return np.concatenate(parts).reshape(count, -1).astype(np.float64)


def evaluate(onnx: Model, tflite: Model) -> Accuracy:
    """The figures of one model."""
    graph = importers.load(onnx.path)
    assert onnx.calibration is not None
    result = quantize(graph, data.load(onnx.calibration, graph).arrays)
    samples = data.load(onnx.evaluation, graph)
    name = logits_of(graph)
    floats = [
        run(graph, {k: v.astype(np.float32) for k, v in x.items()}, keep={name})[name]
        for x in batches(samples.arrays, samples.count)
    ]
    real = np.concatenate(floats).reshape(samples.count, -1).astype(np.float64)
    ours = integer_logits(result.graph, samples.arrays, samples.count)
    sqnr = 10 * np.log10((real**2).sum() / ((real - ours) ** 2).sum())
    if samples.labels is None:
        x = next(iter(samples.arrays.values())).reshape(samples.count, -1)
        errors = [float(((y - x) ** 2).mean()) for y in (real, ours)]
        return Accuracy(onnx.name, onnx.label, samples.count, None, None, None, None, float(sqnr),
                        *errors)  # fmt: skip
    imported = importers.load(tflite.path)
    theirs = integer_logits(imported, data.load(tflite.evaluation, imported).arrays, samples.count)
    of_float, of_int8, of_file = (
        float((y.argmax(1) == samples.labels).mean()) for y in (real, ours, theirs)
    )
    agreement = float((real.argmax(1) == ours.argmax(1)).mean())
    return Accuracy(onnx.name, onnx.label, samples.count, of_float, of_int8, of_file, agreement,
                    float(sqnr), None, None)  # fmt: skip


def report(all_: list[Accuracy]) -> str:
    columns = ("model", "samples", "float %", "int8 %", "MLPerf's int8 file %",
               "same answer as float %", "SQNR dB", "MSE float", "MSE int8",
               "the samples")  # fmt: skip

    def percent(share: float | None) -> float | None:
        return None if share is None else 100 * share

    rows = [
        (a.label, a.samples, percent(a.float_accuracy), percent(a.int8_accuracy),
         percent(a.file_accuracy), percent(a.agreement), a.sqnr_db, a.mse_float, a.mse_int8,
         NOTES[a.name])
        for a in all_
    ]  # fmt: skip
    return tables.table(columns, rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--models", type=names_of, default=list(TFLITE), help="such as kws,ad01")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    pairs = zip(
        models(options.shared, options.models, "onnx"),
        models(options.shared, options.models, "tflite"),
        strict=True,
    )
    found = [evaluate(onnx, tflite) for onnx, tflite in pairs]
    text = report(found)
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(a) for a in found], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "accuracy", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
