"""transpose: a permutation of axes."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred, Operator, require
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.requant import require_same_quant


class Transpose(Operator):
    """Axis i of the result is axis perm[i] of the operand."""

    name = "transpose"
    grid = "operand"

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 1, node, f"needs one operand, has {len(inputs)}")
        x, perm = inputs[0], node.attrs.get("perm")
        require(
            isinstance(perm, list | tuple) and sorted(perm) == list(range(len(x.shape))),
            node,
            f"perm {perm} is no permutation of {len(x.shape)} axes",
        )
        assert perm is not None
        return [(tuple(x.shape[i] for i in perm), x.dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return bool(node.attrs["perm"][0] == 0)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return np.ascontiguousarray(inputs[0].transpose(node.attrs["perm"]))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        if out.quant is not None:
            require_same_quant(node, values, out)
        return self.reference_float(node, inputs)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        perm = node.attrs["perm"]
        if perm[-1] == len(perm) - 1:
            return operands[0]
        return operands[0].over_all(channels_of(out))


OPERATOR = Transpose()
