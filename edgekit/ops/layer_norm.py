"""layer_norm: every row is brought to mean 0 and variance 1."""

from __future__ import annotations

from edgekit.graph import Node, Shape
from edgekit.ops.normalize import Normalization, View, last_axis


class LayerNorm(Normalization):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axis."""

    name = "layer_norm"

    def view(self, node: Node, shape: Shape) -> View:
        return last_axis(shape)


OPERATOR = LayerNorm()
