"""slice: every n-th element between two places, axis by axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.graph import Node, Shape, Value
from edgekit.ops.base import Inferred
from edgekit.ops.interval import Interval
from edgekit.ops.movement import Movement, integers, movable
from edgekit.ops.rules import one_operand


def full_rank(node: Node, inputs: list[Value]) -> bool:
    """'starts', 'stops' and 'steps' have one integer for each axis, and no step is 0.

    A stop of None is the end of the axis that the step goes to.
    """
    rank = len(inputs[0].shape)
    starts, stops, steps = (node.attrs.get(k) for k in ("starts", "stops", "steps"))
    return (
        integers(starts)
        and integers(steps)
        and isinstance(stops, list | tuple)
        and integers([i for i in stops if i is not None])
        and len(starts or ()) == len(stops) == len(steps or ()) == rank
        and all(steps or ())
    )


def within(node: Node, inputs: list[Value]) -> bool:
    """Starts and stops lie in the operand, counted from 0, and leave at least one element."""
    for size, s in zip(inputs[0].shape, slices_of(node), strict=True):
        inside = 0 <= s.start < size and (s.stop is None or 0 <= s.stop <= size)
        if not inside or not len(range(*s.indices(size))):
            return False
    return True


def slices_of(node: Node) -> list[slice]:
    a: dict[str, Any] = node.attrs
    return [slice(*s) for s in zip(a["starts"], a["stops"], a["steps"], strict=True)]


def sliced_shape(node: Node, shape: Shape) -> Shape:
    return tuple(
        len(range(*s.indices(size))) for size, s in zip(shape, slices_of(node), strict=True)
    )


class Slice(Movement):
    """Elements start, start + step, ... before stop of every axis; steps may be negative."""

    name = "slice"
    rules = (one_operand, movable, full_rank, within)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(sliced_shape(node, inputs[0].shape), inputs[0].dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        # 0:1 is no slice of one sample, but cuts a batch.
        return slices_of(node)[0] == slice(0, None, 1)

    def move(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return inputs[0][tuple(slices_of(node))]

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        if not values[0].shape:
            return operands[0]
        last = slices_of(node)[-1]
        return Interval(operands[0].lo[last], operands[0].hi[last])


OPERATOR = Slice()
