"""gather: slices of a tensor that indices name."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.movement import MAX_RANK, MOVABLE, Movement, axis_of
from edgekit.ops.rules import axis_exists


def data_and_indices(node: Node, inputs: list[Value]) -> bool:
    """The operands are data of any dtype and int32 indices; the result has at most 8 axes."""
    return (
        len(inputs) == 2
        and inputs[0].dtype in MOVABLE
        and inputs[1].dtype == "int32"
        and len(inputs[0].shape) + len(inputs[1].shape) <= MAX_RANK + 1
    )


def shared_axes(node: Node, inputs: list[Value]) -> bool:
    """The first 'batch_dims' axes are the same in both operands and lie before 'axis'."""
    b = batch_dims(node)
    x, indices = (v.shape for v in inputs)
    return 0 <= b <= min(axis_of(node), len(indices)) and x[:b] == indices[:b]


def batch_dims(node: Node) -> int:
    return int(node.attrs.get("batch_dims", 0))


def inside(indices: np.ndarray, size: int) -> np.ndarray:
    """Indices as int64 in [0, size): negative ones count from the end, the rest is clamped."""
    wide = indices.astype(np.int64)
    return np.clip(np.where(wide < 0, wide + size, wide), 0, size - 1)


class Gather(Movement):
    """Slices of x along 'axis' in the order of int32 indices, which may be computed."""

    name = "gather"
    rules = (data_and_indices, axis_exists, shared_axes)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, indices = inputs
        axis, b = axis_of(node), batch_dims(node)
        return [((*x.shape[:axis], *indices.shape[b:], *x.shape[axis + 1 :]), x.dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        x, indices = (v.shape for v in values)
        if batch_dims(node):
            return True
        if axis_of(node) == 0:  # A table of rows: a leading 1 could be the batch.
            return x[0] != 1
        return not indices or indices[0] != 1

    def move(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, indices = inputs
        axis, b = axis_of(node), batch_dims(node)
        at = inside(indices, x.shape[axis])
        if not b:
            return np.take(x, at, axis=axis)
        n = max(len(x), len(at))
        x, at = (np.broadcast_to(v, (n, *v.shape[1:])) for v in (x, at))
        rows = x.reshape(-1, *x.shape[b:])
        places = at.reshape(-1, *at.shape[b:])
        found = [np.take(r, p, axis=axis - b) for r, p in zip(rows, places, strict=True)]
        return np.stack(found).reshape(*x.shape[:b], *found[0].shape)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        if axis_of(node) == len(values[0].shape) - 1:
            return operands[0].over_all(channels_of(out))
        return operands[0]


OPERATOR = Gather()
