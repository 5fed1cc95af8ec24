"""Accuracy bars on real models: the integer reference against the float network."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from pace import thinned
from shared import SHARED, needs_shared

from edgekit import data
from edgekit.graph import logits_of
from edgekit.ops import convert
from edgekit.reference import run
from quantizer import quantize

#: Evaluated by `make test-slow` only.
LARGE = ("vww96", "resnet8")


def evaluate(model: str, limit: int, **options: Any) -> dict[str, Any]:
    """Float and integer predictions on the evaluation set, and the SQNR of the logits there."""
    from edgekit.importers import load

    graph = load(SHARED / "models" / f"mlperf_tiny_{model}_float32.onnx")
    calibration = data.load(SHARED / "data" / f"{model}_calibration.npz", graph)
    samples = data.load(SHARED / "data" / f"{model}_eval.npz", graph)
    started = time.process_time()
    result = quantize(graph, calibration.arrays, **options)
    seconds = time.process_time() - started
    name = logits_of(graph)
    real, whole = [], []
    for i in range(0, min(limit, samples.count), 100):
        feeds = {k: v[i : i + 100] for k, v in samples.arrays.items()}
        floats = {k: v.astype(np.float32) for k, v in feeds.items()}
        real.append(run(graph, floats, keep={name})[name])
        raw = run(result.graph, data.quantize_inputs(result.graph, feeds), keep={name})[name]
        whole.append(convert.dequantize(result.graph.values[name], raw))
    f, q = np.concatenate(real).astype(np.float64), np.concatenate(whole).astype(np.float64)
    labels = None if samples.labels is None else samples.labels[: len(f)]
    return {
        "seconds": seconds,
        "sqnr": 10 * np.log10((f**2).sum() / ((f - q) ** 2).sum()),
        "agreement": (f.argmax(1) == q.argmax(1)).mean(),
        "float": None if labels is None else (f.argmax(1) == labels).mean(),
        "int8": None if labels is None else (q.argmax(1) == labels).mean(),
    }


@needs_shared
@pytest.mark.parametrize(
    ("model", "limit", "sqnr", "agreement"),
    thinned(
        [
            ("kws", 436, 32.5, 0.99),
            ("vww96", 159, 22.0, 0.985),
            ("resnet8", 500, 30.5, 0.965),
            ("ad01", 66, 42.0, None),
            ("sww", 12, 34.0, 1.0),
        ],
        lambda case: case[0] not in LARGE,
    ),
)
def test_bars(model: str, limit: int, sqnr: float, agreement: float | None) -> None:
    got = evaluate(model, limit)
    assert got["seconds"] < 60
    assert got["sqnr"] > sqnr
    if agreement is not None:
        assert got["agreement"] >= agreement
    if model == "kws":
        assert abs(got["float"] - got["int8"]) <= 0.005


@needs_shared
@pytest.mark.parametrize(
    ("model", "limit", "points", "agreement"),
    thinned(
        [("kws", 436, 1.0, 0.97), ("vww96", 159, 2.0, 0.95), ("resnet8", 500, 2.5, 0.92)],
        lambda case: case[0] not in LARGE,
    ),
)
def test_four_bit_weights(model: str, limit: int, points: float, agreement: float) -> None:
    """Points of accuracy that int4 weights may lose (nearest elsewhere: 4 to 33). Quantization is
    deterministic, so that 159 photos of 0.63 points each can be judged."""
    got = evaluate(model, limit, weight_bits=4)
    assert got["seconds"] < 60
    assert got["agreement"] >= agreement
    assert 100 * (got["float"] - got["int8"]) <= points
