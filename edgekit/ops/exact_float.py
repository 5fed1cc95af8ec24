"""Functions in float32 that every back end computes alike: sums and products in one order only.

docs/SPEC.md, "float32 layers", has the formulas; `firmware/include/ek_float.h` and the GPU's
prelude repeat them. numpy rounds every operation to float32 by itself, as they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

F = np.float32
#: Results outside would be subnormal or infinite.
EXP_LOW, EXP_HIGH = F(-87.0), F(88.0)
LOG2_E = F(1.4426950408889634)
#: log 2 in two parts; a product of the first with up to 8 bits is exact.
LN2_HIGH, LN2_LOW = F(0.693359375), F(-2.12194440e-4)
#: 1 / k! from the highest power down.
EXP_SERIES = tuple(F(1.0 / k) for k in (5040, 720, 120, 24, 6, 2, 1, 1))


def exp(x: np.ndarray) -> np.ndarray:
    """e**x within 2 units in the last place; arguments are limited to [-87, 88]."""
    x = np.minimum(np.maximum(x.astype(F), EXP_LOW), EXP_HIGH)
    scaled = x * LOG2_E
    n = (scaled + np.where(scaled < 0, F(-0.5), F(0.5))).astype(np.int32)  # towards zero
    k = n.astype(F)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    y = np.full_like(r, EXP_SERIES[0])
    for coefficient in EXP_SERIES[1:]:
        y = y * r + coefficient
    return np.asarray(y * ((n + 127) << 23).view(F))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(F(1) / (F(1) + exp(-x.astype(F))))


def clamp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """In the order of comparisons that C has, which is seen in the sign of a zero."""
    return np.asarray(np.where(x < F(low), F(low), np.where(x > F(high), F(high), x)), F)


def softmax(x: np.ndarray, beta: float) -> np.ndarray:
    """Over the last axis; exponentials are added one after the other."""
    scaled = x.astype(F) * F(beta)
    e = exp(scaled - scaled.max(axis=-1, keepdims=True))
    # cumsum adds in order, sum in pairs.
    total = np.cumsum(e, axis=-1, dtype=F)[..., -1:]
    return np.asarray(e * (F(1) / total))


Exact = Callable[..., np.ndarray]
#: Functions of `unary` that have an exact form; parameters as in `edgekit.ops.functions`.
UNARY: Mapping[str, Exact] = {
    "abs": lambda x: np.where(x < 0, -x, x),
    "neg": np.negative,
    "square": lambda x: x * x,
    "exp": exp,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "quick_gelu": lambda x, alpha: x * sigmoid(x * F(alpha)),
    "tanh": lambda x: F(2) * sigmoid(F(2) * x) - F(1),
    "hard_sigmoid": lambda x, alpha, beta: clamp(x * F(alpha) + F(beta), 0, 1),
    "hard_swish": lambda x: x * clamp(x * F(1 / 6) + F(0.5), 0, 1),
    "leaky_relu": lambda x, alpha: np.where(x < 0, x * F(alpha), x),
    "thresholded_relu": lambda x, alpha: np.where(x > F(alpha), x, F(0)),
}


def unary(name: str, parameters: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    """A function of the table, in float32."""
    return np.asarray(UNARY[name](x.astype(F), **parameters), F)
