"""onnxruntime's static quantizer on the same models and samples.

Its graphs are evaluated with all optimizations off, which is exactly what their QuantizeLinear and
DequantizeLinear nodes say (the optimizer of some versions refuses or rewrites them). Its "Entropy"
method is left out: it collects 128 bins for 128 levels, so that it never clips (upstream issue
9597).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import BATCH, Case
from edgekit.graph import logits_of

#: Options of `quantize_static` by the name of the row.
CHOICES: dict[str, dict[str, Any]] = {
    "minmax": {"method": "MinMax"},
    "percentile 99.999": {"method": "Percentile"},
    "percentile, per-tensor weights": {"method": "Percentile", "per_channel": False},
    "16x8": {"method": "MinMax", "activations": "QInt16"},
}


class _Reader:
    """What onnxruntime's calibration asks for samples."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        count = len(next(iter(arrays.values())))
        self.rows: Iterator[dict[str, np.ndarray]] = (
            {k: v[i : i + 1].astype(np.float32) for k, v in arrays.items()} for i in range(count)
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rows, None)


def quantized(case: Case, choice: str, folder: Path) -> Path:
    """The quantized model up to the logits, as a file in `folder`."""
    import onnx
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    options = CHOICES[choice]
    cut, ready, out = (folder / f"{name}.onnx" for name in ("cut", "ready", "out"))
    inputs = list(case.calibration)
    onnx.utils.extract_model(str(case.model.path), str(cut), inputs, [logits_of(case.graph)])
    quant_pre_process(str(cut), str(ready), skip_symbolic_shape=True)
    wide = options.get("activations", "QInt8") == "QInt16"
    extra: dict[str, Any] = {"CalibPercentile": 99.999}
    if wide:  # 16 bits are no type of the standard's QuantizeLinear before opset 21
        extra["UseQDQContribOps"] = True
    ort.quantize_static(
        str(ready),
        str(out),
        _Reader(case.calibration),
        quant_format=ort.QuantFormat.QDQ,
        per_channel=options.get("per_channel", True),
        activation_type=ort.QuantType.QInt16 if wide else ort.QuantType.QInt8,
        weight_type=ort.QuantType.QInt8,
        calibrate_method=getattr(ort.CalibrationMethod, options["method"]),
        extra_options=extra,
    )
    return out


def logits(case: Case, model: Path) -> np.ndarray:
    """Real logits on the evaluation samples, float64 [count, classes]."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), settings, ["CPUExecutionProvider"])
    parts = []
    for i in range(0, case.samples.count, BATCH):
        rows = {k: v[i : i + BATCH].astype(np.float32) for k, v in case.samples.arrays.items()}
        parts.append(session.run(None, rows)[0])
    return np.concatenate(parts).reshape(case.samples.count, -1).astype(np.float64)
