"""Float forms of random one-operator integer graphs, and inputs for float graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Value


def float_twin(graph: Graph, seed: int = 0) -> Graph:
    """A one-operator integer graph as a float graph with small random constants."""
    rng = np.random.default_rng(seed)
    out = graph.copy()
    out.values = {n: Value(n, v.shape) for n, v in graph.values.items()}
    out.constants = {
        n: rng.normal(0, 0.5, x.shape).astype(np.float32) for n, x in graph.constants.items()
    }
    out.nodes = [
        replace(n, attrs={k: v for k, v in n.attrs.items() if k != "weight_bits"})
        for n in graph.nodes
    ]
    return out.verify()


def feeds_of(graph: Graph, n: int = 3, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 2, (n, *graph.values[name].shape[1:])).astype(np.float32)
        for name in graph.inputs
    }
