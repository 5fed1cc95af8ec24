"""rescale: pixels as the numbers that a network reads, without touching a byte."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Quant, Value
from edgekit.ops.base import Inferred, Operator, require
from edgekit.ops.interval import Interval
from edgekit.ops.requant import quant_of
from edgekit.ops.rules import one_operand

#: Pixels 0 to 255 are int8: value - 128.
PIXELS = Quant.make(1.0, -128)


def pixels(node: Node, inputs: list[Value]) -> bool:
    """It reads float32, or pixels of int8 with the scale 1 and the zero point -128."""
    x = inputs[0]
    return x.dtype == "float32" or (x.dtype == "int8" and x.quant in (None, PIXELS))


def whole_zero(node: Node, inputs: list[Value]) -> bool:
    """'mean' must be a whole number from 0 to 255, 'std' a positive number."""
    mean, std = node.attrs.get("mean"), node.attrs.get("std")
    ok = isinstance(mean, int) and 0 <= mean <= 255
    return ok and isinstance(std, int | float) and std > 0


class Rescale(Operator):
    """(x - mean) / std of pixels: the same integers under another scale and zero point."""

    name = "rescale"
    grid = "fixed"
    rules = (one_operand, pixels, whole_zero)

    def fixed_quant(self, node: Node, dtype: str) -> Quant:
        return Quant.make(np.float32(1 / node.attrs["std"]), node.attrs["mean"] - 128)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, inputs[0].dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        centred = inputs[0].astype(np.float32) - np.float32(node.attrs["mean"])
        return (centred * np.float32(1 / node.attrs["std"])).astype(np.float32)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        require(quant_of(out) == self.fixed_quant(node, out.dtype), node, "a wrong grid")
        return inputs[0]

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return operands[0]


OPERATOR = Rescale()
