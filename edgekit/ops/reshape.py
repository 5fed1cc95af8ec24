"""reshape: the same numbers in another shape."""

from __future__ import annotations

import math

import numpy as np

from edgekit.graph import GraphError, Node, Value
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.requant import require_same_quant
from edgekit.ops.rules import one_operand


def static_shape(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'shape' must be positive integers."""
    shape = node.attrs.get("shape")
    return isinstance(shape, list | tuple) and all(isinstance(d, int) and d >= 1 for d in shape)


def as_many_elements(node: Node, inputs: list[Value]) -> bool:
    """The new shape must have as many elements as the operand."""
    return math.prod(node.attrs["shape"]) == inputs[0].size


class Reshape(Operator):
    """The same elements in the same order under another static shape."""

    name = "reshape"
    grid = "operand"
    rules = (one_operand, static_shape, as_many_elements)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(tuple(node.attrs["shape"]), inputs[0].dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, shape = inputs[0], node.attrs["shape"]
        if x.size == math.prod(shape):
            return x.reshape(shape)
        if shape[0] != 1:
            raise GraphError(f"'{node.name or node.op}': {shape} does not keep the batch in front")
        return x.reshape(len(x), *shape[1:])

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        if out.quant is not None:
            require_same_quant(node, values, out)
        return self.reference_float(node, inputs)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        # Element i has channel i mod C before and i mod D after: they meet modulo gcd(C, D).
        after = channels_of(out)
        common = math.gcd(len(operands[0].lo), after)
        lo = operands[0].lo.reshape(-1, common).min(0)
        hi = operands[0].hi.reshape(-1, common).max(0)
        return Interval(np.tile(lo, after // common), np.tile(hi, after // common))


OPERATOR = Reshape()
