"""Zeros among the weights from the pruned float model to the board: smaller, the same bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from models import DIGITS, raw_inputs
from tools import need

from edgekit import data, importers, pipeline
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import RUNTIME_FOLDER, model_sources
from edgekit.execute import execute
from edgekit.exporters import save_onnx
from edgekit.output import BUNDLE, Output
from edgekit.pipeline import Compiled
from edgekit.reference import run
from edgekit.toolchain import host_executable
from pruner import prune_weights

RUN_APP = Path(__file__).parent / "firmware" / "run_app.c"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Compiled, Compiled]:
    """The pruned digits model with weights stored sparse, and stored dense."""
    folder = tmp_path_factory.mktemp("sparse")
    graph = importers.load(DIGITS.path)
    assert DIGITS.calibration is not None
    samples = data.load(DIGITS.calibration, graph).arrays
    save_onnx(prune_weights(graph, samples, sparsity=0.6).graph, folder / "pruned.onnx")
    sparse, dense = (
        pipeline.compile(
            folder / "pruned.onnx", output=folder / mode, calibration=samples, sparse_weights=mode
        )
        for mode in ("smallest", "off")
    )
    return sparse, dense


@pytest.fixture(scope="module")
def folder(pair: tuple[Compiled, Compiled]) -> Output:
    return pair[0].output


@pytest.mark.parametrize("mode", ["interpreter", "aot"])
@pytest.mark.parametrize("where", ["host", "virtual-cortex-m4"])
def test_same_bytes(
    folder: Output, where: str, mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))
    inputs = raw_inputs(DIGITS, 8)
    want = run(folder.graph, inputs)
    found = execute(folder, inputs, where, mode=mode)
    for name in folder.graph.outputs:
        np.testing.assert_array_equal(found[name], want[name])


def test_with_16_bit_activations(
    pair: tuple[Compiled, Compiled], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Decoding knows nothing of activations: the int16 kernels take the same weights."""
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path))
    model = pair[0].output.path.parent / "pruned.onnx"
    done = pipeline.compile(
        model,
        output=tmp_path / "wide",
        calibration=DIGITS.calibration,
        quantization={"activation_bits": 16},
    )
    assert any("bitmask" in layer.note for layer in done.report.layers)
    (name,) = done.graph.inputs
    shape = done.graph.values[name].shape
    chance = np.random.default_rng(0).integers(-(2**15), 2**15, (6, *shape[1:]))
    inputs = {name: chance.astype(done.graph.values[name].dtype)}
    want = run(done.graph, inputs)
    for where in ("host", "virtual-cortex-m4"):
        found = execute(done.output, inputs, where)
        for output in done.graph.outputs:
            np.testing.assert_array_equal(found[output], want[output])


def test_same_bytes_under_sanitizers(folder: Output) -> None:
    need("gcc")
    sources = model_sources(folder.sources, folder.name, "aot").all
    program = host_executable(
        [RUN_APP, *(p for p in sources if p.suffix == ".c")],
        include=[folder.sources, folder.sources / RUNTIME_FOLDER, firmware_folder() / "include"],
        sanitize=True,
    )
    inputs = raw_inputs(DIGITS, 8)
    (samples,) = inputs.values()
    command = [program, folder.path / BUNDLE]
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
    want = run(folder.graph, inputs)[folder.graph.outputs[0]]
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8), want.reshape(-1))


def test_flash_falls_and_the_report_shows_the_price(pair: tuple[Compiled, Compiled]) -> None:
    sparse, dense = (c.report for c in pair)
    stored = [layer for layer in sparse.layers if "bitmask" in layer.note]
    assert stored and not any("bitmask" in layer.note for layer in dense.layers)
    saved = 0
    for layer, before in zip(sparse.layers, dense.layers, strict=True):
        saved += before.constant_bytes - layer.constant_bytes
        if layer in stored:
            assert layer.constant_bytes < 0.8 * before.constant_bytes
            assert layer.scratch_bytes > before.scratch_bytes
    fallen = dense.flash["bundle"] - sparse.flash["bundle"]
    assert saved - 200 < fallen <= saved, "but for the text of the notes"
    assert sparse.flash_bytes < dense.flash_bytes
    assert sparse.cycles is not None and dense.cycles is not None
    assert sparse.cycles > dense.cycles, "decoding is not free, and the report says so"
