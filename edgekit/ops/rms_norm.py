"""rms_norm: every row is divided by its root mean square."""

from __future__ import annotations

from edgekit.graph import Node, Shape
from edgekit.ops.normalize import Normalization, View, last_axis
from edgekit.ops.rules import two_operands


class RmsNorm(Normalization):
    """x / sqrt(mean of x**2 + epsilon) * gamma over the last axis."""

    name = "rms_norm"
    rules = (two_operands, *Normalization.rules[1:])
    centred = False

    def view(self, node: Node, shape: Shape) -> View:
        return last_axis(shape)


OPERATOR = RmsNorm()
