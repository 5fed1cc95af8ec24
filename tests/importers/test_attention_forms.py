"""Attention as exporters write it, in ONNX: one canonical form, and ONNX Runtime's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.reference import run

ROWS, WIDTH, HEADS = 6, 16, 2
EACH = WIDTH // HEADS
CAUSAL = np.tril(np.ones((1, 1, ROWS, ROWS), bool))


class Model:
    """An ONNX model under construction: a call appends a node named like its result."""

    def __init__(self, seed: int = 0) -> None:
        self.stored: list[onnx.TensorProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.random = np.random.default_rng(seed)

    def constant(self, data: object) -> str:
        name = f"c{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def weights(self, *shape: int) -> str:
        values = self.random.normal(size=shape) / np.sqrt(shape[0])
        return self.constant(values.astype(np.float32))

    def __call__(self, op: str, *inputs: str, out: str = "", **attrs: object) -> str:
        name = out or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attrs))
        return name

    def number(self, value: float) -> str:
        return self.constant(np.float32(value))

    def proto(self) -> onnx.ModelProto:
        shape = [1, ROWS, WIDTH]
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", "y")]
        graph = helper.make_graph(self.nodes, "attention", ends[:1], ends[1:], self.stored)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(made)
        return made

    def linear(self, x: str, width: int) -> str:
        return self("Add", self("MatMul", x, self.weights(WIDTH, width)), self.weights(width))


def mask(f: Model, scores: str, form: str) -> str:
    """Causal masks: of PyTorch, of Hugging Face, of GPT-2."""
    low = -np.inf if "inf" in form else float(np.finfo(np.float32).min)
    if form.startswith("where"):
        return f("Where", f.constant(CAUSAL), scores, f.number(low))
    if form.startswith("add"):
        return f("Add", scores, f.constant(np.where(CAUSAL, 0, low).astype(np.float32)))
    if form == "trilu inf":
        tri = f("Trilu", f.constant(np.ones((ROWS, ROWS), bool)), upper=0)
        return f("Add", scores, f("Where", tri, f.number(0), f.number(low)))
    if form == "gpt2":
        kept = CAUSAL.astype(np.float32)
        return f("Sub", f("Mul", scores, f.constant(kept)), f.constant((1 - kept) * 1e4))
    return scores


def separate(form: str) -> onnx.ModelProto:
    """Three products, heads by transposes."""
    f = Model()
    heads = []
    for _ in range(3):
        split = f("Reshape", f.linear("x", WIDTH), f.constant(np.array([1, ROWS, HEADS, EACH])))
        heads.append(f("Transpose", split, perm=[0, 2, 1, 3]))
    q, k, v = heads
    scores = f("MatMul", q, f("Transpose", k, perm=[0, 1, 3, 2]))
    scores = mask(f, f("Div", scores, f.number(EACH**0.5)), form)
    y = f("Transpose", f("MatMul", f("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    joined = f("Reshape", y, f.constant(np.array([1, ROWS, WIDTH])))
    f("Add", f("MatMul", joined, f.weights(WIDTH, WIDTH)), f.weights(WIDTH), out="y")
    return f.proto()


def keras() -> onnx.ModelProto:
    """MultiHeadAttention of Keras: everything is an Einsum, scores are made transposed."""
    f = Model()
    q, k, v = (
        f("Add", f("Einsum", "x", f.weights(WIDTH, HEADS, EACH), equation="abc,cde->abde"),
          f.weights(HEADS, EACH))
        for _ in range(3)
    )  # fmt: skip
    q = f("Mul", q, f.number(EACH**-0.5))
    shares = f("Softmax", f("Einsum", k, q, equation="aecd,abcd->acbe"), axis=-1)
    y = f("Einsum", shares, v, equation="acbe,aecd->abcd")
    y = f("Einsum", y, f.weights(HEADS, EACH, WIDTH), equation="abcd,cde->abe")
    f("Add", y, f.weights(WIDTH), out="y")
    return f.proto()


def imported(model: onnx.ModelProto, folder: Path) -> Graph:
    """The canonical graph; its float results are those of ONNX Runtime."""
    path = folder / "m.onnx"
    onnx.save(model, path)
    graph = load(path)
    x = np.random.default_rng(1).normal(size=(1, ROWS, WIDTH)).astype(np.float32)
    want = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]
    np.testing.assert_allclose(run(graph, {"x": x})["y"], want, rtol=1e-4, atol=1e-5)
    return graph


def computing(graph: Graph) -> list[str]:
    """Operators that do more than move numbers, sorted."""
    return sorted(n.op for n in graph.nodes if n.op not in ("reshape", "transpose"))


MASKS = ["where inf", "where min", "add inf", "add min", "trilu inf", "gpt2"]


@pytest.mark.parametrize("form", MASKS)
def test_causal(form: str, tmp_path: Path) -> None:
    graph = imported(separate(form), tmp_path)
    assert computing(graph) == ["conv2d"] * 4 + ["masked_softmax", "matmul", "matmul"]


@pytest.mark.parametrize("form", ["torch", "keras"])
def test_without_a_mask(form: str, tmp_path: Path) -> None:
    graph = imported(keras() if form == "keras" else separate(""), tmp_path)
    assert computing(graph) == ["conv2d"] * 4 + ["matmul", "matmul", "softmax"]
    scores = next(n for n in graph.nodes if n.op == "matmul")
    assert scores.attrs["scale"] == pytest.approx(EACH**-0.5)
    assert all(n.attrs["transpose_b"] for n in graph.nodes if n.op == "matmul")
    moved = sum(n.op == "transpose" for n in graph.nodes)
    assert moved == 4, "queries, keys and values to their heads, and results back"
