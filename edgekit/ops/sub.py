"""sub: the difference of two tensors."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import Inferred, clamp_float, result_dtype
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape


class Sub(Broadcasting):
    """Difference of two tensors with numpy broadcasting and a fused clamp."""

    name = "sub"
    converts = True
    rules = (rules.two_operands, rules.activations, rules.broadcast)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), result_dtype(node, inputs[0]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return clamp_float(node, inputs[0] - inputs[1])


OPERATOR = Sub()
