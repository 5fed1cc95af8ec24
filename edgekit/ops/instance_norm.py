"""instance_norm: every channel of an image is brought to mean 0 and variance 1."""

from __future__ import annotations

import math

from edgekit.graph import Node, Shape, Value
from edgekit.ops.normalize import Normalization, View
from edgekit.ops.rules import three_operands


def has_pixels(node: Node, inputs: list[Value]) -> bool:
    """The first operand must have axes between the batch and the channels."""
    return len(inputs[0].shape) >= 3


class InstanceNorm(Normalization):
    """Each channel of x [1, ..., C] normalized over the axes between, times gamma plus beta."""

    name = "instance_norm"
    rules = (three_operands, has_pixels, *Normalization.rules[1:])

    def view(self, node: Node, shape: Shape) -> View:
        return View(shape[0], math.prod(shape[1:-1]), shape[-1], 1)


OPERATOR = InstanceNorm()
