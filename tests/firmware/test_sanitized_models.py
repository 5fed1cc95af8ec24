"""Whole models on this machine under address and undefined-behaviour sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import DIGITS, TFLITE, TestModel, compiled, raw_inputs, raw_samples
from pace import thinned
from tools import need

from edgekit import pipeline
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import RUNTIME_FOLDER, model_sources
from edgekit.output import BUNDLE, Output
from edgekit.reference import run
from edgekit.toolchain import host_executable
from quantizer.widths import layer_name

HERE = Path(__file__).parent

#: In `make test`.
FAST = [("digits", "interpreter"), ("digits", "aot"), ("kws_tflite", "aot"),
        ("sww_tflite", "interpreter")]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "mode"),
    thinned(
        [(model, mode) for model in (DIGITS, *TFLITE) for mode in ("interpreter", "aot")],
        lambda case: (case[0].name, case[1]) in FAST,
    ),
    ids=lambda value: value.name if isinstance(value, TestModel) else value,
)
def test_no_findings(model: TestModel, mode: str) -> None:
    if not model.path.exists():
        pytest.skip(f"needs {model.path.name} of the shared models")
    check(compiled(model), raw_inputs(model, 40 if model is DIGITS else 4), mode)


@pytest.mark.parametrize(
    "options",
    [{"activation_bits": 16}, {"activation_bits": 16, "weight_bits": 4}, "float"],
    ids=["16x8", "16x4", "float"],
)
def test_no_findings_in_other_formats(options: Any, tmp_path: Path) -> None:
    if options == "float":
        names = [layer_name(n) for n in compiled(DIGITS).graph.nodes if n.op == "conv2d"]
        options = {"float_layers": names[:2]}
    folder = pipeline.compile(
        DIGITS.path,
        output=tmp_path / "out",
        calibration=DIGITS.calibration,
        quantization=options,
    ).output
    check(folder, raw_samples(DIGITS, folder.graph, 40), "aot")


def check(folder: Output, inputs: dict[str, np.ndarray], mode: str) -> None:
    """Run a compiled model under sanitizers: no finding, and the reference's bytes."""
    need("gcc")
    sources = [p for p in model_sources(folder.sources, folder.name, mode).all if p.suffix == ".c"]
    if mode == "interpreter":
        sources = [p for p in sources if p.name != "ek_app_interpreter.c"]
        sources.append(firmware_folder() / "app" / "ek_app_host.c")
    program = host_executable(
        [HERE / "run_app.c", *sources],
        include=[folder.sources, folder.sources / RUNTIME_FOLDER, firmware_folder() / "include"],
        defines={"WITH_BUNDLE": ""} if mode == "interpreter" else {},
        sanitize=True,
    )
    (samples,) = inputs.values()
    done = subprocess.run(
        [program, folder.path / BUNDLE],
        input=samples.tobytes(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
    want = run(folder.graph, inputs)[folder.graph.outputs[0]]
    np.testing.assert_array_equal(np.frombuffer(done.stdout, want.dtype), want.reshape(-1))
