"""The digits sample through import, quantization and the integer reference."""

from __future__ import annotations

import numpy as np
from tflm import run_graph

from edgekit import data
from edgekit.importers import load
from edgekit.reference import run
from quantizer import quantize
from samples.digits import CALIBRATION, EVALUATION, MODEL


def test_accuracy_and_bytes() -> None:
    graph = load(MODEL)
    samples = data.load(EVALUATION, graph)
    assert samples.labels is not None and samples.count == 500
    result = quantize(graph, data.load(CALIBRATION, graph).arrays)
    feeds = data.quantize_inputs(result.graph, samples.arrays)
    floats = {k: v.astype(np.float32) for k, v in samples.arrays.items()}
    real = run(graph, floats)[graph.outputs[0]].argmax(axis=1)
    output = run(result.graph, feeds)[result.graph.outputs[0]]
    assert (real == samples.labels).mean() >= 0.97
    assert (output.argmax(axis=1) == samples.labels).mean() >= 0.97
    assert (output.argmax(axis=1) == real).mean() >= 0.99
    few = {k: v[:32] for k, v in feeds.items()}
    np.testing.assert_array_equal(output[:32], run_graph(result.graph, few))


def test_splits_are_disjoint() -> None:
    rows = [np.load(p)["image"].reshape(-1, 64) for p in (CALIBRATION, EVALUATION)]
    seen = {r.tobytes() for r in rows[0]}
    assert not any(r.tobytes() in seen for r in rows[1])
