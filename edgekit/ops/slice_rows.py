"""slice_rows: a part of a tensor, a view of the same bytes."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred
from edgekit.ops.interval import Interval
from edgekit.ops.movement import Movement, axis_of
from edgekit.ops.rules import axis_exists, one_operand


def inside(node: Node, inputs: list[Value]) -> bool:
    """'rows' are the first and the end of a part of the axis that is not empty."""
    begin, end = node.attrs["rows"]
    return 0 <= begin < end <= inputs[0].shape[axis_of(node)]


def in_front(node: Node, inputs: list[Value]) -> bool:
    """All axes before 'axis' have length 1: the part is one block of memory."""
    return all(d == 1 for d in inputs[0].shape[: axis_of(node)])


class SliceRows(Movement):
    """Elements [begin, end) along 'axis', a block of memory; made by the compiler, no copy."""

    name = "slice_rows"
    internal = True
    rules = (one_operand, axis_exists, inside, in_front)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        (begin, end), axis, shape = node.attrs["rows"], axis_of(node), list(inputs[0].shape)
        shape[axis] = end - begin
        return [(tuple(shape), inputs[0].dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return axis_of(node) != 0

    def move(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        begin, end = node.attrs["rows"]
        return inputs[0][(*[slice(None)] * axis_of(node), slice(begin, end))]

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        begin, end = node.attrs["rows"]
        if axis_of(node) < len(out.shape) - 1:
            return operands[0]
        return Interval(operands[0].lo[begin:end], operands[0].hi[begin:end])


OPERATOR = SliceRows()
