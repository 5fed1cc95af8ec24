"""Attention and normalizations written as ONNX: ONNX Runtime's numbers, and the graph again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from attention_nets import Net

from edgekit.exporters import save_onnx
from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.passes import canonicalize
from edgekit.reference import run

Make = Callable[[Net], str]
EPSILON = 1e-3
MASK = np.tril(np.ones((5, 8), bool))
CASES: dict[str, tuple[tuple[int, ...], Make]] = {
    "matmul": ((1, 2, 5, 8), lambda f: f(
        "matmul", "x", f("clip", "x", clamp=[-1.0, 1.0]), transpose_b=True, scale=0.5)),
    "layer_norm": ((1, 5, 8), lambda f: f(
        "layer_norm", "x", f.vector(8), f.vector(8), epsilon=EPSILON)),
    "rms_norm": ((1, 5, 8), lambda f: f("rms_norm", "x", f.vector(8), epsilon=EPSILON)),
    "instance_norm": ((1, 5, 6, 8), lambda f: f(
        "instance_norm", "x", f.vector(8), f.vector(8), epsilon=EPSILON)),
    "instance_norm of rows": ((1, 5, 8), lambda f: f(
        "instance_norm", "x", f.vector(8), f.vector(8), epsilon=EPSILON)),
    "group_norm": ((1, 5, 6, 8), lambda f: f(
        "group_norm", "x", f.vector(8), f.vector(8), epsilon=EPSILON, groups=2,
        clamp=[0.0, None])),
    "group_norm of rows": ((1, 5, 8), lambda f: f(
        "group_norm", "x", f.vector(8), f.vector(8), epsilon=EPSILON, groups=2)),
    "l2_normalize": ((1, 5, 8), lambda f: f("l2_normalize", "x", epsilon=1e-6)),
    "log_softmax": ((1, 5, 8), lambda f: f("log_softmax", "x")),
    "masked_softmax": ((1, 2, 5, 8), lambda f: f(
        "masked_softmax", "x", f.constant("mask", MASK), beta=0.5)),
}  # fmt: skip


def written_and_read(graph: Graph, folder: Path) -> Graph:
    path = folder / "m.onnx"
    save_onnx(graph, path)
    onnx.checker.check_model(str(path), full_check=True)
    x = np.random.default_rng(3).normal(size=graph.values["x"].shape).astype(np.float32)
    found = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]
    np.testing.assert_allclose(found, run(graph, {"x": x})[graph.outputs[0]], rtol=1e-4, atol=1e-5)
    return load(path)


@pytest.mark.parametrize("name", CASES)
def test_round_trip(name: str, tmp_path: Path) -> None:
    shape, make = CASES[name]
    f = Net(*shape)
    graph = f.ended(make(f))
    again = written_and_read(graph, tmp_path)
    op = name.split()[0]
    assert [n.op for n in again.nodes].count(op) == 1
    moving = {"reshape", "transpose", "clip", "mul", op}
    assert {n.op for n in again.nodes} <= moving


def test_self_attention(tmp_path: Path) -> None:
    """LayerNorm, heads, scores and the residual sum; one sample, since tokens stand in front."""
    f = Net(1, 8, 32)
    f.graph.outputs = [f("add", "x", f.attention(f.layer_norm("x"), 4))]
    graph = canonicalize(f.graph.verify())
    again = written_and_read(graph, tmp_path)
    assert [n.op for n in again.nodes].count("matmul") == 2
