"""Whole models on this machine under address and undefined-behaviour sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from models import DIGITS, TFLITE, TestModel, compiled, raw_inputs
from tools import need

from edgekit.devices.build import firmware_folder
from edgekit.devices.model import RUNTIME_FOLDER, model_sources
from edgekit.output import BUNDLE
from edgekit.reference import run
from edgekit.toolchain import host_executable

HERE = Path(__file__).parent


@pytest.mark.parametrize("mode", ["interpreter", "aot"])
@pytest.mark.parametrize("model", [DIGITS, *TFLITE], ids=lambda m: m.name)
def test_no_findings(model: TestModel, mode: str) -> None:
    need("gcc")
    if not model.path.exists():
        pytest.skip(f"needs {model.path.name} of the shared models")
    folder = compiled(model)
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
    inputs = raw_inputs(model, 40 if model is DIGITS else 4)
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
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8), want.reshape(-1))
