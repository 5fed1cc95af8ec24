"""unary: one function of every element."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import exact_float, rules
from edgekit.ops.base import Inferred, Operator, result_dtype
from edgekit.ops.broadcasting import one_scale
from edgekit.ops.functions import FUNCTIONS, parameters_of, real
from edgekit.ops.interval import Interval
from edgekit.ops.unary_params import unary_params


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
    rules = (rules.one_operand, rules.activation, one_scale, known_function, known_parameters)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, result_dtype(node, inputs[0]))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        with np.errstate(over="ignore"):
            return real(node.attrs["function"], node.attrs, inputs[0]).astype(np.float32)

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        name = node.attrs["function"]
        if name not in exact_float.UNARY:
            return self.reference_float(node, inputs)
        return exact_float.unary(name, parameters_of(name, node.attrs), inputs[0])

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        return unary_params(node, values, out).evaluate(inputs[0])

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        """Least and greatest result over the operand's integers, whatever the function's shape."""
        info = np.iinfo(values[0].dtype)
        every = np.arange(info.min, info.max + 1).astype(values[0].dtype)
        y = unary_params(node, values, out).evaluate(every).astype(np.int64)
        ends = np.stack([operands[0].lo, operands[0].hi], 1)
        pairs, which = np.unique(ends, axis=0, return_inverse=True)
        found = [y[lo - info.min : hi + 1 - info.min] for lo, hi in pairs]
        least, greatest = (np.array([f(r) for r in found]) for f in (np.min, np.max))
        return Interval(least[which.reshape(-1)], greatest[which.reshape(-1)])


OPERATOR = Unary()
