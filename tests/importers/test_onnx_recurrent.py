"""ONNX's LSTM, GRU and RNN against onnxruntime: every direction, layout and optional operand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from shared import SHARED, needs_shared

from edgekit.data import quantize_inputs
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.pipeline import compile
from edgekit.reference import run

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, INPUTS, UNITS = 5, 3, 4


def model(
    op: str,
    *,
    direction: str = "forward",
    layout: int = 0,
    bias: bool = True,
    states: str = "",
    length: int | None = None,
    outputs: tuple[str, ...] = ("Y", "Y_h", "Y_c"),
    batch: int = 1,
    peepholes: bool = False,
    **attrs: Any,
) -> onnx.ModelProto:
    """One node with random weights. `states` is "" (absent), "constant" or "input"."""
    rng = np.random.default_rng(7)
    count = 2 if direction == "bidirectional" else 1
    rows, constants, inputs = GATES[op] * UNITS, [], []

    def constant(name: str, *shape: int) -> str:
        data = rng.normal(0, 0.8, shape).astype(np.float32)
        constants.append(numpy_helper.from_array(data, name))
        return name

    def tensor(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs.append(tensor("x", *((batch, STEPS) if layout else (STEPS, batch)), INPUTS))
    operands = ["x", constant("w", count, rows, INPUTS), constant("r", count, rows, UNITS)]
    operands.append(constant("b", count, 2 * rows) if bias else "")
    operands.append("lengths" if length else "")
    if length:
        constants.append(numpy_helper.from_array(np.array([length], np.int32), "lengths"))
    state = (batch, count, UNITS) if layout else (count, batch, UNITS)
    for name in ("h0", "c0")[: 2 if op == "LSTM" else 1]:
        if states == "constant":
            constant(name, *state)
        elif states:
            inputs.append(tensor(name, *state))
        operands.append(name if states else "")
    if peepholes:
        operands.append(constant("p", count, 3 * UNITS))
    results = [o for o in outputs if op == "LSTM" or o != "Y_c"]
    of_y = (batch, STEPS, count, UNITS) if layout else (STEPS, count, batch, UNITS)
    shapes = {"Y": of_y, "Y_h": state, "Y_c": state}
    node = helper.make_node(
        op, operands, results, hidden_size=UNITS, direction=direction,
        **({"layout": 1} if layout else {}), **attrs,
    )  # fmt: skip
    graph = helper.make_graph(
        [node], op, inputs, [tensor(o, *shapes[o]) for o in results if o], constants
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def loaded(folder: Path, made: onnx.ModelProto) -> Graph:
    onnx.save(made, folder / "model.onnx")
    return load(folder / "model.onnx")


def check(folder: Path, made: onnx.ModelProto) -> None:
    """The graph's results are those of onnxruntime."""
    graph = loaded(folder, made)
    rng = np.random.default_rng(3)
    feeds = {
        name: rng.normal(0, 1, graph.values[name].shape).astype(np.float32) for name in graph.inputs
    }
    session = onnxruntime.InferenceSession(made.SerializeToString())
    want = session.run(None, feeds)
    batched = {n: x if len(x) == 1 else x[None] for n, x in feeds.items()}
    have = run(graph, batched)
    for output, array in zip(session.get_outputs(), want, strict=True):
        np.testing.assert_allclose(have[output.name].reshape(array.shape), array, atol=2e-6)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("states", ["", "constant", "input"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_directions_and_states(op: str, states: str, direction: str, tmp_path: Path) -> None:
    check(tmp_path, model(op, direction=direction, states=states))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_linear_before_reset(direction: str, tmp_path: Path) -> None:
    check(tmp_path, model("GRU", direction=direction, linear_before_reset=1, states="input"))


@pytest.mark.parametrize(
    ("op", "outputs"),
    [
        *((op, o) for op in ("LSTM", "GRU", "RNN") for o in (("Y",), ("", "Y_h"))),
        *(("LSTM", o) for o in (("Y", "", "Y_c"), ("", "", "Y_c"), ("", "Y_h", "Y_c"))),
    ],
)
def test_optional_results(op: str, outputs: tuple[str, ...], tmp_path: Path) -> None:
    check(tmp_path, model(op, outputs=outputs, bias=False))


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_short_sequences(op: str, direction: str, tmp_path: Path) -> None:
    check(tmp_path, model(op, direction=direction, length=3, states="input"))
    check(tmp_path, model(op, direction=direction, length=STEPS))


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_several_sequences(op: str, tmp_path: Path) -> None:
    """A batch of the model's own, sequence by sequence."""
    check(tmp_path, model(op, batch=2, states="input", direction="bidirectional"))


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_batch_first(op: str, direction: str, tmp_path: Path) -> None:
    """onnxruntime has no layout 1: the same weights in layout 0 say what comes out."""
    first = loaded(tmp_path, model(op, direction=direction, layout=1, states="input"))
    other = loaded(tmp_path, model(op, direction=direction, states="input"))
    rng = np.random.default_rng(3)
    x = rng.normal(0, 1, (1, STEPS, INPUTS)).astype(np.float32)
    feeds = {"x": x}
    for name in first.inputs[1:]:
        feeds[name] = rng.normal(0, 1, first.values[name].shape).astype(np.float32)
    turned = {"x": x.reshape(1, STEPS, 1, INPUTS)}
    for name in other.inputs[1:]:
        state = feeds[name].reshape(other.values[name].shape)
        turned[name] = state if len(state) == 1 else state[None]
    have, want = run(first, feeds), run(other, turned)
    for name in first.outputs:
        assert have[name].shape[1:] == first.values[name].shape[1:]
        np.testing.assert_array_equal(have[name].ravel(), want[name].ravel())


@pytest.mark.parametrize(
    ("op", "options", "message"),
    [
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "activations are Sigmoid, Tanh"),
        ("RNN", {"activations": ["Relu"]}, "tanh are supported"),
        ("GRU", {"clip": 2.0}, "clips"),
        ("LSTM", {"input_forget": 1}, "coupled"),
        ("LSTM", {"peepholes": True, "states": "constant"}, "peepholes"),
    ],
)
def test_refusals(op: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match=message) as refused:
        loaded(tmp_path, model(op, **options))
    assert refused.value.code == "E102"


def test_damaged_weights(tmp_path: Path) -> None:
    made = model("LSTM")
    del made.graph.node[0].attribute[:]
    made.graph.node[0].attribute.append(helper.make_attribute("hidden_size", 5))
    with pytest.raises(EdgekitError, match="of 5 units") as refused:
        loaded(tmp_path, made)
    assert refused.value.code == "E103"


@needs_shared
@pytest.mark.parametrize("name", ["silero_vad_openvino_16k", "torch213_exp_rnn_ts"])
def test_exported_models(name: str) -> None:
    path = SHARED / "models" / f"{name}.onnx"
    graph = load(path)
    session = onnxruntime.InferenceSession(str(path))
    rng = np.random.default_rng(0)
    feeds = {i.name: rng.normal(0, 0.3, i.shape).astype(np.float32) for i in session.get_inputs()}
    batched = {n: x if len(x) == 1 else x[None] for n, x in feeds.items()}
    have = run(graph, batched)
    for output, want in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        np.testing.assert_allclose(have[output.name].reshape(want.shape), want, atol=1e-4)


@needs_shared
def test_exported_model_on_the_board(tmp_path: Path) -> None:
    """An LSTM and a GRU in two directions, int8, on the host and on the virtual M4."""
    x = np.random.default_rng(0).normal(0, 1, (32, 12, 10)).astype(np.float32)
    path = SHARED / "models" / "torch213_exp_rnn_ts.onnx"
    done = compile(path, output=tmp_path / "out", calibration={"x": x})
    feeds = quantize_inputs(done.graph, {"x": x[:4]})
    (want,) = run(done.graph, feeds).values()
    for place in ("host", "virtual-cortex-m4"):
        (found,) = execute(done.output, feeds, place, mode="aot").values()
        np.testing.assert_array_equal(found, want)
