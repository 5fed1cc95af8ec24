"""Tables that TFLite makes in float32: each operation rounds, so that bytes depend on their order.

TFLite Micro has ELU of int8 in this form, LiteRT also EXP, LOG and GELU of int8, and EXP and GELU
of int16 (``lut.h``, ``gelu.h`` and ``elementwise.cc`` of TFLite).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgekit.ops import fixedpoint as fp

f32 = np.float32
Transform = Callable[[np.ndarray], np.ndarray]
_erfc = np.frompyfunc(math.erfc, 1, 1)
#: 2 / sqrt(pi) times sqrt(1/2): the square root of 2 / pi.
_SQRT_2_PI = f32(2.0 / math.sqrt(math.pi) * math.sqrt(0.5))


def _rounded(function: Callable[[np.ndarray], Any]) -> Transform:
    """A function of the C library: of float32, rounded to float32."""

    def rounded(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(function(x.astype(np.float64)), np.float64).astype(f32)

    return rounded


_exp, _tanh, _log = _rounded(np.exp), _rounded(np.tanh), _rounded(np.log)
_complement = _rounded(_erfc)


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, _exp(np.minimum(x, f32(0))) - f32(1), x)


def _gelu(x: np.ndarray) -> np.ndarray:
    return f32(0.5) * x * _complement(x * f32(-math.sqrt(0.5)))


def _gelu_by_tanh(x: np.ndarray) -> np.ndarray:
    inner = _SQRT_2_PI * (x + f32(0.044715) * x * x * x)
    return f32(0.5) * x * (f32(1) + _tanh(inner))


def transform_of(function: str, parameters: Mapping[str, Any]) -> Transform | None:
    """TFLite's function of float32 numbers, None where it has none."""
    if function == "elu":
        return _elu if parameters["alpha"] == 1.0 else None
    if function == "gelu":
        return _gelu_by_tanh if parameters["approximate"] == "tanh" else _gelu
    return {"exp": _exp, "log": lambda x: _log(np.maximum(x, f32(0)))}.get(function)


def table8(transform: Transform, x: tuple[float, int], y: tuple[float, int]) -> np.ndarray:
    """int8[256]: results for -128 .. 127 of scale and zero point `x` in those of `y`."""
    v = f32(x[0]) * (np.arange(-128, 128) - x[1]).astype(f32)
    with np.errstate(over="ignore"):
        ratio = transform(v) * (f32(1.0) / f32(y[0]))
    rescaled = fp.round_half_away(np.clip(ratio, f32(-1e6), f32(1e6)))
    return np.clip(rescaled + f32(y[1]), -128, 127).astype(np.int8)


def table16(transform: Transform, x_scale: float, y_scale: float) -> np.ndarray:
    """int16[513] over all int16 of `x_scale`, in steps of `y_scale`."""
    span = f32(y_scale) * f32(32767) - f32(y_scale) * f32(-32768)
    return fp.interpolation_table(
        lambda v: transform(v.astype(f32)).astype(np.float64),
        float(f32(x_scale) * f32(-32768)),
        float(f32(x_scale) * f32(32767)),
        float(f32(65536) / span),
    )


def has_table16(function: str, x_scale: float, y_scale: float) -> bool:
    """Whether TFLite's table of the function serves these scales.

    It has EXP and GELU. Where int16 does not hold the greatest exponential, the correction for the
    curvature makes the entry in front of the first that saturates far too small.
    """
    if function == "exp":
        return x_scale * 32767 <= math.log(y_scale * 32767)
    return function == "gelu"
