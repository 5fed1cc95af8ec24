"""masked_softmax: normalized exponentials of what a mask keeps."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Node, Quant, Shape, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.base import Inferred, Operator
from edgekit.ops.interval import Interval, between, full
from edgekit.ops.requant import PARAMETERS, softmax16_params, softmax_params
from edgekit.ops.rules import activation, two_operands
from edgekit.ops.softmax import MAX_CHANNELS, PROBABILITIES, shares, shares16


def without_units(shape: Shape) -> Shape:
    """The shape without the axes of length 1 in front."""
    first = next((i for i, size in enumerate(shape) if size != 1), len(shape))
    return shape[first:]


def mask_is_bool(node: Node, inputs: list[Value]) -> bool:
    """The second operand, the mask, must be bool."""
    return inputs[1].dtype == "bool"


def mask_repeats(node: Node, inputs: list[Value]) -> bool:
    """The mask must have the shape of the last axes of the first operand, or of all."""
    shape, kept = inputs[0].shape, without_units(inputs[1].shape)
    return len(shape) >= 1 and shape[len(shape) - len(kept) :] == kept


def channels_are_bounded(node: Node, inputs: list[Value]) -> bool:
    """Integer rows must have at most 4095 numbers."""
    return inputs[0].dtype == "float32" or inputs[0].shape[-1] <= MAX_CHANNELS


def beta_is_positive(node: Node, inputs: list[Value]) -> bool:
    """Attribute 'beta' must be positive."""
    return bool(node.attrs.get("beta", 1.0) > 0)


class MaskedSoftmax(Operator):
    """Softmax over the last axis of what the mask keeps; 0 elsewhere and in rows without any."""

    name = "masked_softmax"
    grid = "fixed"
    rules = (
        two_operands, activation, mask_is_bool, mask_repeats, channels_are_bounded,
        beta_is_positive,
    )  # fmt: skip

    def fixed_quant(self, node: Node, dtype: str) -> Quant:
        return PROBABILITIES[dtype]

    def batched(self, node: Node, values: list[Value]) -> bool:
        x, mask = (v.shape for v in values)
        # A mask of fewer axes has a batch of its own in front, or none where it is constant.
        return len(x) == len(mask) or mask[:1] != (1,)

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        return [(inputs[0].shape, inputs[0].dtype)]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, mask = inputs
        scaled = np.where(mask, x * np.float32(node.attrs.get("beta", 1.0)), -np.inf)
        largest = scaled.max(axis=-1, keepdims=True)
        e = np.exp(scaled - np.where(np.isfinite(largest), largest, 0))
        total = e.sum(axis=-1, keepdims=True)
        return (e / np.where(total == 0, 1, total)).astype(np.float32)

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        x = inputs[0].astype(np.int64)
        mask = np.broadcast_to(inputs[1], x.shape)
        least = np.iinfo(values[0].dtype).min
        difference = np.where(mask, np.where(mask, x, least).max(axis=-1, keepdims=True) - x, 0)
        if out.dtype == "int16":
            p = softmax16_params(node, values, out)
            scaled = fp.multiply_by_quantized_multiplier(-difference, p.multiplier, p.shift)
            e = fp.interpolate(p.exp_table, np.clip(scaled + 32767, -32768, 32767))
            return shares16(np.where(mask, e, 0), p)
        table = softmax_params(node, values, out).exp_table.astype(np.int64)
        return shares(np.where(mask, table[difference], 0))

    def interval(
        self, node: Node, operands: list[Interval], values: list[Value], out: Value
    ) -> Interval:
        return between(out, 0, 32767) if out.dtype == "int16" else full(out)


OPERATOR = MaskedSoftmax()
PARAMETERS[OPERATOR.name] = PARAMETERS["softmax"]
