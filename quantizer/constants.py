"""Integer constants of operators that have weights of their own kind, by operator.

Convolutions and fully connected layers are in `quantizer.ptq`. The constants of any other operator
are quantized as activations are, unless a function here is registered for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.graph import Graph, Node, Quant


@dataclass(frozen=True)
class Context:
    """What a node's constants are quantized from and for.

    `graph` is the float graph, `out` the integer graph that is being built (add constants to it),
    `quants` and `dtypes` the activations' by name, `ranges` the extremes (lo, hi) of the inner
    quantities that `Operator.inner_ranges` named during calibration.
    """

    graph: Graph
    out: Graph
    quants: Mapping[str, Quant]
    dtypes: Mapping[str, str]
    ranges: Mapping[str, tuple[float, float]]

    def constant(self, name: str) -> np.ndarray:
        return self.graph.constants[name]


#: A float node to the integer one, its constants added to `Context.out`.
Quantizer = Callable[[Node, Context], Node]
QUANTIZERS: dict[str, Quantizer] = {}


def quantizes(*ops: str) -> Callable[[Quantizer], Quantizer]:
    """Register a function for these operators."""

    def register(function: Quantizer) -> Quantizer:
        QUANTIZERS.update(dict.fromkeys(ops, function))
        return function

    return register
