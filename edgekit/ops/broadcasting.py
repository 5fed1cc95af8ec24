"""What element by element operators share: operands that broadcast as in numpy."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Shape, Value
from edgekit.ops.base import Operator


def broadcast_shape(inputs: list[Value]) -> Shape:
    """The common shape of operands that broadcast."""
    return tuple(int(d) for d in np.broadcast_shapes(*(v.shape for v in inputs)))


class Broadcasting(Operator):
    """An operator whose result has the common shape of all operands."""

    def batched(self, node: Node, values: list[Value]) -> bool:
        """Samples go together where the leading axis of no operand meets another axis.

        An operand of lower rank may be an activation whose leading axis of 1 is the batch; in front
        of another operand's second axis it would not broadcast.
        """
        rank = max(len(v.shape) for v in values)
        return all(len(v.shape) == rank or v.shape[:1] != (1,) for v in values)
