"""A network beside the original float network, on the same samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgekit import data
from edgekit.graph import Graph, logits_of
from edgekit.ops import convert
from edgekit.reference import run

#: Samples per call of the numpy reference.
BATCH = 32


@dataclass(frozen=True)
class Quality:
    """How a network does on the samples.

    Shares are 0 to 1; `accuracy` is None without labels, `agreement` (top 1, with the original
    float network) where the output is no class. SQNR is that of the logits against the original
    float network.
    """

    accuracy: float | None
    agreement: float | None
    sqnr_db: float


class Judge:
    """Compares networks with the original float network on the same samples."""

    def __init__(self, graph: Graph, samples: data.Samples) -> None:
        self.samples = samples
        self.name = logits_of(graph)
        last = graph.producer(graph.outputs[0])
        self.classes = samples.labels is not None or (last is not None and last.op == "softmax")
        self.original = graph

    @cached_property
    def want(self) -> np.ndarray:
        """The original's logits; it runs when they are first needed."""
        return self._run(self.original)

    def _run(self, graph: Graph) -> np.ndarray:
        """Real values of the logits, [count, ...] flattened, float64."""
        parts = []
        name = logits_of(graph)
        # Samples of a graph with states are one sequence.
        batch = self.samples.count if graph.states else BATCH
        for i in range(0, self.samples.count, batch):
            feeds = {k: v[i : i + batch] for k, v in self.samples.arrays.items()}
            found = run(graph, data.quantize_inputs(graph, feeds), keep={name})[name]
            parts.append(convert.dequantize(graph.values[name], found))
        return np.concatenate(parts).reshape(self.samples.count, -1).astype(np.float64)

    def quality(self, graph: Graph) -> Quality:
        """Of `graph`, which has the inputs and outputs of the original."""
        have = self._run(graph)
        noise = float(((self.want - have) ** 2).sum())
        signal = float((self.want**2).sum())
        sqnr = float("inf") if noise == 0 else 10 * math.log10(max(signal, 1e-300) / noise)
        accuracy = agreement = None
        if self.classes and have.shape[1] > 1:
            agreement = float((have.argmax(1) == self.want.argmax(1)).mean())
            if self.samples.labels is not None:
                accuracy = float((have.argmax(1) == self.samples.labels).mean())
        return Quality(accuracy, agreement, sqnr)
