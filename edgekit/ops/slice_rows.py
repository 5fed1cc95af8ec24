"""slice_rows: some rows of an image, a view of the same bytes."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator, require
from edgekit.ops.requant import require_same_quant


class SliceRows(Operator):
    """Rows [begin, end) of x [1, H, W, C]; made by the compiler, no copy on a device."""

    name = "slice_rows"
    internal = True

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 1, node, f"needs one operand, has {len(inputs)}")
        x, (begin, end) = inputs[0], node.attrs["rows"]
        require(len(x.shape) == 4, node, f"x must be [1, H, W, C], it is {x.shape}")
        require(0 <= begin < end <= x.shape[1], node, f"rows {begin} to {end} of {x.shape[1]}")
        return [((x.shape[0], end - begin, *x.shape[2:]), x.dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        begin, end = node.attrs["rows"]
        return inputs[0][:, begin:end]

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        require_same_quant(node, values, out)
        return self.reference_float(node, inputs)


OPERATOR = SliceRows()
