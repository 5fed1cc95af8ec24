"""How far the integer network is from the float network, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.data import dequantize, quantize_inputs
from edgekit.graph import Graph
from edgekit.reference import run
from quantizer.calibrate import batches


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to quantization noise ratio in dB; infinite where nothing differs."""
    if noise == 0:
        return float("inf")
    return float(10 * np.log10(signal / noise)) if signal > 0 else float("-inf")


def compare(
    graph: Graph,
    integer: Graph,
    data: dict[str, np.ndarray],
    progress: Callable[[str, float], None] = lambda stage, fraction: None,
) -> dict[str, float]:
    """SQNR in dB of every tensor that both graphs have, over all of the data."""
    names = [*graph.inputs, *(node.output for node in graph.nodes)]
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    count, done = len(next(iter(data.values()))), 0
    for feeds in batches(graph, data):
        want = run(graph, feeds, keep="all")
        have = run(integer, quantize_inputs(integer, feeds), keep="all")
        for name in names:
            real = dequantize(integer.values[name], have[name])
            signal[name] += float(np.sum(np.square(want[name], dtype=np.float64)))
            noise[name] += float(np.sum(np.square(want[name] - real, dtype=np.float64)))
        done += len(next(iter(feeds.values())))
        progress("compare", done / count)
    return {name: sqnr_db(signal[name], noise[name]) for name in names}
