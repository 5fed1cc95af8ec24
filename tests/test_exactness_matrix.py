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


@pytest.mark.parametrize(("where", "mode"), WAYS, ids=[f"{w}-{m}" for w, m in WAYS])
@pytest.mark.parametrize("model", [DIGITS, *ONNX, *FORMATS, *TFLITE], ids=lambda m: m.name)
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
