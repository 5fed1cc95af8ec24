"""prelu: negative elements times a slope."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import Inferred, result_dtype
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape


class PRelu(Broadcasting):
    """x where x >= 0, else slope x x; the slope broadcasts as in numpy."""

    name = "prelu"
    converts = True
    rules = (rules.two_operands, rules.activations, rules.broadcast)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), result_dtype(node, inputs[0]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, slope = inputs
        return np.where(x < 0, slope * x, x).astype(np.float32)


OPERATOR = PRelu()
