"""Quantized lstm, gru and rnn: how close the integers are, and which grids their states have."""

from __future__ import annotations

import numpy as np
import pytest
from shared import SHARED, needs_shared

from edgekit.data import quantize_inputs
from edgekit.graph import Graph, Node, State, Value
from edgekit.importers import load
from edgekit.ops.convert import dequantize
from edgekit.reference import run
from quantizer import quantize

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
STEPS, INPUTS, UNITS = 20, 8, 16
#: Cells with linear_before_reset or not, in either direction.
CELLS = [
    ("lstm", {}), ("lstm", {"reverse": True}), ("gru", {"linear_before_reset": True}),
    ("gru", {"linear_before_reset": False}), ("rnn", {}),
]  # fmt: skip


def cell(op: str, attrs: dict[str, bool], *, states: bool, steps: int = STEPS) -> Graph:
    """A float layer with random weights; its states are states of the graph, or zeros."""
    rng = np.random.default_rng(0)
    rows, reach = GATES[op] * UNITS, 2 / np.sqrt(UNITS)
    g = Graph(op, ["x"], ["y"])
    g.add_value(Value("x", (1, steps, INPUTS)))
    operands, after = ["x"], ["h", "c"][: 2 if op == "lstm" else 1]
    zeros = np.zeros((1, UNITS), np.float32)
    for name in after:
        if states:
            g.add_value(Value(f"{name}0", (1, UNITS)))
            operands.append(f"{name}0")
        else:
            operands.append(g.add_constant(f"{name}0", zeros))
    shapes = {"W": (rows, INPUTS), "R": (rows, UNITS), "bias": (rows,), "inner": (UNITS,)}
    for name, shape in list(shapes.items())[: 4 if op == "gru" else 3]:
        data = rng.uniform(-reach, reach, shape).astype(np.float32)
        operands.append(g.add_constant(name, data))
    g.add_value(Value("y", (1, steps, UNITS)))
    for name in after:
        g.add_value(Value(name, (1, UNITS)))
    g.nodes = [Node(op, tuple(operands), ("y", *after), attrs, op)]
    if states:
        g.states = [State(f"{name}0", name, zeros) for name in after]
    return g.verify()


def samples(n: int = 64, steps: int = STEPS) -> np.ndarray:
    steps_of = np.random.default_rng(1).normal(0, 0.3, (n, steps, INPUTS))
    return steps_of.cumsum(axis=1).astype(np.float32)


@pytest.mark.parametrize(("bits", "bar"), [(8, 33.0), (16, 42.0)])
@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize(("op", "attrs"), CELLS)
def test_cells(op: str, attrs: dict[str, bool], states: bool, bits: int, bar: float) -> None:
    result = quantize(cell(op, attrs, states=states), {"x": samples()}, activation_bits=bits)
    assert result.sqnr_db["y"] > bar
    values = result.graph.values
    assert values["y"].dtype == f"int{bits}"
    if op == "lstm":
        assert values["h"].quant == values["y"].quant
        assert values["c"].dtype == "int16"
        assert np.log2(values["c"].quant.scale[0]) % 1 == 0  # type: ignore[union-attr]
    if op == "gru":
        assert values["h"].dtype == "int16"


def test_a_gru_of_8_bits_follows_what_is_slow() -> None:
    """Steps far below those of an int8 state add up: the state has 16 bits."""
    g = cell("gru", {"linear_before_reset": True}, states=True, steps=1)
    for name in ("W", "R", "bias", "inner"):
        g.constants[name] = np.zeros_like(g.constants[name])
    g.constants["bias"][:UNITS] = 6.0  # the update gate keeps 99.75 % of the state
    g.constants["W"][2 * UNITS :] = 0.5
    x = np.abs(samples(400, 1)) + 0.5
    result = quantize(g, {"x": x})
    assert result.sqnr_db["y"] > 30


@needs_shared
def test_exported_rnn() -> None:
    graph = load(SHARED / "models" / "torch213_exp_rnn_ts.onnx")
    x = np.random.default_rng(0).normal(0, 1, (64, 12, 10)).astype(np.float32)
    assert quantize(graph, {"x": x}).logits_sqnr_db > 35
    assert quantize(graph, {"x": x}, activation_bits=16).logits_sqnr_db > 50


def sounds(count: int) -> np.ndarray:
    """Tones that come and go over noise, in frames of 576 samples that overlap by 64."""
    rng = np.random.default_rng(0)
    t = np.arange(512 * count) / 16000
    signal = rng.normal(0, 0.01, t.shape)
    for _ in range(12):
        tone = np.sin(2 * np.pi * rng.uniform(80, 3000) * t + rng.uniform(0, 6))
        signal += rng.uniform(0.02, 0.2) * tone * (np.sin(2 * np.pi * rng.uniform(0.5, 4) * t) > 0)
    padded = np.concatenate([np.zeros(64), signal]).astype(np.float32)
    return np.stack([padded[512 * i : 512 * i + 576] for i in range(count)])


@needs_shared
@pytest.mark.parametrize(("bits", "bar"), [(8, 25.0), (16, 35.0)])
def test_silero_vad_follows_a_stream(bits: int, bar: float) -> None:
    """Each network goes on from its own states; the logits stay close."""
    graph = load(SHARED / "models" / "silero_vad_openvino_16k.onnx")
    frames = sounds(40)
    state, states = np.zeros((1, 2, 1, 128), np.float32), []
    for frame in frames:
        states.append(state[0])
        found = run(graph, {"input": frame[None], "state": state})
        state = found["stateN"].reshape(state.shape)
    data = {"input": frames, "state": np.stack(states)}
    integer = quantize(graph, data, activation_bits=bits).graph
    last = next(n for n in reversed(integer.nodes) if n.attrs.get("function") == "sigmoid")
    logits = last.inputs[0]
    want = run(graph, data, keep=[logits])[logits].ravel()
    have, state = [], np.zeros_like(state)
    for frame in frames:
        feeds = quantize_inputs(integer, {"input": frame[None], "state": state})
        found = run(integer, feeds, keep=[logits])
        have.append(dequantize(integer.values[logits], found[logits]).ravel())
        state = dequantize(integer.values["stateN"], found["stateN"]).reshape(state.shape)
    error = np.concatenate(have) - want
    assert 10 * np.log10((want**2).sum() / (error**2).sum()) > bar
