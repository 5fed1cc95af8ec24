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


class Errors:
    """Signal and noise of every tensor, summed over what was added."""

    def __init__(self, integer: Graph) -> None:
        self.integer = integer
        self.sums: dict[str, list[float]] = {}

    def add(self, name: str, want: np.ndarray, have: np.ndarray) -> None:
        """A float tensor, and its integers (or reals) in the integer network; others are not
        compared: indices and truth values."""
        if want.dtype.kind != "f":
            return
        real = dequantize(self.integer.values[name], have)
        sums = self.sums.setdefault(name, [0.0, 0.0])
        sums[0] += float(np.sum(np.square(want, dtype=np.float64)))
        sums[1] += float(np.sum(np.square(want - real, dtype=np.float64)))

    def sqnr_db(self) -> dict[str, float]:
        return {name: sqnr_db(*sums) for name, sums in self.sums.items()}


def compare(
    graph: Graph,
    integer: Graph,
    data: dict[str, np.ndarray],
    progress: Callable[[str, float], None] = lambda stage, fraction: None,
) -> dict[str, float]:
    """SQNR in dB of every tensor that both graphs have, over all of the data.

    The graphs have the same nodes in the same order.
    """
    errors = Errors(integer)
    count, done = len(next(iter(data.values()))), 0
    for feeds in batches(graph, data):
        raw = quantize_inputs(integer, feeds)
        for name in graph.inputs:
            errors.add(name, feeds[name], raw[name])
        # Side by side, so that neither network's tensors are all held at once.
        pairs = zip(steps(graph, feeds), steps(integer, raw), strict=True)
        for (node, _, want), (_, _, have) in pairs:
            for name, left, right in zip(node.outputs, want, have, strict=True):
                errors.add(name, left, right)
        done += len(next(iter(feeds.values())))
        progress("compare", done / count)
    return errors.sqnr_db()
