"""Each numbered rule of edgekit/passes/recurrent_cells.py, as torch and others export cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.reference import run
from quantizer import quantize

INPUTS, UNITS = 6, 8


class Model:
    """Nodes of one vector each; weights are drawn where they are used."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.shared: dict[str, str] = {}

    def constant(self, data: Any) -> str:
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(data, np.float32), name))
        return name

    def node(self, op: str, *inputs: str, **attrs: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attrs))
        return name

    def gemm(self, x: str, rows: int, key: str) -> str:
        """A fully connected layer; those of one `key` share their weights."""
        columns = INPUTS if key.startswith("x") else UNITS
        for what, shape in (("w", (rows, columns)), ("b", (rows,))):
            if key + what not in self.shared:
                data = self.rng.uniform(-0.6, 0.6, shape)
                self.shared[key + what] = self.constant(data)
        return self.node("Gemm", x, self.shared[key + "w"], self.shared[key + "b"], transB=1)

    def split(self, x: str, count: int) -> list[str]:
        names = [f"{x}.{i}" for i in range(count)]
        self.nodes.append(
            helper.make_node("Split", [x], names, axis=1, num_outputs=count, name=f"{x}.s")
        )
        return names

    def save(self, inputs: dict[str, int], outputs: list[str], path: Path) -> onnx.ModelProto:
        info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, k])
                for n, k in inputs.items()]  # fmt: skip
        results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, UNITS]) for n in outputs]
        graph = helper.make_graph(self.nodes, "cell", info, results, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        onnx.save(made, path)
        return made


def lstm_cell(m: Model, x: str, h: str, c: str, order: str = "ifgo") -> tuple[str, str]:
    """torch's LSTMCell, or one with the gates of its rows in another order."""
    total = m.node("Add", m.gemm(h, 4 * UNITS, "h"), m.gemm(x, 4 * UNITS, "x"))
    gates = dict(zip(order, m.split(total, 4), strict=True))
    i, f, o = (m.node("Sigmoid", gates[k]) for k in "ifo")
    g = m.node("Tanh", gates["g"])
    after = m.node("Add", m.node("Mul", f, c), m.node("Mul", i, g))
    return m.node("Mul", o, m.node("Tanh", after)), after


def keras_lstm_cell(m: Model, x: str, h: str, c: str) -> tuple[str, str]:
    """An unrolled step of Keras: vectors without the batch, and the bias apart."""
    flat = m.node("Squeeze", m.gemm(h, 4 * UNITS, "h"))
    total = m.node("Add", m.gemm(x, 4 * UNITS, "x"), flat)
    total = m.node("Add", total, m.constant(m.rng.normal(0, 0.3, 4 * UNITS)))
    gates = m.split(total, 4)
    i, f, o = (m.node("Sigmoid", gates[k]) for k in (0, 1, 3))
    g = m.node("Tanh", gates[2])
    after = m.node("Add", m.node("Mul", f, c), m.node("Mul", i, g))
    return m.node("Mul", o, m.node("Tanh", after)), after


def gru_cell(m: Model, x: str, h: str, form: str) -> str:
    """torch's GRUCell, its textbook form, or the one that resets before its product."""
    xr, xz, xn = m.split(m.gemm(x, 3 * UNITS, "x"), 3)
    if form == "before":
        hr, hz = m.split(m.gemm(h, 2 * UNITS, "h"), 2)
    else:
        hr, hz, hn = m.split(m.gemm(h, 3 * UNITS, "h"), 3)
    r, z = (m.node("Sigmoid", m.node("Add", a, b)) for a, b in ((hr, xr), (hz, xz)))
    part = m.gemm(m.node("Mul", r, h), UNITS, "hn") if form == "before" else m.node("Mul", hn, r)
    n = m.node("Tanh", m.node("Add", xn, part))
    if form == "torch":
        return m.node("Add", m.node("Mul", m.node("Sub", h, n), z), n)
    rest = m.node("Sub", m.constant([1.0]), z)
    return m.node("Add", m.node("Mul", rest, n), m.node("Mul", z, h))


def check(made: onnx.ModelProto, graph: Graph) -> None:
    session = onnxruntime.InferenceSession(made.SerializeToString())
    rng = np.random.default_rng(1)
    feeds = {i.name: rng.normal(0, 1, i.shape).astype(np.float32) for i in session.get_inputs()}
    have = run(graph, feeds)
    for output, want in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        np.testing.assert_allclose(have[output.name], want, atol=2e-6)


@pytest.mark.parametrize("order", ["ifgo", "iofg"])
def test_rule_1(order: str, tmp_path: Path) -> None:
    m = Model()
    h, c = lstm_cell(m, "x", "h", "c", order)
    made = m.save({"x": INPUTS, "h": UNITS, "c": UNITS}, [h, c], tmp_path / "m.onnx")
    graph = load(tmp_path / "m.onnx")
    assert [n.op for n in graph.nodes] == ["reshape", "lstm"]
    check(made, graph)


def test_rule_1_of_keras(tmp_path: Path) -> None:
    m = Model()
    h, c = keras_lstm_cell(m, "x", "h", "c")
    made = m.save({"x": INPUTS, "h": UNITS, "c": UNITS}, [h, c], tmp_path / "m.onnx")
    graph = load(tmp_path / "m.onnx")
    assert [n.op for n in graph.nodes] == ["reshape", "lstm"]
    check(made, graph)


@pytest.mark.parametrize("form", ["torch", "textbook", "before"])
def test_rules_2_and_3(form: str, tmp_path: Path) -> None:
    m = Model()
    h = gru_cell(m, "x", "h", form)
    made = m.save({"x": INPUTS, "h": UNITS}, [h], tmp_path / "m.onnx")
    graph = load(tmp_path / "m.onnx")
    assert [n.op for n in graph.nodes] == ["reshape", "gru"]
    assert graph.nodes[1].attrs["linear_before_reset"] == (form != "before")
    check(made, graph)


def test_steps_of_an_unrolled_network(tmp_path: Path) -> None:
    """Three steps are three cells; quantized, they stay close and share their weights' integers."""
    m, h, c = Model(), "h", "c"
    for step in range(3):
        h, c = lstm_cell(m, f"x{step}", h, c)
    inputs = {f"x{k}": INPUTS for k in range(3)} | {"h": UNITS, "c": UNITS}
    made = m.save(inputs, [h, c], tmp_path / "m.onnx")
    graph = load(tmp_path / "m.onnx")
    assert [n.op for n in graph.nodes].count("lstm") == 3
    check(made, graph)
    rng = np.random.default_rng(2)
    data = {n: rng.normal(0, 0.7, (64, k)).astype(np.float32) for n, k in inputs.items()}
    result = quantize(graph, data)
    assert min(result.sqnr_db.values()) > 30
    cells = [n for n in result.graph.nodes if n.op == "lstm"]
    rows = [result.graph.constants[n.inputs[4]] for n in cells]
    assert all(np.array_equal(r, rows[0]) for r in rows)


def test_other_gates_stay(tmp_path: Path) -> None:
    """A relu in place of the tanh of the cell is no lstm."""
    m = Model()
    total = m.node("Add", m.gemm("h", 4 * UNITS, "h"), m.gemm("x", 4 * UNITS, "x"))
    i, f, g, o = m.split(total, 4)
    kept = m.node("Mul", m.node("Sigmoid", f), "c")
    added = m.node("Mul", m.node("Sigmoid", i), m.node("Relu", g))
    out = m.node("Mul", m.node("Sigmoid", o), m.node("Tanh", m.node("Add", kept, added)))
    made = m.save({"x": INPUTS, "h": UNITS, "c": UNITS}, [out], tmp_path / "m.onnx")
    graph = load(tmp_path / "m.onnx")
    assert "lstm" not in [n.op for n in graph.nodes]
    check(made, graph)
