"""One model, every way of running it: 0 differing bytes is the only pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models import DIGITS, FORMATS, ONNX, TFLITE, TestModel, compiled, raw_inputs
from pace import thinned
from shared import SHARED
from tools import need

from edgekit import pipeline
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
#: On QEMU, which takes longest.
QEMU_INPUTS = 4
#: The files that peers run get more inputs where running is cheap.
TFLITE_INPUTS = 32


@pytest.fixture(autouse=True)
def _own_boards(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    # Boards keep their flash between commands; each test has boards of its own.
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))


def inputs_for(model: TestModel, where: str) -> int:
    if where.startswith("qemu"):
        return QEMU_INPUTS
    return TFLITE_INPUTS if model in TFLITE else INPUTS


#: Where a model is another one in another layout, number format or from another exporter, its
#: kernels run in fewer ways: that one's run in all. On QEMU, formats of the small models.
FEWER = [("host", "aot"), ("virtual-cortex-m4", "interpreter")]
SMALL_FORMATS = [model for model in FORMATS if model.name in ("kws_16x8", "ad01_16x4")]


def ways_of(model: TestModel) -> list[tuple[str, str]]:
    if model in SMALL_FORMATS:
        return [*FEWER, ("qemu-mps2-an386", "interpreter")]
    return FEWER if model in (*ONNX, *FORMATS) else WAYS


CASES = [
    (model, where, mode)
    for model in (DIGITS, *ONNX, *FORMATS, *TFLITE)
    for where, mode in ways_of(model)
]
#: In `make test`: two models in every way, and the others that differ in more than their size.
#: Files in NCHW become the same graph, which tests/importers looks at.
EVERY_WAY = ("digits", "kws_tflite")
IN_FEWER = ("ad01_onnx", "kws_16x8", "sww_tflite", "resnet8_tflite")


def is_fast(case: tuple[TestModel, str, str]) -> bool:
    model, *way = case
    return model.name in EVERY_WAY or (model.name in IN_FEWER and tuple(way) in FEWER)


@pytest.mark.parametrize(
    ("model", "where", "mode"),
    thinned(CASES, is_fast),
    ids=[f"{m.name}-{w}-{x}" for m, w, x in CASES],
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


#: Boards of further cores with memory for the models, and the command that they need.
CORES = {
    "cortex-m0": ("qemu-nrf51-1m", "qemu-system-arm"),
    "cortex-m0plus": ("qemu-nrf51-512k", "qemu-system-arm"),
    "cortex-m3": ("qemu-mps2-an385", "qemu-system-arm"),
    "cortex-m7": ("qemu-mps2-an500", "qemu-system-arm"),
    "cortex-m33": ("qemu-mps2-an505", "qemu-system-arm"),
    "cortex-m55": ("qemu-mps3-an547", "qemu-system-arm"),
    "riscv32": ("qemu-riscv32-virt", "qemu-system-riscv32"),
}


@pytest.mark.parametrize(
    ("name", "core"),
    thinned(
        [(name, core) for name in ("kws_tflite", "ad01_tflite") for core in CORES],
        lambda case: case in [("kws_tflite", "cortex-m55"), ("ad01_tflite", "riscv32"),
                              ("ad01_tflite", "cortex-m0")],
    ),
)  # fmt: skip
def test_same_bytes_on_every_core(name: str, core: str, tmp_path: Path) -> None:
    """Compiling runs a model on the virtual board and compares; QEMU's core is the second judge."""
    board, command = CORES[core]
    model = next(m for m in TFLITE if m.name == name)
    if not model.path.exists():
        pytest.skip(f"needs {model.path.name} of {SHARED}")
    need(command)
    folder = pipeline.compile(model.path, output=tmp_path / "out", target=core).output
    inputs = raw_inputs(model, 2)
    want = run(folder.graph, inputs)
    found = execute(folder, inputs, board, mode="aot" if core == "riscv32" else "interpreter")
    for output in folder.graph.outputs:
        np.testing.assert_array_equal(found[output], want[output], err_msg=f"{name} {board}")


def test_a_model_for_the_micro_bit(tmp_path: Path) -> None:
    """The sample fits the hardware's 16 KB of RAM; the keyword spotter is refused with figures."""
    need("qemu-system-arm")
    folder = pipeline.compile(
        DIGITS.path, output=tmp_path / "out", target="cortex-m0", calibration=DIGITS.calibration
    ).output
    inputs = raw_inputs(DIGITS, 2)
    found = execute(folder, inputs, "qemu-microbit")
    for output, want in run(folder.graph, inputs).items():
        np.testing.assert_array_equal(found[output], want)
