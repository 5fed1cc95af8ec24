"""TFLite's recurrent operators: files against TFLite Micro, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recurrent_models import cells, integers, lstm_file, svdf_file, svdfs
from shared import SHARED, needs_shared
from tflite_peer import differing_bytes
from tflm import Tflm

from edgekit.build import build
from edgekit.devices.find import find_board, find_target
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.graph import Graph, Node, Quant, State, Value
from edgekit.importers import load
from edgekit.output import write_output
from edgekit.reference import run

MODEL = SHARED / "models" / "tflm_trained_lstm_int8.tflite"
SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(
    max_examples=10,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def loaded(folder: Path, file: bytes) -> Graph:
    (folder / "model.tflite").write_bytes(file)
    return load(folder / "model.tflite")


@needs_shared
def test_trained_lstm() -> None:
    """100 random inputs one after the other, every tensor of the file."""
    graph = load(MODEL)
    x = integers(np.random.default_rng(0), (100, 28, 28), "int8")
    found = differing_bytes(MODEL, graph, {graph.inputs[0]: x})
    assert len(found) == 4 and not any(found.values()), found


@needs_shared
@pytest.mark.parametrize("mode", ["interpreter", "aot"])
def test_trained_lstm_on_the_board(mode: str, tmp_path: Path) -> None:
    """8 inputs, and again after a reset."""
    graph = load(MODEL)
    target = find_target("cortex-m4")
    built = build(
        graph, None, target=target, board=find_board(target.default_board), compiler="zig",
        say=lambda stage, share: None,
    )  # fmt: skip
    output = write_output(tmp_path / "out", built.files, built.description("lstm", "zig"))
    x = {graph.inputs[0]: integers(np.random.default_rng(1), (8, 28, 28), "int8")}
    want = run(graph, x)[graph.outputs[0]]
    for place in ("host", "virtual-cortex-m4"):
        for _ in range(2):
            found = execute(output, x, place, mode=mode)[graph.outputs[0]]
            np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_lstm(dtype: str, tmp_path: Path) -> None:
    @FEW
    @given(cells("lstm", dtype, tflite=True), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        file = lstm_file(graph)
        imported = loaded(tmp_path, file)
        x = integers(np.random.default_rng(seed), (3, *graph.values["x"].shape[1:]), dtype)
        ours, peer = run(imported, {"x": x})["y"], Tflm(file)
        for i in range(3):
            np.testing.assert_array_equal(ours[i], peer.run(x[i : i + 1])[0])

    check()


@pytest.mark.parametrize("memory", ["int8", "int16"])
def test_svdf(memory: str, tmp_path: Path) -> None:
    @FEW
    @given(svdfs(memory), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        file = svdf_file(graph)
        imported = loaded(tmp_path, file)
        x = integers(np.random.default_rng(seed), (4, *graph.values["x"].shape[1:]), "int8")
        ours, peer = run(imported, {"x": x})["y"], Tflm(file)
        for i in range(4):
            np.testing.assert_array_equal(ours[i], peer.run(x[i : i + 1])[0])

    check()


def float_lstm(seed: int, clip: float = 0.0) -> Graph:
    rng = np.random.default_rng(seed)
    steps, inputs, units = 5, 3, 4
    g = Graph("lstm", ["x"], ["y"])
    g.add_value(Value("x", (1, steps, inputs)))
    for name in ("h0", "c0"):
        g.add_value(Value(name, (1, units)))
    names = ["x", "h0", "c0"]
    for name, shape in (("w", (16, inputs)), ("r", (16, units)), ("bias", (16,))):
        names.append(g.add_constant(name, rng.normal(0, 0.7, shape).astype(np.float32)))
    g.add_value(Value("y", (1, steps, units)))
    for name in ("h", "c"):
        g.add_value(Value(name, (1, units)))
    g.nodes = [Node("lstm", tuple(names), ("y", "h", "c"), {"cell_clip": clip}, "lstm")]
    g.states = [State(f"{n}0", n, np.zeros((1, units), np.float32)) for n in ("h", "c")]
    return g.verify()


@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_float_lstm(clip: float, tmp_path: Path) -> None:
    file = lstm_file(float_lstm(3, clip))
    graph, peer = loaded(tmp_path, file), Tflm(file)
    x = np.random.default_rng(0).normal(0, 1, (4, 5, 3)).astype(np.float32)
    ours = run(graph, {"x": x})["y"]
    for i in range(4):
        np.testing.assert_allclose(ours[i], peer.run(x[i : i + 1])[0], atol=1e-5)


def test_two_results_of_one_scale_only(tmp_path: Path) -> None:
    """TFLM copies the hidden state to the result whatever its scale says."""

    @settings(FEW, max_examples=1)
    @given(cells("lstm", tflite=True))
    def check(graph: Graph) -> None:
        other = replace(graph.values["y"], quant=Quant.make(0.5, 0))
        graph.values["y"] = other
        with pytest.raises(EdgekitError, match="hidden state differ") as refused:
            loaded(tmp_path, lstm_file(graph))
        assert refused.value.code == "E102"

    check()


def test_cells_of_odd_scale_are_refused(tmp_path: Path) -> None:
    @settings(FEW, max_examples=1)
    @given(cells("lstm", tflite=True))
    def check(graph: Graph) -> None:
        for name in ("c0", "c"):
            graph.values[name] = replace(graph.values[name], quant=Quant.make(0.003, 0))
        with pytest.raises(EdgekitError, match="not a power of two") as refused:
            loaded(tmp_path, lstm_file(graph))
        assert refused.value.code == "E103"

    check()
