"""Attention end to end: exported models and a transformer block, float to the virtual Cortex-M4."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from attention_nets import block
from built import M4, run_host, run_m4
from shared import SHARED, needs_shared

from codegen.lower import build_program
from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.ops.convert import dequantize, quantize
from edgekit.passes import canonicalize
from edgekit.reference import run
from quantizer.ptq import QuantizationResult
from quantizer.ptq import quantize as quantized

SAMPLES = 48
EXPORTS = {"dynamo": "exp_attn_dynamo.onnx.data", "ts": None}


def model(kind: str, folder: Path) -> tuple[Path, Graph]:
    """The exported attention model with its data under the name that it asks for."""
    file = f"torch213_exp_attn_{kind}.onnx"
    shutil.copy(SHARED / "models" / file, folder / file)
    if (data := EXPORTS[kind]) is not None:
        shutil.copy(SHARED / "models" / f"{file}.data", folder / data)
    return folder / file, load(folder / file)


def normal(graph: Graph, seed: int) -> dict[str, np.ndarray]:
    r = np.random.default_rng(seed)
    return {
        name: r.normal(size=(SAMPLES, *graph.values[name].shape[1:])).astype(np.float32)
        for name in graph.inputs
    }


def sqnr(real: np.ndarray, found: np.ndarray) -> float:
    noise = np.square(real - found).sum()
    return float(10 * np.log10(np.square(real).sum() / noise))


def assert_runs(result: QuantizationResult, folder: Path, most: int) -> None:
    """0 bytes differ on host and virtual M4, and at most `most` instructions are executed."""
    graph = result.graph
    program = build_program(graph, M4.target)
    feeds = {name: quantize(graph.values[name], x[:1]) for name, x in normal(graph, 9).items()}
    want = run(graph, feeds)[graph.outputs[0]]
    np.testing.assert_array_equal(run_host(program, folder, feeds)[0], want)
    [on_m4], instructions = run_m4(program, folder, feeds)
    np.testing.assert_array_equal(on_m4, want)
    assert instructions < most


@needs_shared
@pytest.mark.parametrize("kind", EXPORTS)
def test_exported_model(kind: str, tmp_path: Path) -> None:
    path, graph = model(kind, tmp_path)
    feeds = normal(graph, 1)
    session = onnxruntime.InferenceSession(str(path))
    source = session.get_inputs()[0].name
    real = np.concatenate([
        session.run(None, {source: x[None]})[0] for x in feeds[graph.inputs[0]]
    ])  # fmt: skip
    output = graph.outputs[0]
    np.testing.assert_allclose(run(graph, feeds)[output], real, rtol=1e-4, atol=1e-5)
    result = quantized(graph, normal(graph, 0))
    integers = {n: quantize(result.graph.values[n], x) for n, x in feeds.items()}
    found = run(result.graph, integers)[output]
    assert sqnr(real, dequantize(result.graph.values[output], found)) >= 30
    assert_runs(result, tmp_path, 150_000)


@pytest.mark.parametrize(("bits", "least"), [(8, 30), (16, 50)])
def test_transformer_block(bits: int, least: float, tmp_path: Path) -> None:
    """LayerNorm, attention, GELU and both residual additions."""
    graph = canonicalize(block().graph.verify())
    result = quantized(graph, normal(graph, 0), activation_bits=bits)
    feeds = normal(graph, 1)
    output = graph.outputs[0]
    integers = {n: quantize(result.graph.values[n], x) for n, x in feeds.items()}
    real = run(graph, feeds)[output]
    found = dequantize(result.graph.values[output], run(result.graph, integers)[output])
    assert sqnr(real, found) >= least
    assert_runs(result, tmp_path, 600_000)
