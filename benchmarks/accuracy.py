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
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import tables
from benchmarks.models import TFLITE, Model, models, names_of
from benchmarks.quality import case_of, integer_logits, judge
from edgekit import data, importers
from quantizer import quantize

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


def evaluate(onnx: Model, tflite: Model) -> Accuracy:
    """The figures of one model."""
    case = case_of(onnx)
    result = quantize(case.graph, case.calibration)
    samples, real = case.samples, case.real
    ours = integer_logits(result.graph, samples)
    found = judge(case, ours)
    if samples.labels is None:
        x = next(iter(samples.arrays.values())).reshape(samples.count, -1)
        errors = [float(((y - x) ** 2).mean()) for y in (real, ours)]
        return Accuracy(onnx.name, onnx.label, samples.count, None, None, None, None,
                        found.sqnr_db, *errors)  # fmt: skip
    imported = importers.load(tflite.path)
    theirs = integer_logits(imported, data.load(tflite.evaluation, imported))
    of_file = float((theirs.argmax(1) == samples.labels).mean())
    return Accuracy(onnx.name, onnx.label, samples.count, found.accuracy_float, found.accuracy,
                    of_file, found.agreement, found.sqnr_db, None, None)  # fmt: skip


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
