"""The float network with results that do not depend on who adds up its products.

Sums in float32 differ in their last bit between BLAS builds, processors and numbers of threads, and
what is decided by comparing them (ranges, GPTQ's rounding) then differs visibly. Here products are
summed in float64 and results rounded to float32: for those to differ, a sum has to lie within about
1e-16 of the middle of two float32 numbers.
"""

from __future__ import annotations

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.ops import operator
from edgekit.ops.base import run_node

#: Operators whose products a BLAS sums up, and which of their operands are weights.
MATRIX_PRODUCTS = {
    "conv2d": (1,), "fully_connected": (1,), "lstm": (3, 4), "gru": (2, 3), "rnn": (2, 3),
    "svdf": (2,),
}  # fmt: skip


def evaluate(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """`edgekit.ops.base.run_node` for a float graph; float32 in and out."""
    return [
        y.astype(np.float32, copy=False) if y.dtype.kind == "f" else y
        for y in run_node(graph, node, _widened(node, inputs))
    ]


def reference_float(node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    """The operator's `reference_float`; float32 in and out."""
    out = operator(node.op).reference_float(node, _widened(node, inputs))
    return out.astype(np.float32, copy=False)


def _widened(node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The operands with float64 weights, which make numpy multiply in float64."""
    wide = MATRIX_PRODUCTS.get(node.op, ())
    return [x.astype(np.float64) if i in wide else x for i, x in enumerate(inputs)]
