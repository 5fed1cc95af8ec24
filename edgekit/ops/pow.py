"""pow: a tensor to the power of another one."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import Inferred, result_dtype
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape


class Pow(Broadcasting):
    """First tensor to the power of the second one, with numpy broadcasting."""

    name = "pow"
    converts = True
    rules = (rules.two_operands, rules.activations, rules.broadcast)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), result_dtype(node, inputs[0]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.power(inputs[0].astype(np.float64), inputs[1]).astype(np.float32)


OPERATOR = Pow()
