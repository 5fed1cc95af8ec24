"""Every model on this machine, call by call with all dead bytes poisoned: the same outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import host_kernels
from memory_run import PATTERNS, PoisonedRun
from models import DIGITS, FORMATS, ONNX, TFLITE, TestModel, compiled, raw_inputs
from pace import thinned
from shared import SHARED

from codegen.lower import build_program
from edgekit.reference import run
from targets import target

INPUTS = 2
MODELS = [DIGITS, *(m for m in ONNX if not m.nchw), *FORMATS, *TFLITE]


#: One of each kind: of a float file, of another number format, quantized by TensorFlow.
FAST = ("digits", "ad01_onnx", "kws_16x8", "kws_tflite", "sww_tflite")


@pytest.mark.parametrize(
    "model", thinned(MODELS, lambda m: m.name in FAST), ids=[m.name for m in MODELS]
)
def test_dead_bytes_do_not_matter(model: TestModel, tmp_path: Path) -> None:
    if not model.path.exists():
        pytest.skip(f"needs {model.path.name} of {SHARED}")
    folder = compiled(model)
    program = build_program(folder.graph, target(folder.target))
    poisoned = PoisonedRun(program, host_kernels(program, tmp_path))
    inputs = raw_inputs(model, INPUTS)
    want = run(folder.graph, inputs)
    for i in range(INPUTS):
        for pattern in PATTERNS:
            found = poisoned.run({name: x[i : i + 1] for name, x in inputs.items()}, pattern)
            for name, value in found.items():
                np.testing.assert_array_equal(value, want[name][i : i + 1], f"{pattern:#x}")
