"""Small ONNX models, and what ONNX Runtime says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.ops import operator
from edgekit.reference import run


def model(
    nodes: list[Any],
    inputs: dict[str, list[Any]],
    outputs: list[str],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    """A ModelProto; `inputs` gives shapes, in which strings are symbolic dimensions."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(m: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(m.SerializeToString())
    return path


def session(source: bytes | str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def check(m: onnx.ModelProto, folder: Path, seed: int = 0) -> Graph:
    """Import `m` and compare every output with ONNX Runtime on random input; returns the graph.

    The graph must be canonical. Arrays of inputs and outputs that are NHWC here and NCHW in the
    file are transposed on the way.
    """
    graph = load(save(m, folder))
    assert all(operator(n.op) for n in graph.nodes)
    rng = np.random.default_rng(seed)
    nchw = graph.metadata.get("layout", {})
    declared, feeds = {}, {}
    for name in graph.inputs:
        shape = graph.values[name].shape
        x = rng.standard_normal(shape).astype(np.float32)
        feeds[name] = x if shape[:1] == (1,) else x[None]
        declared[name] = x.transpose(0, 3, 1, 2) if name in nchw else x
    want = session(m.SerializeToString()).run(None, declared)
    got = run(graph, feeds)
    assert len(graph.outputs) == len(want)
    for name, expected in zip(graph.outputs, want, strict=True):
        result = got[name].reshape(graph.values[name].shape if expected.shape else ())
        result = result.transpose(0, 3, 1, 2) if name in nchw else result
        assert result.shape == expected.shape
        atol = 1e-5 * max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=atol)
    return graph


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.nodes]
