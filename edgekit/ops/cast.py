"""cast: another dtype for the same numbers."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules
from edgekit.ops.base import Inferred, Operator

#: What `to` may be in a float graph; quantized activations are "float32" there.
TO = ("float32", "int32", "bool")


def known_target(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'to' must be float32, int32 or bool."""
    return node.attrs.get("to") in TO


def castable(node: Node, inputs: list[Value]) -> bool:
    """The operand must be float32, int8, int16, int32 or bool."""
    return inputs[0].dtype in ("float32", "int8", "int16", "int32", "bool")


class Cast(Operator):
    """Reals to int32 (towards zero) or bool (not zero), and back."""

    name = "cast"
    converts = True
    rules = (rules.one_operand, known_target, castable)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        """`out_dtype` is the width of the integers where reals are quantized."""
        to = str(node.attrs["to"])
        return [(inputs[0].shape, str(node.attrs.get("out_dtype", to)) if to == "float32" else to)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, to = inputs[0], node.attrs["to"]
        if to == "int32" and np.issubdtype(x.dtype, np.floating):
            info = np.iinfo(np.int32)
            whole = np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0)
            return np.clip(whole, info.min, info.max).astype(np.int32)
        return x.astype(to)


OPERATOR = Cast()
