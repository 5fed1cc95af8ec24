"""group_norm: groups of channels of an image are brought to mean 0 and variance 1."""

from __future__ import annotations

import math

from edgekit.graph import Node, Shape, Value
from edgekit.ops.normalize import Normalization, View
from edgekit.ops.rules import three_operands


def groups_divide_channels(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'groups' must divide the channels, the last axis of the first operand."""
    groups, shape = node.attrs.get("groups"), inputs[0].shape
    return len(shape) >= 2 and isinstance(groups, int) and groups >= 1 and shape[-1] % groups == 0


class GroupNorm(Normalization):
    """Groups of adjacent channels of x [1, ..., C] normalized together, times gamma plus beta."""

    name = "group_norm"
    rules = (three_operands, groups_divide_channels, *Normalization.rules[1:])

    def view(self, node: Node, shape: Shape) -> View:
        groups: int = node.attrs["groups"]
        return View(shape[0], math.prod(shape[1:-1]), groups, shape[-1] // groups)


OPERATOR = GroupNorm()
