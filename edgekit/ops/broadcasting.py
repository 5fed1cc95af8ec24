"""What element by element operators share: operands that broadcast as in numpy."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Shape, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops import rules
from edgekit.ops.base import INTEGERS, Inferred, Operator, result_dtype
from edgekit.ops.interval import Interval, full
from edgekit.ops.requant import tensor_quant
from edgekit.ops.tables import by_table


def numbers(node: Node, inputs: list[Value]) -> bool:
    """Operands must be float32, or int8 and int16 in any mixture, or int32."""
    kinds = {v.dtype for v in inputs}
    return kinds in ({"float32"}, {"int32"}) or kinds <= set(INTEGERS)


def one_scale(node: Node, inputs: list[Value]) -> bool:
    """Quantized operands must have one scale and zero point for the whole tensor."""
    return all(v.quant is None or v.quant.scale.size == 1 for v in inputs)


def keeps_kind(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'out_dtype' must be int8 or int16 where operands are, else it must be absent."""
    dtype = inputs[-1].dtype
    return result_dtype(node, inputs[-1]) in (INTEGERS if dtype in INTEGERS else (dtype,))


def broadcast_shape(inputs: list[Value]) -> Shape:
    """The common shape of operands that broadcast."""
    return tuple(int(d) for d in np.broadcast_shapes(*(v.shape for v in inputs)))


class Broadcasting(Operator):
    """An operator whose result has the common shape of all operands."""

    def batched(self, node: Node, values: list[Value]) -> bool:
        """Samples go together where the leading axis of no operand meets another axis.

        An operand of lower rank may be an activation whose leading axis of 1 is the batch; in front
        of another operand's second axis it would not broadcast.
        """
        rank = max(len(v.shape) for v in values)
        return all(len(v.shape) == rank or v.shape[:1] != (1,) for v in values)


class Arithmetic(Broadcasting):
    """Two operands and a result that are numbers: reals, their integers, or plain int32."""

    converts = True
    rules = (rules.two_operands, numbers, keeps_kind, one_scale, rules.broadcast)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(broadcast_shape(inputs), result_dtype(node, inputs[0]))]

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        if out.dtype == "int32":
            wide = [x.astype(np.int64) for x in inputs]
            return self.reference_int32(node, wide[0], wide[1]).astype(np.int32)
        return self.reference_quantized(node, inputs, values, out)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        """One number where both operands are one, else everything; better where overridden."""
        result = at_ends(self, node, operands, values, out)[0]
        constant = operands[0].constant & operands[1].constant
        everything = full(out)
        return Interval(
            np.where(constant, result, everything.lo), np.where(constant, result, everything.hi)
        )

    def reference_int32(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The operator on int32 numbers in int64 arrays; the result wraps to int32."""
        raise NotImplementedError

    def reference_quantized(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        """The operator on quantized integers."""
        raise NotImplementedError


def scaled(
    x: np.ndarray, value: Value, multiplier: int, shift: int, left_shift: int = 0
) -> np.ndarray:
    """``MBQM((x - zero point) << left_shift, multiplier, shift)`` as int64."""
    zero_point = tensor_quant(value)[1]
    return by_table(
        x,
        lambda q: fp.multiply_by_quantized_multiplier(
            (q - zero_point) << left_shift, multiplier, shift
        ),
    )


def at_ends(
    operator: Operator, node: Node, operands: list[Interval], values: list[Value], out: Value
) -> tuple[np.ndarray, ...]:
    """The integer reference at all combinations of the ends of two operands, lo before hi."""

    def ends(i: int) -> tuple[np.ndarray, ...]:
        return tuple(e.astype(values[i].dtype) for e in (operands[i].lo, operands[i].hi))

    return tuple(
        operator.reference_int(node, [a, b], values, out).astype(np.int64)
        for a in ends(0)
        for b in ends(1)
    )
