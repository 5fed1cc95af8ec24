"""pad: more elements before and behind, axis by axis."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops.base import Inferred
from edgekit.ops.convert import quantize
from edgekit.ops.interval import Interval, channels_of
from edgekit.ops.movement import Movement, integers, movable
from edgekit.ops.requant import require_same_quant
from edgekit.ops.rules import one_operand

#: Modes and what numpy calls them.
MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "edge": "edge",
    "wrap": "wrap",
}


def full_rank(node: Node, inputs: list[Value]) -> bool:
    """'pads' has the numbers of elements before and then behind for each axis, none negative."""
    pads = node.attrs.get("pads")
    return integers(pads) and len(pads or ()) == 2 * len(inputs[0].shape) and min(pads or (0,)) >= 0


def known_mode(node: Node, inputs: list[Value]) -> bool:
    """'mode' is constant, reflect, symmetric, edge or wrap."""
    return node.attrs.get("mode", "constant") in MODES


def near(node: Node, inputs: list[Value]) -> bool:
    """reflect pads with less than the axis has, symmetric and wrap with at most as much."""
    most = {"reflect": -1, "symmetric": 0, "wrap": 0}.get(mode_of(node))
    return most is None or all(
        max(before, after) <= max(size + most, 0)
        for (before, after), size in zip(widths_of(node), inputs[0].shape, strict=True)
    )


def mode_of(node: Node) -> str:
    return str(node.attrs.get("mode", "constant"))


def widths_of(node: Node) -> list[tuple[int, int]]:
    """(before, behind) of each axis."""
    pads = node.attrs["pads"]
    rank = len(pads) // 2
    return list(zip(pads[:rank], pads[rank:], strict=True))


def pad_value(node: Node, x: Value) -> int | float | bool:
    """What a constant pad holds, in the dtype of `x`: the attribute 'value', quantized."""
    real = node.attrs.get("value", 0)
    if x.quant is not None:
        return int(quantize(x, np.array([real], np.float32))[0])
    return np.dtype(x.dtype).type(real).item()


class Pad(Movement):
    """Elements around a tensor: one value, mirrored, the nearest, or from the other end."""

    name = "pad"
    rules = (one_operand, movable, full_rank, known_mode, near)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x = inputs[0]
        pairs = zip(x.shape, widths_of(node), strict=True)
        return [(tuple(size + before + after for size, (before, after) in pairs), x.dtype)]

    def keeps_range(self, node: Node) -> bool:
        return mode_of(node) != "constant" or not node.attrs.get("value")

    def batched(self, node: Node, values: list[Value]) -> bool:
        return widths_of(node)[0] == (0, 0)

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        return self._padded(node, inputs[0], pad_value(node, _plain(inputs[0])))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        require_same_quant(node, values, out)
        return self._padded(node, inputs[0], pad_value(node, values[0]))

    @staticmethod
    def _padded(node: Node, x: np.ndarray, value: float) -> np.ndarray:
        widths, mode = widths_of(node), mode_of(node)
        if mode == "constant":
            return np.pad(x, widths, constant_values=np.asarray(value, x.dtype))
        return np.pad(x, widths, mode=MODES[mode])  # type: ignore[call-overload]

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        x = operands[0]
        if not values[0].shape:
            return x
        before, after = widths_of(node)[-1]
        if mode_of(node) != "constant":
            return x.over_all(channels_of(out)) if before or after else x
        value = int(pad_value(node, values[0]))
        if any(any(pair) for pair in widths_of(node)[:-1]):
            x = Interval(np.minimum(x.lo, value), np.maximum(x.hi, value))
        return Interval(*(np.pad(v, (before, after), constant_values=value) for v in (x.lo, x.hi)))


def _plain(x: np.ndarray) -> Value:
    return Value("x", x.shape, str(x.dtype))


OPERATOR = Pad()
