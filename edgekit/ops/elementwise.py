"""What `add` and `mul` share: two operands of one dtype that broadcast as in numpy."""

from __future__ import annotations

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import INTEGERS, Inferred, result_dtype
from edgekit.ops.broadcasting import Broadcasting, broadcast_shape


def of_one_kind(node: Node, inputs: list[Value]) -> bool:
    """Operands must both be float32, or int8 and int16 in any mixture; in a layer with attribute
    'float' they may be both."""
    kinds = {v.dtype for v in inputs}
    return kinds == {"float32"} or kinds <= set(INTEGERS) or bool(node.attrs.get("float"))


class Elementwise(Broadcasting):
    rules = (rules.two_operands, rules.activations, of_one_kind, rules.convertible, rules.broadcast)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), result_dtype(node, inputs[0]))]
