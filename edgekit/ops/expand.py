"""expand: a tensor repeated along axes of length 1."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.movement import MAX_RANK, Movement, integers, movable
from edgekit.ops.rules import one_operand


def broadcasts(node: Node, inputs: list[Value]) -> bool:
    """The operand broadcasts to 'shape', which has at most 8 positive integers, as in numpy."""
    shape = node.attrs.get("shape")
    if not integers(shape) or len(shape or ()) > MAX_RANK or min(shape or (1,)) < 1:
        return False
    try:
        return np.broadcast_shapes(inputs[0].shape, tuple(shape or ())) == tuple(shape or ())
    except ValueError:
        return False


class Expand(Movement):
    """Repeats along axes of length 1, or new axes in front, up to 'shape'."""

    name = "expand"
    rules = (one_operand, movable, broadcasts)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(tuple(node.attrs["shape"]), inputs[0].dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        shape = node.attrs["shape"]
        return len(shape) == len(values[0].shape) and shape[0] == 1

    def move(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, shape = inputs[0], tuple(node.attrs["shape"])
        if x.ndim == len(shape) and x.ndim and shape[0] == 1:
            shape = (len(x), *shape[1:])
        return np.broadcast_to(x, shape)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        if len(operands[0].lo) == channels_of(out):
            return operands[0]
        return operands[0].over_all(channels_of(out))


OPERATOR = Expand()
