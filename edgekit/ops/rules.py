"""Rules that several operators share. A rule's docstring is what users read where it fails."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import INTEGERS, result_dtype

#: What activations hold: reals, or their quantized integers.
ACTIVATIONS = ("float32", *INTEGERS)


def one_operand(node: Node, inputs: list[Value]) -> bool:
    """It needs one operand."""
    return len(inputs) == 1


def two_operands(node: Node, inputs: list[Value]) -> bool:
    """It needs two operands."""
    return len(inputs) == 2


def three_operands(node: Node, inputs: list[Value]) -> bool:
    """It needs three operands."""
    return len(inputs) == 3


def activations(node: Node, inputs: list[Value]) -> bool:
    """Operands must be float32, int8 or int16."""
    return all(v.dtype in ACTIVATIONS for v in inputs)


def activation(node: Node, inputs: list[Value]) -> bool:
    """The first operand must be float32, int8 or int16."""
    return bool(inputs) and inputs[0].dtype in ACTIVATIONS


def one_dtype(node: Node, inputs: list[Value]) -> bool:
    """Operands must have one dtype."""
    return len({v.dtype for v in inputs}) <= 1


def broadcast(node: Node, inputs: list[Value]) -> bool:
    """The shapes of the operands must broadcast as in numpy."""
    try:
        np.broadcast_shapes(*(v.shape for v in inputs))
    except ValueError:
        return False
    return True


def convertible(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'out_dtype' must be int8 or int16 where operands are, else the operands' own; in a
    layer with attribute 'float' it may be any of the three."""
    out = result_dtype(node, inputs[0])
    known = ACTIVATIONS if node.attrs.get("float") else INTEGERS
    return out == inputs[0].dtype or {out, inputs[0].dtype} <= set(known)


def axis_exists(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'axis' must name an axis of the first operand, counted from 0."""
    axis = node.attrs.get("axis")
    return isinstance(axis, int) and 0 <= axis < len(inputs[0].shape)
