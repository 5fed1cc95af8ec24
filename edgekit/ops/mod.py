"""mod: the remainder of a division."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import Inferred, result_dtype
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape


class Mod(Broadcasting):
    """Remainder with the divisor's sign, or with the dividend's (attribute fmod)."""

    name = "mod"
    converts = True
    rules = (rules.two_operands, rules.activations, rules.broadcast)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), result_dtype(node, inputs[0]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            remainder = np.fmod if node.attrs.get("fmod") else np.mod
            return remainder(inputs[0], inputs[1]).astype(np.float32)


OPERATOR = Mod()
