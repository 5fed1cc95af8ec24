"""add: the sum of two tensors."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import clamp_float
from edgekit.ops.elementwise import Elementwise
from edgekit.ops.interval import Interval, between
from edgekit.ops.requant import add_params, tensor_quant
from edgekit.ops.tables import by_table


class Add(Elementwise):
    """Sum of two tensors with numpy broadcasting and a fused clamp."""

    name = "add"
    converts = True

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return clamp_float(node, inputs[0] + inputs[1])

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        p = add_params(node, values, out)

        def scaled(x: np.ndarray, value: Value, multiplier: int, shift: int) -> np.ndarray:
            zero_point = tensor_quant(value)[1]
            return by_table(
                x,
                lambda q: fp.multiply_by_quantized_multiplier(
                    (q - zero_point) << p.left_shift, multiplier, shift
                ),
            )

        total = scaled(inputs[0], values[0], p.multiplier_a, p.shift_a) + scaled(
            inputs[1], values[1], p.multiplier_b, p.shift_b
        )
        return fp.requantize(
            total, p.multiplier_out, p.shift_out, tensor_quant(out)[1], p.qmin, p.qmax, out.dtype
        )

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        p = add_params(node, values, out)
        if p.shift_out > 0:  # A left shift may wrap, right shifts cannot.
            return between(out, p.qmin, p.qmax)

        def at(ends: list[np.ndarray]) -> np.ndarray:
            """Monotone in both operands: the reference at their ends."""
            typed = [e.astype(v.dtype) for e, v in zip(ends, values, strict=True)]
            return self.reference_int(node, typed, values, out).astype(np.int64)

        return Interval(at([o.lo for o in operands]), at([o.hi for o in operands]))


OPERATOR = Add()
