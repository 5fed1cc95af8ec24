"""transpose: a permutation of axes."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.requant import require_same_quant
from edgekit.ops.rules import one_operand


def permutation(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'perm' must be a permutation of the operand's axes."""
    perm = node.attrs.get("perm")
    return isinstance(perm, list | tuple) and sorted(perm) == list(range(len(inputs[0].shape)))


class Transpose(Operator):
    """Axis i of the result is axis perm[i] of the operand."""

    name = "transpose"
    grid = "operand"
    rules = (one_operand, permutation)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(tuple(inputs[0].shape[i] for i in node.attrs["perm"]), inputs[0].dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return bool(node.attrs["perm"][0] == 0)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return np.ascontiguousarray(inputs[0].transpose(node.attrs["perm"]))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        if out.quant is not None:
            require_same_quant(node, values, out)
        return self.reference_float(node, inputs)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        perm = node.attrs["perm"]
        if perm[-1] == len(perm) - 1:
            return operands[0]
        return operands[0].over_all(channels_of(out))


OPERATOR = Transpose()
