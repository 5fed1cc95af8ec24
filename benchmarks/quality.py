"""How good a quantized model is on held-out data: what the accuracy benchmarks share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.models import Model
from edgekit import data, importers
from edgekit.data import Samples
from edgekit.graph import Graph, logits_of
from edgekit.ops import convert
from edgekit.reference import run

BATCH = 50


@dataclass(frozen=True)
class Case:
    """A float model, its calibration data, its evaluation samples and its logits on those,
    float64 [count, classes]."""

    model: Model
    graph: Graph
    calibration: dict[str, np.ndarray]
    samples: Samples
    real: np.ndarray


@dataclass(frozen=True)
class Quality:
    """Against the float model on `samples` samples; shares are 0 to 1, None without labels."""

    samples: int
    sqnr_db: float
    agreement: float | None
    accuracy: float | None
    accuracy_float: float | None


def case_of(model: Model) -> Case:
    graph = importers.load(model.path)
    assert model.calibration is not None
    samples = data.load(model.evaluation, graph)
    real = float_logits(graph, samples)
    return Case(model, graph, data.load(model.calibration, graph).arrays, samples, real)


def batches(samples: Samples) -> Iterator[dict[str, np.ndarray]]:
    for i in range(0, samples.count, BATCH):
        yield {name: a[i : i + BATCH] for name, a in samples.arrays.items()}


def float_logits(graph: Graph, samples: Samples) -> np.ndarray:
    """float64 [count, classes]."""
    name = logits_of(graph)
    parts = [
        run(graph, {k: v.astype(np.float32) for k, v in x.items()}, keep={name})[name]
        for x in batches(samples)
    ]
    return np.concatenate(parts).reshape(samples.count, -1).astype(np.float64)


def integer_logits(graph: Graph, samples: Samples) -> np.ndarray:
    """Real values of the logits of an integer graph, float64 [count, classes]."""
    name = logits_of(graph)
    parts = [
        convert.dequantize(
            graph.values[name], run(graph, data.quantize_inputs(graph, x), keep={name})[name]
        )
        for x in batches(samples)
    ]
    return np.concatenate(parts).reshape(samples.count, -1).astype(np.float64)


def judge(case: Case, have: np.ndarray) -> Quality:
    """`have` are a quantized model's logits, real values [count, classes]."""
    real, labels, n = case.real, case.samples.labels, case.samples.count
    sqnr = float(10 * np.log10((real**2).sum() / ((real - have) ** 2).sum()))
    if labels is None:
        return Quality(n, sqnr, None, None, None)
    named = have.argmax(1)
    return Quality(
        n,
        sqnr,
        float((real.argmax(1) == named).mean()),
        float((named == labels).mean()),
        float((real.argmax(1) == labels).mean()),
    )


def half_width(share: float, count: int) -> float:
    """Half the width of the 95 % interval of a share (Wilson's, which is not 0 at 0 and 1)."""
    z = 1.96
    inner = share * (1 - share) / count + z * z / (4 * count * count)
    return z / (1 + z * z / count) * math.sqrt(inner)


def interval(share: float | None, count: int) -> str:
    """A share in percent with the half width of its 95 % interval."""
    if share is None:
        return ""
    return f"{100 * share:.2f} ± {100 * half_width(share, count):.1f}"
