"""Ranges of tensors that only average pooling reads.

An average pool keeps its operand's scale (TFLite's rule), so its result, which is much narrower,
would have few integers left under the operand's own best range. What counts is the error behind
the pool: rounding errors of single pixels average out there, the rounding of the mean and the
clipping of many pixels do not.
"""

from __future__ import annotations

import numpy as np

from edgekit.graph import Graph, Node, Value
from edgekit.ops import operator
from edgekit.ops.convert import dequantize, quantize
from quantizer.ranges import activation_quant, with_zero

#: Elements of each such tensor that are kept: 4 MB of float32.
KEPT_ELEMENTS = 1 << 20
FRACTIONS = np.linspace(0.2, 1.0, 41)


class PoolInputs:
    """Keeps samples of the tensors that only average pools read."""

    def __init__(self, graph: Graph, count: int) -> None:
        self.pools: dict[str, Node] = {}
        self.kept: dict[str, list[np.ndarray]] = {}
        self._step: dict[str, int] = {}
        for node in graph.nodes:
            readers = graph.consumers(node.output)
            if readers and all(r.op == "average_pool2d" for r in readers):
                self.pools[node.output] = readers[0]
                self.kept[node.output] = []
                total = graph.values[node.output].size * count
                self._step[node.output] = -(-total // KEPT_ELEMENTS)

    def see(self, name: str, x: np.ndarray) -> None:
        if name in self.pools:
            self.kept[name].append(x[:: self._step[name]])

    def range_of(self, name: str, lo: float, hi: float) -> tuple[float, float]:
        """The fraction of the observed range with the least squared error behind the pool."""
        x = np.concatenate(self.kept[name])
        lo, hi = with_zero(lo, hi)
        candidates = [(lo * f, hi * f) for f in FRACTIONS]
        return min(candidates, key=lambda r: self._error(self.pools[name], x, *r))

    @staticmethod
    def _error(node: Node, x: np.ndarray, lo: float, hi: float) -> float:
        pool = operator(node.op)
        value = Value("x", (1, *x.shape[1:]), "int8", activation_quant(*with_zero(lo, hi)))
        want = pool.reference_float(node, [x])
        have = pool.reference_int(node, [quantize(value, x)], [value], value)
        return float(np.sum(np.square(want - dequantize(value, have), dtype=np.float64)))
