"""How close a network is to its teacher, and how often it is right; in numpy, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgekit.data import prepare, quantize_inputs
from edgekit.graph import Graph, logits_of
from edgekit.ops.convert import dequantize
from edgekit.reference import run
from quantizer import quantize
from quantizer.calibrate import batches

#: Options of `quantizer.quantize` under which the integer network is the one that was trained:
#: its weights are on the grid already, and training has placed the biases.
DEPLOYED: dict[str, Any] = {"rounding": "nearest", "bias_correction": "none"}


def real_scores(graph: Graph, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first output before its softmax, float64 [n, ...], of a float graph."""
    name = logits_of(graph)
    parts = [run(graph, feeds, keep={name})[name] for feeds in batches(graph, dict(arrays))]
    return np.concatenate(parts).astype(np.float64)


def integer_scores(
    graph: Graph,
    arrays: Mapping[str, np.ndarray],
    calibration: Mapping[str, np.ndarray],
    quantization: Mapping[str, Any],
) -> np.ndarray:
    """The same of the integer network that `quantize` makes of a float graph under `DEPLOYED`."""
    integer = quantize(graph, calibration, **{**quantization, **DEPLOYED}).graph
    name = logits_of(graph)
    parts = []
    for feeds in batches(graph, prepare(graph, arrays)):
        raw = run(integer, quantize_inputs(integer, feeds), keep={name})[name]
        parts.append(dequantize(integer.values[name], raw))
    return np.concatenate(parts).astype(np.float64)


def measured(
    have: np.ndarray, want: np.ndarray, labels: np.ndarray | None
) -> dict[str, float | None]:
    """`accuracy` and `agreement` as shares (None without labels, or without classes), `sqnr_db`
    of scores [n, classes] against those of the teacher (None where they are equal)."""
    have, want = have.reshape(len(have), -1), want.reshape(len(want), -1)
    classes = have.shape[1] > 1
    noise = float(np.square(have - want).sum())
    accuracy = float((have.argmax(1) == labels).mean()) if labels is not None and classes else None
    return {
        "accuracy": accuracy,
        "agreement": float((have.argmax(1) == want.argmax(1)).mean()) if classes else None,
        "sqnr_db": float(10 * np.log10(np.square(want).sum() / noise)) if noise else None,
    }
