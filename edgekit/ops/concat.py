"""concat: tensors behind one another along an axis."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator, Rule
from edgekit.ops.interval import Interval, requantized
from edgekit.ops.movement import MAX_RANK, MOVABLE, axis_of
from edgekit.ops.requant import Requant, clip_params, tensor_quant
from edgekit.ops.rules import axis_exists, one_dtype
from edgekit.ops.tables import by_table


def has_operands(node: Node, inputs: list[Value]) -> bool:
    """There is at least one operand, and none has more than 8 axes."""
    return len(inputs) >= 1 and all(1 <= len(v.shape) <= MAX_RANK for v in inputs)


def movable_operands(node: Node, inputs: list[Value]) -> bool:
    """Operands are float32, int8, int16, int32 or bool."""
    return all(v.dtype in MOVABLE for v in inputs)


def alike(node: Node, inputs: list[Value]) -> bool:
    """The operands agree in all axes but 'axis'."""
    if len({len(v.shape) for v in inputs}) > 1:
        return False
    axis = axis_of(node)
    kept = {(len(v.shape), *v.shape[:axis], *v.shape[axis + 1 :]) for v in inputs}
    return len(kept) == 1


def rescale(node: Node, value: Value, out: Value) -> Requant | None:
    """How an operand's integers become the result's, as `clip` does it; None: they are the same."""
    if value.quant == out.quant:
        return None
    return clip_params(Node(node.op, (value.name,), (out.name,), {}, node.name), [value], out)


class Concat(Operator):
    """Tensors one behind the other along 'axis'; in integers each takes the result's scale."""

    name = "concat"
    grid = "operands"
    rules: tuple[Rule, ...] = (has_operands, movable_operands, one_dtype, axis_exists, alike)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        axis, shape = axis_of(node), list(inputs[0].shape)
        shape[axis] = sum(v.shape[axis] for v in inputs)
        return [(tuple(shape), inputs[0].dtype)]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return axis_of(node) != 0

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        # Constant operands have a leading axis of 1 where activations have a whole batch.
        n = max((len(x) for x in inputs), default=1) if axis_of(node) else 0
        same = [np.broadcast_to(x, (n, *x.shape[1:])) if n else x for x in inputs]
        return np.concatenate(same, axis=axis_of(node))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        return self.reference_float(
            node, [_rescaled(node, x, v, out) for x, v in zip(inputs, values, strict=True)]
        )

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        parts = []
        for x, value in zip(operands, values, strict=True):
            p = rescale(node, value, out)
            if p is not None:
                zx, zy = tensor_quant(value)[1], tensor_quant(out)[1]
                x = requantized(
                    Interval(x.lo - zx, x.hi - zx), p.multiplier, p.shift, zy, p.qmin, p.qmax
                )
            parts.append(x)
        lows, highs = [p.lo for p in parts], [p.hi for p in parts]
        if axis_of(node) == len(out.shape) - 1:
            return Interval(np.concatenate(lows), np.concatenate(highs))
        return Interval(np.min(lows, axis=0), np.max(highs, axis=0))


def _rescaled(node: Node, x: np.ndarray, value: Value, out: Value) -> np.ndarray:
    p = rescale(node, value, out)
    if p is None:
        return x
    zx, zy = tensor_quant(value)[1], tensor_quant(out)[1]
    return by_table(
        x, lambda q: fp.requantize(q - zx, p.multiplier, p.shift, zy, p.qmin, p.qmax, out.dtype)
    )


OPERATOR = Concat()
