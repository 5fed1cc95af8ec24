"""What PyTorch 2.13's two exporters make of a network is imported alike, and quantizes well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import ops, session
from shared import SHARED, needs_shared

from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.reference import run
from quantizer import quantize


def exported(folder: Path, network: str, form: str) -> tuple[Graph, Path]:
    """The graph of a file of ../shared; weights in a file of their own lie beside it."""
    source = SHARED / "models" / f"torch213_exp_{network}_{form}.onnx"
    path = folder / source.name
    path.write_bytes(source.read_bytes())
    data = source.with_name(source.name + ".data")
    if data.exists():
        (folder / f"exp_{network}_{form}.onnx.data").write_bytes(data.read_bytes())
    return load(path), path


@needs_shared
@pytest.mark.parametrize("form", ["dynamo", "ts"])
def test_cnn_has_no_transposes_and_quantizes(tmp_path: Path, form: str) -> None:
    graph, path = exported(tmp_path, "cnn", form)
    kinds = ops(graph)
    assert "transpose" not in kinds
    assert kinds.count("average_pool2d") == 2  # one is a mean over rows and columns in the file
    assert {"conv2d", "depthwise_conv2d", "fully_connected", "resize", "unary"} <= set(kinds)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 32, 32, 3)).astype(np.float32)
    [want] = session(str(path)).run(None, {"x": x[:1].transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(run(graph, {"x": x[:1]})[graph.outputs[0]], want, atol=1e-6)
    assert quantize(graph, {"x": x}, rounding="nearest").logits_sqnr_db >= 25


@needs_shared
@pytest.mark.parametrize("form", ["dynamo", "ts"])
def test_attention_computes_what_onnx_runtime_computes(tmp_path: Path, form: str) -> None:
    graph, path = exported(tmp_path, "attn", form)
    assert {"layer_norm", "softmax", "matmul"} <= set(ops(graph))
    x = np.random.default_rng(0).standard_normal((1, 8, 32)).astype(np.float32)
    [want] = session(str(path)).run(None, {"x": x})
    np.testing.assert_allclose(run(graph, {"x": x})[graph.outputs[0]], want, atol=1e-5)
