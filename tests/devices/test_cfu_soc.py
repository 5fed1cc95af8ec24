"""sim-cfu-soc: models whose kernels use the custom function unit, on the simulated hardware."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import write_sources
from graphs import batch
from models import TFLITE, TestModel
from pace import thinned
from shared import needs_shared

from codegen.lower import build_program
from edgekit import reference
from edgekit.devices.firmware.build import build_firmware, firmware_folder
from edgekit.devices.session import connect
from edgekit.importers import load
from targets import board

SOC = board("sim-cfu-soc")
#: Cycles that an inference may take: what was measured, and 3 %.
MOST = {
    "kws_tflite": 2_280_000,
    "resnet8_tflite": 9_240_000,
    "vww96_tflite": 4_290_000,
    "ad01_tflite": 485_000,
}


@needs_shared
@pytest.mark.parametrize(
    "model",
    thinned([m for m in TFLITE if m.name in MOST], lambda m: m.name == "kws_tflite"),
    ids=lambda model: model.name,
)
def test_model_is_exact(model: TestModel, tmp_path: Path) -> None:
    graph = load(model.path)
    program = build_program(graph, SOC.target, optimize="speed")
    sources = [*write_sources(program, tmp_path), firmware_folder() / "app" / "ek_app_aot.c"]
    firmware = build_firmware(sources, SOC, include=[tmp_path])
    feeds = batch(graph, 1, n=1)
    with connect(SOC, elf=firmware.elf) as session:
        profile = session.profile([feeds[t.name].tobytes() for t in program.inputs], repeat=1)
        found = session.outputs()
    want = reference.run(graph, feeds)
    for data, tensor in zip(found, program.outputs, strict=True):
        made = np.frombuffer(data, tensor.dtype).reshape(tensor.shape)
        np.testing.assert_array_equal(made, want[tensor.name])
    assert profile.unit == "cycles"
    assert sum(profile.layers) < MOST[model.name]
