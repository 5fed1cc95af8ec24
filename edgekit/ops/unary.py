"""unary: one function of every element."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import Inferred, Operator, result_dtype
from edgekit.ops.functions import FUNCTIONS, parameters_of, real


def known_function(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'function' must be a function of the table in docs/SPEC.md, "unary"."""
    return node.attrs.get("function") in FUNCTIONS


def known_parameters(node: Node, inputs: list[Value]) -> bool:
    """A function's parameters must be finite numbers; 'approximate' is "none" or "tanh"."""
    for key, value in parameters_of(node.attrs["function"], node.attrs).items():
        if key == "approximate":
            if value not in ("none", "tanh"):
                return False
        elif not isinstance(value, int | float) or not np.isfinite(value):
            return False
    return True


class Unary(Operator):
    """A function of every element: sigmoid, tanh, gelu, exp, abs and forty more."""

    name = "unary"
    converts = True
    rules = (rules.one_operand, rules.activation, known_function, known_parameters)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, result_dtype(node, inputs[0]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        with np.errstate(over="ignore"):
            return real(node.attrs["function"], node.attrs, inputs[0]).astype(np.float32)


OPERATOR = Unary()
