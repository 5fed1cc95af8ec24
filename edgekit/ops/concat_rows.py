"""concat_rows: tensors one behind the other, each made in its place."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.concat import OPERATOR as CONCAT
from edgekit.ops.concat import Concat
from edgekit.ops.movement import axis_of
from edgekit.ops.requant import require_same_quant


def in_front(node: Node, inputs: list[Value]) -> bool:
    """All axes before 'axis' have length 1: the parts lie one behind the other."""
    return all(d == 1 for d in inputs[0].shape[: axis_of(node)])


class ConcatRows(Concat):
    """A concat of blocks of memory; made by the compiler, no copy on a device."""

    name = "concat_rows"
    internal = True
    rules = (*CONCAT.rules, in_front)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        for value in values:
            require_same_quant(node, [value], out)
        return self.reference_float(node, inputs)


OPERATOR = ConcatRows()
