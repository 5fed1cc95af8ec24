"""gather_nd: slices of a tensor that tuples of indices name."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred
from edgekit.ops.gather import batch_dims, data_and_indices, inside
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.movement import Movement


def tuples_fit(node: Node, inputs: list[Value]) -> bool:
    """The last axis of the indices has at most as many numbers as x has axes behind 'batch_dims',
    and the first 'batch_dims' axes of both operands are the same."""
    x, indices = (v.shape for v in inputs)
    b = batch_dims(node)
    return (
        0 <= b < max(len(indices), 1)
        and len(indices) > 0
        and indices[-1] <= len(x) - b
        and x[:b] == indices[:b]
    )


class GatherNd(Movement):
    """Slices of x that tuples in the last axis of int32 indices name."""

    name = "gather_nd"
    rules = (data_and_indices, tuples_fit)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, indices = (v.shape for v in inputs)
        return [((*indices[:-1], *x[batch_dims(node) + indices[-1] :]), inputs[0].dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        # Without shared axes a leading 1 of x could be the batch, which indices must not name.
        return batch_dims(node) > 0 or values[0].shape[0] != 1

    def move(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, indices = inputs
        b, depth = batch_dims(node), indices.shape[-1]
        if b:
            n = max(len(x), len(indices))
            x, indices = (np.broadcast_to(v, (n, *v.shape[1:])) for v in (x, indices))
        shared = np.ogrid[tuple(slice(size) for size in x.shape[:b])] if b else ()
        widened = [s.reshape(*s.shape, *[1] * (indices.ndim - 1 - b)) for s in shared]
        named = [inside(indices[..., i], x.shape[b + i]) for i in range(depth)]
        if not widened and not named:
            return np.broadcast_to(x, (*indices.shape[:-1], *x.shape))
        at = np.broadcast_arrays(*widened, *named)
        return np.asarray(x[tuple(at)]).reshape(*indices.shape[:-1], *x.shape[b + depth :])

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        x, indices = (v.shape for v in values)
        if batch_dims(node) + indices[-1] == len(x):
            return operands[0].over_all(channels_of(out))
        return operands[0]


OPERATOR = GatherNd()
