"""Integer networks over time, to be streamed, and samples for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.graph import Graph, Quant
from edgekit.importers.common import Builder
from edgekit.passes import canonicalize

GRID = Quant.make(0.05, -3)


class Net(Builder):
    """Integer networks over [1, T, F, C], layer by layer."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        super().__init__("net")
        self.random = np.random.default_rng(seed)
        self.add_input("x", shape, "int8", GRID)
        self.at = "x"

    def conv(self, channels: int, kernel: tuple[int, int], **attrs: Any) -> Net:
        depth = self.value(self.at).shape[3]
        w = self.random.integers(-90, 91, (channels, *kernel, depth)).astype(np.int8)
        return self._weighted("conv2d", w, channels, 0, {"groups": 1, **attrs})

    def depthwise(self, kernel: tuple[int, int], **attrs: Any) -> Net:
        depth = self.value(self.at).shape[3]
        w = self.random.integers(-90, 91, (*kernel, depth)).astype(np.int8)
        return self._weighted("depthwise_conv2d", w, depth, 2, attrs)

    def _weighted(self, op: str, w: np.ndarray, out: int, axis: int, attrs: dict) -> Net:
        scale = np.full(out, 0.01, np.float32)
        weights = self.constant(f"{self.at}:w", w, Quant.make(scale, 0, axis))
        bias = self.random.integers(-500, 501, out).astype(np.int32)
        biases = self.constant(f"{self.at}:b", bias, Quant.make(scale * GRID.scale, 0, 0))
        attrs = {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], **attrs}
        node = f"{op}{len(self.graph.nodes)}"
        self.at = self.emit(op, [self.at, weights, biases], attrs, node=node, quant=GRID)
        return self

    def op(self, op: str, *others: str, quant: Quant | None = None, **attrs: Any) -> Net:
        node = f"{op}{len(self.graph.nodes)}"
        self.at = self.emit(op, [self.at, *others], attrs, node=node, quant=quant or GRID)
        return self

    def dense(self, out: int) -> Net:
        size = self.value(self.at).size
        self.at = self.reshape(self.at, (1, size), node="flat")
        w = self.random.integers(-90, 91, (out, size)).astype(np.int8)
        return self._weighted("fully_connected", w, out, 0, {})

    def done(self) -> Graph:
        self.graph.outputs = [self.at]
        return canonicalize(self.graph)


def recording(graph: Graph, steps: int, axis: int = 1) -> np.ndarray:
    shape = list(graph.values["x"].shape[1:])
    shape[axis - 1] = steps
    return np.random.default_rng(7).integers(-128, 128, shape).astype(np.int8)


def hops(x: np.ndarray, steps: int, axis: int = 1) -> np.ndarray:
    """[n, hop, ...] from a whole recording."""
    return np.stack(np.split(x, x.shape[axis - 1] // steps, axis - 1))
