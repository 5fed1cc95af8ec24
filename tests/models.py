"""The models that exactness is tested on, compiled once per test run and shared by all workers."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from shared import SHARED

from edgekit import data, pipeline
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.output import Output, open_output
from samples import digits


@dataclass(frozen=True)
class TestModel:
    """A model file, its calibration data (None for quantized files), inputs to run, and options of
    `quantizer.quantize`."""

    __test__ = False
    name: str
    path: Path
    calibration: Path | None
    samples: Path
    quantization: tuple[tuple[str, int], ...] = ()

    @property
    def nchw(self) -> bool:
        return "_nchw" in self.name

    @property
    def quantized(self) -> bool:
        return self.calibration is None


def _onnx(name: str, layout: str = "") -> TestModel:
    folder = SHARED / "models"
    return TestModel(
        f"{name}{layout}_onnx",
        folder / f"mlperf_tiny_{name}{layout}_float32.onnx",
        SHARED / "data" / f"{name}_calibration.npz",
        SHARED / "data" / f"{name}_eval.npz",
    )


def _tflite(name: str, file: str) -> TestModel:
    return TestModel(
        f"{name}_tflite", SHARED / "models" / file, None, SHARED / "data" / f"{name}_eval.npz"
    )


DIGITS = TestModel("digits", digits.MODEL, digits.CALIBRATION, digits.EVALUATION)
ONNX = [
    *(_onnx(name) for name in ("kws", "resnet8", "vww96", "ad01", "sww")),
    *(_onnx(name, "_nchw") for name in ("kws", "resnet8", "vww96", "sww")),
]
TFLITE = [
    _tflite("kws", "kws_ref_model.tflite"),
    _tflite("resnet8", "pretrainedResnet_quant.tflite"),
    _tflite("vww96", "vww_96_int8.tflite"),
    _tflite("ad01", "ad01_int8.tflite"),
    _tflite("sww", "str_ww_ref_model.tflite"),
]


#: Some of them in other number formats.
FORMATS = [
    replace(
        _onnx(name),
        name=f"{name}_{label}",
        quantization=(("activation_bits", activations), ("weight_bits", weights)),
    )
    for name, label, activations, weights in (
        ("kws", "16x8", 16, 8),
        ("resnet8", "16x8", 16, 8),
        ("ad01", "16x4", 16, 4),
        ("vww96", "int4", 8, 4),
    )
]


@cache
def compiled(model: TestModel) -> Output:
    """The output folder of `model`, made by whichever worker asks first."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"pid{os.getpid()}")
    folder = Path(tempfile.gettempdir()) / f"edgekit-tests-{run}" / model.name
    try:
        return open_output(folder)
    except EdgekitError:
        pass
    return pipeline.compile(
        model.path,
        output=folder,
        calibration=model.calibration,
        quantization=dict(model.quantization),
    ).output


def raw_inputs(model: TestModel, count: int) -> dict[str, np.ndarray]:
    """`count` raw samples: the first half random over the full range, the rest plausible."""
    return raw_samples(model, compiled(model).graph, count)


def raw_samples(model: TestModel, graph: Graph, count: int) -> dict[str, np.ndarray]:
    """The same for a graph made of the model in another way."""
    with np.load(model.samples) as file:
        arrays = {k: file[k][: count // 2] for k in file.files if k != data.LABEL}
    plausible = data.quantize_inputs(graph, data.prepare(graph, arrays))
    chance = np.random.default_rng(1)
    return {
        name: np.concatenate(
            [
                chance.integers(
                    np.iinfo(x.dtype).min,
                    np.iinfo(x.dtype).max + 1,
                    (count - len(x), *x.shape[1:]),
                ).astype(x.dtype),
                x,
            ]
        )
        for name, x in plausible.items()
    }
