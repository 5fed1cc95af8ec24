"""mean_rows: the end of an average pool over an image whose sums were taken in parts."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator, require
from edgekit.ops.requant import clamp_of_output


class MeanRows(Operator):
    """int32 sums divided by `count` pixels, rounded and clamped as average_pool2d does."""

    name = "mean_rows"
    internal = True

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 1, node, f"needs one operand, has {len(inputs)}")
        require(inputs[0].dtype == "int32", node, f"x must be int32, not {inputs[0].dtype}")
        return [(inputs[0].shape, str(node.attrs["out_dtype"]))]

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        total, count = inputs[0].astype(np.int64), int(node.attrs["count"])
        qmin, qmax = clamp_of_output(node, out)
        magnitude = (np.abs(total) + count // 2) // count
        return np.clip(np.sign(total) * magnitude, qmin, qmax).astype(out.dtype)


OPERATOR = MeanRows()
