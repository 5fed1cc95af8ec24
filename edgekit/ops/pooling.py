"""What the two pooling operators share: operands, output shape."""

from __future__ import annotations

from edgekit.graph import Node, Value
from edgekit.ops import windows as win
from edgekit.ops.base import INTEGERS, Inferred, Operator, require
from edgekit.ops.interval import Interval
from edgekit.ops.requant import clamp_of_output


class Pooling(Operator):
    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        require(len(inputs) == 1, node, f"needs one operand, has {len(inputs)}")
        x = inputs[0]
        require(len(x.shape) == 4, node, f"x must be [1, H, W, C], it is {x.shape}")
        require(
            x.dtype in ("float32", *INTEGERS),
            node,
            f"x must be float32, int8 or int16, not {x.dtype}",
        )
        require("dilations" not in node.attrs, node, "pooling has no dilations")
        kernel, pads = win.pair(node, "kernel"), win.pads_of(node)
        require(
            max(pads[0], pads[2]) < kernel[0] and max(pads[1], pads[3]) < kernel[1],
            node,
            f"pads {list(pads)} leave windows of {list(kernel)} without a real pixel",
        )
        return [(win.window_shape(node, x, kernel, x.shape[3]), x.dtype)]

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        # Mean and maximum of a window lie between its least and its greatest pixel, and padding is
        # no pixel; a window has at least one.
        return operands[0].clipped(*clamp_of_output(node, out))
