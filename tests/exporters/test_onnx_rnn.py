"""lstm, gru and rnn written as ONNX: onnxruntime computes what the reference does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import session

from edgekit.errors import EdgekitError
from edgekit.exporters import save_onnx, to_onnx
from edgekit.graph import Graph, Node, Value
from edgekit.importers import load
from edgekit.reference import run

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def layer(op: str, states: str = "inputs", **attrs: object) -> Graph:
    """One float layer; its states are inputs, zeros or another constant."""
    rng = np.random.default_rng(0)
    units, inputs, steps = 4, 3, 5
    rows = GATES[op] * units
    g = Graph(op, ["x"], ["y"])
    g.add_value(Value("x", (1, steps, inputs)))
    operands, after = ["x"], ["h", "c"][: 2 if op == "lstm" else 1]
    for name in after:
        if states == "inputs":
            g.inputs.append(g.add_value(Value(f"{name}0", (1, units))))
            operands.append(f"{name}0")
        else:
            start = np.full((1, units), float(states == "ones"), np.float32)
            operands.append(g.add_constant(f"{name}0", start))
    shapes = {"W": (rows, inputs), "R": (rows, units), "b": (rows,), "inner": (units,)}
    for name, shape in list(shapes.items())[: 4 if op == "gru" else 3]:
        operands.append(g.add_constant(name, rng.normal(0, 0.7, shape).astype(np.float32)))
    g.add_value(Value("y", (1, steps, units)))
    for name in after:
        g.outputs.append(g.add_value(Value(name, (1, units))))
    g.nodes = [Node(op, tuple(operands), ("y", *after), dict(attrs), op)]
    return g.verify()


def equals_onnxruntime(graph: Graph, n: int = 4) -> None:
    """On `n` samples at once."""
    rng = np.random.default_rng(0)
    feeds = {
        name: rng.standard_normal((n, *graph.values[name].shape[1:])).astype(np.float32)
        for name in graph.inputs
    }
    want = run(graph, feeds)
    got = session(to_onnx(graph).SerializeToString()).run(graph.outputs, feeds)
    for name, result in zip(graph.outputs, got, strict=True):
        np.testing.assert_allclose(result, want[name], atol=2e-6)


@pytest.mark.parametrize("states", ["inputs", "zeros"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("op", "attrs"),
    [("lstm", {}), ("gru", {"linear_before_reset": True}), ("gru", {}), ("rnn", {})],
)
def test_written_layers(op: str, attrs: dict[str, object], reverse: bool, states: str,
                        tmp_path: Path) -> None:  # fmt: skip
    graph = layer(op, states, reverse=reverse, **attrs)
    equals_onnxruntime(graph)
    save_onnx(graph, tmp_path / "m.onnx")
    again = load(tmp_path / "m.onnx")
    assert [n.op for n in again.nodes if n.op in GATES] == [op]
    cell, other = (next(n for n in g.nodes if n.op == op) for g in (graph, again))
    for a, b in zip(cell.inputs, other.inputs, strict=True):
        if a in graph.constants:
            np.testing.assert_array_equal(graph.constants[a], again.constants[b])


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (layer("lstm", cell_clip=2.0), "clips its cell to 2"),
        (layer("gru", "ones"), "constant state"),
    ],
)
def test_what_onnx_cannot_say(graph: Graph, message: str) -> None:
    with pytest.raises(EdgekitError, match=message) as refused:
        to_onnx(graph)
    assert refused.value.code == "E153"


def test_every_layer_that_is_not_written_is_named() -> None:
    graph = Graph("two", ["x"], ["z"])
    for name in ("x", "s", "y", "z"):
        shape = (1, 4) if name != "s" else (1, 8)
        graph.add_value(Value(name, shape))
    graph.inputs.append("s")
    graph.add_value(Value("s1", (1, 8)))
    names = ["x", "s"]
    for name, data in (("f", (4, 4)), ("t", (4, 2)), ("b", (4,))):
        names.append(graph.add_constant(name, np.ones(data, np.float32)))
    graph.nodes = [
        Node("svdf", tuple(names), ("y", "s1"), {"rank": 1}, "first"),
        Node("clip", ("y",), ("z",), {"clamp": [0, None]}, "second"),
    ]
    with pytest.raises(EdgekitError, match=r"1 layers .* svdf") as refused:
        to_onnx(graph.verify())
    assert refused.value.code == "E154" and refused.value.details == ("'first' (svdf)",)
