"""tile: a tensor several times behind itself."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred
from edgekit.ops.interval import Interval
from edgekit.ops.movement import Movement, integers, movable
from edgekit.ops.rules import one_operand


def full_rank(node: Node, inputs: list[Value]) -> bool:
    """'repeats' has one positive integer for each axis."""
    repeats = node.attrs.get("repeats")
    return (
        integers(repeats)
        and len(repeats or ()) == len(inputs[0].shape)
        and min(repeats or (1,)) >= 1
    )


class Tile(Movement):
    """The tensor repeated as a whole, repeats[i] times along axis i."""

    name = "tile"
    rules = (one_operand, movable, full_rank)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x = inputs[0]
        pairs = zip(x.shape, node.attrs["repeats"], strict=True)
        return [(tuple(size * times for size, times in pairs), x.dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return bool(node.attrs["repeats"][0] == 1)

    def move(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return np.tile(inputs[0], node.attrs["repeats"])

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        times = node.attrs["repeats"][-1] if out.shape else 1
        return Interval(np.tile(operands[0].lo, times), np.tile(operands[0].hi, times))


OPERATOR = Tile()
