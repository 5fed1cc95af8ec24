"""One model, every way of running it: 0 differing bytes is the only pass."""

from __future__ import annotations

import numpy as np
import pytest
from models import DIGITS, FORMATS, ONNX, TFLITE, TestModel, compiled, raw_inputs
from shared import SHARED
from tools import need

from edgekit.execute import execute
from edgekit.reference import run

WAYS = [
    ("host", "interpreter"),
    ("host", "aot"),
    ("virtual-cortex-m4", "interpreter"),
    ("virtual-cortex-m4", "aot"),
    ("qemu-mps2-an386", "interpreter"),
    ("qemu-mps2-an386", "aot"),
]
INPUTS = 8
#: The files that peers run get more inputs where running is cheap.
TFLITE_INPUTS = 32


@pytest.fixture(autouse=True)
def _own_boards(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    # Boards keep their flash between commands; each test has boards of its own.
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))


def inputs_for(model: TestModel, where: str) -> int:
    return TFLITE_INPUTS if model in TFLITE and not where.startswith("qemu") else INPUTS


#: QEMU takes longest. Ahead-of-time C of the NCHW exports and of further number formats runs on the
#: host and the virtual board, and the same kernels on QEMU from the interpreter.
CASES = [
    (model, where, mode)
    for model in (DIGITS, *ONNX, *FORMATS, *TFLITE)
    for where, mode in WAYS
    if not (where.startswith("qemu") and mode == "aot" and (model in FORMATS or model.nchw))
]


@pytest.mark.parametrize(
    ("model", "where", "mode"), CASES, ids=[f"{m.name}-{w}-{x}" for m, w, x in CASES]
)
def test_same_bytes(model: TestModel, where: str, mode: str) -> None:
    if not model.path.exists():
        pytest.skip(f"needs {model.path.name} of {SHARED}")
    if where.startswith("qemu"):
        need("qemu-system-arm")
    folder = compiled(model)
    inputs = raw_inputs(model, inputs_for(model, where))
    want = run(folder.graph, inputs)
    found = execute(folder, inputs, where, mode=mode)
    for name in folder.graph.outputs:
        np.testing.assert_array_equal(found[name], want[name], err_msg=f"{model.name} {where}")
