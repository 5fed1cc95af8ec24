"""Graphs written as ONNX: legal, equal to our reference, and imported as the same graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from float_graphs import float_graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import session
from quantizer_small import Builder, network
from shared import SHARED, needs_shared

from edgekit import importers
from edgekit.errors import EdgekitError
from edgekit.exporters import save_onnx, to_onnx
from edgekit.exporters.onnx import WRITERS
from edgekit.graph import Graph, Node, Value
from edgekit.ops import operators
from edgekit.reference import run
from samples.digits import MODEL

ALL = ["kws", "resnet8", "vww96", "ad01", "sww"]
FILES = [*ALL, *(f"{name}_nchw" for name in ALL if name != "ad01")]


def as_declared(graph: Graph, name: str, x: np.ndarray) -> np.ndarray:
    nchw = x.ndim == 4 and graph.metadata.get("layout", {}).get(name) == "NCHW"
    return x.transpose(0, 3, 1, 2) if nchw else x


def equals_onnxruntime(graph: Graph, model: Any, n: int = 4, seed: int = 0) -> None:
    """Checked, run on `n` samples at once, and compared with the float reference."""
    onnx.checker.check_model(model, full_check=True)
    rng = np.random.default_rng(seed)
    shapes = {name: (n, *graph.values[name].shape[1:]) for name in graph.inputs}
    feeds = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    declared = {name: as_declared(graph, name, x) for name, x in feeds.items()}
    got = session(model.SerializeToString()).run(graph.outputs, declared)
    want = run(graph, feeds)
    for name, result in zip(graph.outputs, got, strict=True):
        expected = as_declared(graph, name, want[name])
        atol = 1e-5 * max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=atol)


def same_graph(a: Graph, b: Graph) -> None:
    assert (a.inputs, a.outputs, a.metadata) == (b.inputs, b.outputs, b.metadata)
    assert [(n.name, n.op, n.outputs, n.attrs) for n in a.nodes] == [
        (n.name, n.op, n.outputs, n.attrs) for n in b.nodes
    ]
    for x, y in zip(a.nodes, b.nodes, strict=True):
        for left, right in zip(x.inputs, y.inputs, strict=True):
            assert a.is_constant(left) == b.is_constant(right)
            if a.is_constant(left):
                np.testing.assert_array_equal(a.constants[left], b.constants[right])
            else:
                assert left == right


def test_operators_are_written_or_refused() -> None:
    """What pruning and fine-tuning hand on is written; E154 names the layers of other kinds."""
    first = ("add", "average_pool2d", "clip", "conv2d", "depthwise_conv2d", "fully_connected",
             "max_pool2d", "mul", "reshape", "softmax", "transpose", "lstm", "gru", "rnn",
             "layer_norm", "matmul")  # fmt: skip
    assert set(first) <= set(WRITERS) <= set(operators())
    graph = Graph("g", ["x"], ["y"])
    for name in ("x", "y"):
        graph.add_value(Value(name, (1, 4)))
    graph.nodes.append(Node("cumsum", ("x",), ("y",), {"axis": 1}, "running"))
    with pytest.raises(EdgekitError, match="E154") as caught:
        to_onnx(graph.verify())
    assert "cumsum" in str(caught.value)


@needs_shared
@pytest.mark.parametrize("name", FILES)
def test_round_trip(name: str, tmp_path: Path) -> None:
    graph = importers.load(SHARED / "models" / f"mlperf_tiny_{name}_float32.onnx")
    model = to_onnx(graph)
    equals_onnxruntime(graph, model)
    save_onnx(graph, tmp_path / "model.onnx")
    same_graph(graph, importers.load(tmp_path / "model.onnx"))
    images = name.startswith(("resnet8", "vww96"))
    transposes = sum(node.op_type == "Transpose" for node in model.graph.node)
    assert not images or transposes == (0 if name.endswith("_nchw") else 1)  # at the border


def test_digits_round_trip(tmp_path: Path) -> None:
    graph = importers.load(MODEL)
    size = save_onnx(graph, tmp_path / "digits.onnx")
    assert size == (tmp_path / "digits.onnx").stat().st_size
    same_graph(graph, importers.load(tmp_path / "digits.onnx"))
    equals_onnxruntime(graph, to_onnx(graph))


def test_small_network_and_both_forms_of_one_tensor() -> None:
    equals_onnxruntime(network(), to_onnx(network()))
    b = Builder()
    x = b.input("x", 1, 3, 4, 2)
    y = b.node("conv2d", x, b.constant("w", 5, 1, 1, 2), b.constant("b", 5), clamp=[-1, 1.5])
    z = b.node("mul", y, b.constant("c", 5), clamp=[None, 0.5])
    flat = b.node("reshape", y, shape=[1, 60])
    graph = b.done(z, y, flat)
    equals_onnxruntime(graph, to_onnx(graph))
    graph.metadata = {"layout": {"x": "NCHW", y: "NCHW"}}
    equals_onnxruntime(graph, to_onnx(graph))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=float_graphs(), nchw=st.booleans())
def test_random_graphs(graph: Graph, nchw: bool) -> None:
    if nchw:
        graph.metadata = {"layout": dict.fromkeys((*graph.inputs, *graph.outputs), "NCHW")}
    equals_onnxruntime(graph, to_onnx(graph))


def test_quantized_graphs_and_bad_paths_are_refused(tmp_path: Path) -> None:
    from quantizer_small import samples

    from quantizer import quantize

    with pytest.raises(EdgekitError, match="E230"):
        to_onnx(quantize(network(), samples()).graph)
    (tmp_path / "file").touch()
    with pytest.raises(EdgekitError, match="E704"):
        save_onnx(network(), tmp_path / "file" / "model.onnx")
