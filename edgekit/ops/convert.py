"""Between reals and the integers that stand for them (docs/SPEC.md, "Quantized tensors")."""

from __future__ import annotations

import numpy as np

from edgekit.graph import GraphError, Value
from edgekit.ops.fixedpoint import round_half_away


def quantize(value: Value, array: np.ndarray) -> np.ndarray:
    """Real numbers to the value's int8: ``clamp(round(x / scale) + zero_point)``.

    Division in float32, halves away from zero, as TFLM's quantize operator does it.
    """
    if value.quant is None or value.quant.scale.size != 1:
        raise GraphError(f"'{value.name}' is not quantized per tensor")
    info = np.iinfo(value.dtype)
    ratio = array.astype(np.float32) / value.quant.scale[0]
    q = round_half_away(ratio).astype(np.float64) + int(value.quant.zero_point[0])
    return np.clip(q, info.min, info.max).astype(value.dtype)


def dequantize(value: Value, array: np.ndarray) -> np.ndarray:
    """float32 ``(q - zero_point) * scale``; arrays of unquantized values pass as they are."""
    if value.quant is None:
        return array
    q, shape = value.quant, [1] * array.ndim
    if q.axis is not None:
        shape[q.axis] = -1
    centred = array.astype(np.int64) - q.zero_point.reshape(shape)
    return centred.astype(np.float32) * q.scale.reshape(shape)
