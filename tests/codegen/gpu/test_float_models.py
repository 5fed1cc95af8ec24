"""The float models of MLPerf Tiny on a GPU: float32 exactly as on the CPU, half within a bound."""

from __future__ import annotations

import numpy as np
import pytest
from gpu_device import device
from gpu_program import HALF_TOLERANCE, Run
from graphs import batch
from shared import SHARED, needs_shared

from edgekit import importers, reference
from edgekit.floating import left_in_float
from edgekit.graph import Graph
from samples import digits


def float_graph(name: str, precision: str) -> Graph:
    path = SHARED / "models" / f"mlperf_tiny_{name}_float32.onnx"
    return left_in_float(importers.load(path), precision)


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize("name, precision", [("kws", "fp32"), ("sww", "fp32"), ("ad01", "fp16")])
def test_models(name: str, precision: str) -> None:
    check(float_graph(name, precision))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_digits(precision: str) -> None:
    check(left_in_float(importers.load(digits.MODEL), precision))


def check(graph: Graph) -> None:
    """Every variant of every layer, and the whole model."""
    run = Run(graph, device())
    feeds = batch(graph, 1, n=1)
    assert all(run.all_variants(feeds).values()), [layer.why_not for layer in run.gpu.layers]
    want = reference.run(graph, feeds)
    for name_, found in zip(graph.outputs, run.outputs(feeds), strict=True):
        if graph.metadata["precision"] == "fp32":
            np.testing.assert_array_equal(found, want[name_])
        else:
            most = 2 * HALF_TOLERANCE * float(np.abs(want[name_]).max())
            np.testing.assert_allclose(found, want[name_], rtol=0, atol=most)
