"""TFLite's recurrent operators: files against TFLite Micro, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from recurrent_models import (
    bidirectional_file,
    cells,
    integers,
    lstm_file,
    rnn_file,
    svdf_file,
    svdfs,
)
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


@FEW
@given(graph=cells("lstm", tflite=True), seed=SEEDS)
def test_time_in_front(graph: Graph, seed: int, tmp_path: Path) -> None:
    file = lstm_file(graph, time_major=True)
    imported, peer = loaded(tmp_path, file), Tflm(file)
    x = integers(np.random.default_rng(seed), (3, *imported.values["x"].shape), "int8")
    ours = run(imported, {"x": x if x.shape[1] > 1 else x[:, 0]})["y"]
    for i in range(3):
        np.testing.assert_array_equal(ours[i].ravel(), peer.run(x[i]).ravel())


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


def floating(op: str, seed: int, clip: float = 0.0) -> Graph:
    """A float lstm or rnn with its states as states of the graph."""
    rng = np.random.default_rng(seed)
    steps, inputs, units = 5, 3, 4
    rows, after = {"lstm": (16, ["h", "c"]), "rnn": (4, ["h"])}[op]
    g = Graph(op, ["x"], ["y"])
    g.add_value(Value("x", (1, steps, inputs)))
    names = ["x"]
    for name in after:
        g.add_value(Value(f"{name}0", (1, units)))
        names.append(f"{name}0")
    for name, shape in (("w", (rows, inputs)), ("r", (rows, units)), ("bias", (rows,))):
        names.append(g.add_constant(name, rng.normal(0, 0.7, shape).astype(np.float32)))
    g.add_value(Value("y", (1, steps, units)))
    for name in after:
        g.add_value(Value(name, (1, units)))
    attrs = {"cell_clip": clip} if op == "lstm" else {}
    g.nodes = [Node(op, tuple(names), ("y", *after), attrs, op)]
    g.states = [State(f"{n}0", n, np.zeros((1, units), np.float32)) for n in after]
    return g.verify()


@pytest.mark.parametrize("clip", [0.0, 0.3])
def test_float_lstm(clip: float, tmp_path: Path) -> None:
    file = lstm_file(floating("lstm", 3, clip))
    graph, peer = loaded(tmp_path, file), Tflm(file)
    x = np.random.default_rng(0).normal(0, 1, (4, 5, 3)).astype(np.float32)
    ours = run(graph, {"x": x})["y"]
    for i in range(4):
        np.testing.assert_allclose(ours[i], peer.run(x[i : i + 1])[0], atol=1e-5)


def test_float_rnn(tmp_path: Path) -> None:
    """TFLM has no such operator: the file means the layer that it was written from."""
    want = floating("rnn", 4)
    x = np.random.default_rng(0).normal(0, 1, (4, 5, 3)).astype(np.float32)
    have = run(loaded(tmp_path, rnn_file(want)), {"x": x})["y"]
    np.testing.assert_array_equal(have, run(want, {"x": x})["y"])


@pytest.mark.parametrize("op", ["lstm", "rnn"])
@pytest.mark.parametrize("merge", [False, True])
def test_both_directions(op: str, merge: bool, tmp_path: Path) -> None:
    """The second direction is a layer that sees the steps from the last to the first."""
    forward, backward = floating(op, 5), floating(op, 6)
    graph = loaded(tmp_path, bidirectional_file(forward, backward, merge=merge))
    x = np.random.default_rng(0).normal(0, 1, (4, 5, 3)).astype(np.float32)
    y, z = run(forward, {"x": x})["y"], run(backward, {"x": x[:, ::-1]})["y"][:, ::-1]
    have = run(graph, {"x": x})
    if merge:
        np.testing.assert_array_equal(have["y"], np.concatenate([y, z], axis=2))
    else:
        np.testing.assert_array_equal(have["y"], y)
        np.testing.assert_array_equal(have["z"], z)


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


@pytest.mark.parametrize("name", ["x", "h0"])
def test_absurd_scales_are_refused(name: str, tmp_path: Path) -> None:
    """Products whose scale no multiplier and shift of 32 bits represent."""

    @settings(FEW, max_examples=1)
    @given(cells("lstm", tflite=True))
    def check(graph: Graph) -> None:
        scale = 1e20 if name == "x" else 1e-30
        for other in (name,) if name == "x" else ("h0", "h", "y"):
            graph.values[other] = replace(graph.values[other], quant=Quant.make(scale, 0))
        with pytest.raises(EdgekitError, match="scale of a product") as refused:
            loaded(tmp_path, lstm_file(graph))
        assert refused.value.code == "E103"

    check()
