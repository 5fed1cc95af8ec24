"""one_hot: indices as rows that are 'on' in one place."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import INTEGERS, Inferred, Operator
from edgekit.ops.convert import quantize
from edgekit.ops.interval import Interval, between
from edgekit.ops.movement import MAX_RANK, axis_of
from edgekit.ops.rules import one_operand


def int32_indices(node: Node, inputs: list[Value]) -> bool:
    """The operand is int32 indices of at most 7 axes."""
    return inputs[0].dtype == "int32" and len(inputs[0].shape) < MAX_RANK


def depth_and_axis(node: Node, inputs: list[Value]) -> bool:
    """'depth' is at least 1, and 'axis' one of the result's axes, counted from 0."""
    depth, axis = node.attrs.get("depth"), node.attrs.get("axis")
    return (
        isinstance(depth, int)
        and depth >= 1
        and isinstance(axis, int)
        and 0 <= axis <= len(inputs[0].shape)
    )


def known_result(node: Node, inputs: list[Value]) -> bool:
    """The result ('out_dtype') is float32, int8, int16, int32 or bool."""
    return dtype_of(node) in ("float32", *INTEGERS, "int32", "bool")


def dtype_of(node: Node) -> str:
    return str(node.attrs.get("out_dtype", "float32"))


def on_and_off(node: Node, out: Value) -> tuple[int | float | bool, int | float | bool]:
    """The two values of the result in its dtype: attributes 'on' (1) and 'off' (0), quantized."""
    reals = np.array([node.attrs.get("on", 1), node.attrs.get("off", 0)], np.float64)
    both = reals.astype(out.dtype)
    if out.quant is not None:
        both = quantize(out, reals.astype(np.float32))
    return both[0].item(), both[1].item()


class OneHot(Operator):
    """A new 'axis' of 'depth' elements: 'on' where the int32 index says, else 'off'."""

    name = "one_hot"
    converts = True
    rules = (one_operand, int32_indices, depth_and_axis, known_result)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        shape, axis = inputs[0].shape, axis_of(node)
        return [((*shape[:axis], int(node.attrs["depth"]), *shape[axis:]), dtype_of(node))]

    def batched(self, node: Node, values: list[Value]) -> bool:
        return axis_of(node) != 0

    @staticmethod
    def _places(node: Node, indices: np.ndarray) -> np.ndarray:
        depth, axis = int(node.attrs["depth"]), axis_of(node)
        at = indices.astype(np.int64)
        if node.attrs.get("wrap"):  # negative indices count from the end
            at = np.where(at < 0, at + depth, at)
        steps = np.arange(depth).reshape(depth, *[1] * (indices.ndim - axis))
        return np.asarray(np.expand_dims(at, axis) == steps)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        on, off = on_and_off(node, Value("y", (), dtype_of(node)))
        return np.where(self._places(node, inputs[0]), on, off).astype(dtype_of(node))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        on, off = on_and_off(node, out)
        return np.where(self._places(node, inputs[0]), on, off).astype(out.dtype)

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        on, off = (int(v) for v in on_and_off(node, out))
        return between(out, min(on, off), max(on, off))


OPERATOR = OneHot()
