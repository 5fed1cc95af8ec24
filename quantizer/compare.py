"""How far the integer network is from the float network, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.data import quantize_inputs
from edgekit.graph import Graph
from edgekit.ops.convert import dequantize
from edgekit.reference import steps
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
    """SQNR in dB of every tensor that both graphs have, over all of the data.

    The graphs have the same nodes in the same order.
    """
    names = [*graph.inputs, *(node.output for node in graph.nodes)]
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    count, done = len(next(iter(data.values()))), 0

    def add(name: str, want: np.ndarray, have: np.ndarray) -> None:
        real = dequantize(integer.values[name], have)
        signal[name] += float(np.sum(np.square(want, dtype=np.float64)))
        noise[name] += float(np.sum(np.square(want - real, dtype=np.float64)))

    for feeds in batches(graph, data):
        raw = quantize_inputs(integer, feeds)
        for name in graph.inputs:
            add(name, feeds[name], raw[name])
        # Side by side, so that neither network's tensors are all held at once.
        pairs = zip(steps(graph, feeds), steps(integer, raw), strict=True)
        for (node, _, want), (_, _, have) in pairs:
            add(node.output, want, have)
        done += len(next(iter(feeds.values())))
        progress("compare", done / count)
    return {name: sqnr_db(signal[name], noise[name]) for name in names}
