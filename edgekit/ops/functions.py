"""Real functions of one real number: what `unary` knows, with parameters and domains.

Names, formulas and default parameters are those of the ONNX operators of the same name where there
is one. Every function takes and gives float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Real = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Function:
    """`real(x, **parameters)` with default parameters, and the interval in which it is defined.

    Integer tables take a number outside of `domain` as the nearest one inside. An infinite result
    becomes the greatest or least integer.
    """

    real: Real
    parameters: Mapping[str, float | str] = field(default_factory=dict)
    domain: tuple[float, float] = (-math.inf, math.inf)


_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: np.ndarray) -> np.ndarray:
    """The error function."""
    result: np.ndarray = np.asarray(_erf(x), np.float64)
    return result


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), without overflow."""
    result: np.ndarray = np.logaddexp(0.0, x)
    return result


def gelu(x: np.ndarray, approximate: str) -> np.ndarray:
    """x times the normal distribution's cumulative function, or its approximation by tanh."""
    if approximate == "tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + erf(x / math.sqrt(2.0)))


def hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.clip(alpha * x + beta, 0.0, 1.0)


def elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0)), x)


def selu(x: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
    return gamma * elu(x, alpha)


def celu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.maximum(x, 0.0) + np.minimum(0.0, alpha * np.expm1(np.minimum(x, 0.0) / alpha))


def shrink(x: np.ndarray, lambd: float, bias: float) -> np.ndarray:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


def round_half_even(x: np.ndarray) -> np.ndarray:
    """ONNX Round and TFLite ROUND: halves go to the even neighbour."""
    result: np.ndarray = np.rint(x)
    return result


_POSITIVE, _UNIT = (0.0, math.inf), (-1.0, 1.0)

#: Every function of `unary` by its name in the attribute ``function``.
FUNCTIONS: dict[str, Function] = {
    "abs": Function(np.abs),
    "neg": Function(np.negative),
    "sign": Function(np.sign),
    "ceil": Function(np.ceil),
    "floor": Function(np.floor),
    "round": Function(round_half_even),
    "exp": Function(np.exp),
    "log": Function(np.log, domain=_POSITIVE),
    "log1p": Function(np.log1p, domain=(-1.0, math.inf)),
    "sqrt": Function(np.sqrt, domain=_POSITIVE),
    "rsqrt": Function(lambda x: 1.0 / np.sqrt(x), domain=_POSITIVE),
    "reciprocal": Function(lambda x: 1.0 / x),
    "square": Function(np.square),
    "pow": Function(lambda x, exponent: np.power(x, exponent), {"exponent": 2.0}),
    "sin": Function(np.sin),
    "cos": Function(np.cos),
    "tan": Function(np.tan),
    "asin": Function(np.arcsin, domain=_UNIT),
    "acos": Function(np.arccos, domain=_UNIT),
    "atan": Function(np.arctan),
    "sinh": Function(np.sinh),
    "cosh": Function(np.cosh),
    "tanh": Function(np.tanh),
    "asinh": Function(np.arcsinh),
    "acosh": Function(np.arccosh, domain=(1.0, math.inf)),
    "atanh": Function(np.arctanh, domain=_UNIT),
    "erf": Function(erf),
    "sigmoid": Function(sigmoid),
    "hard_sigmoid": Function(hard_sigmoid, {"alpha": 0.2, "beta": 0.5}),
    "hard_swish": Function(lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0)),
    "silu": Function(lambda x: x * sigmoid(x)),
    "gelu": Function(gelu, {"approximate": "none"}),
    "quick_gelu": Function(lambda x, alpha: x * sigmoid(alpha * x), {"alpha": 1.702}),
    "leaky_relu": Function(lambda x, alpha: np.where(x < 0, alpha * x, x), {"alpha": 0.01}),
    "thresholded_relu": Function(lambda x, alpha: np.where(x > alpha, x, 0.0), {"alpha": 1.0}),
    "elu": Function(elu, {"alpha": 1.0}),
    "selu": Function(selu, {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "celu": Function(celu, {"alpha": 1.0}),
    "softplus": Function(softplus),
    "softsign": Function(lambda x: x / (1.0 + np.abs(x))),
    "mish": Function(lambda x: x * np.tanh(softplus(x))),
    "shrink": Function(shrink, {"lambd": 0.5, "bias": 0.0}),
}


def parameters_of(name: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of function `name`: what `attrs` says, else the defaults."""
    return {key: attrs.get(key, default) for key, default in FUNCTIONS[name].parameters.items()}


def domain_of(name: str, attrs: Mapping[str, Any]) -> tuple[float, float]:
    """Where function `name` is defined; a power with a broken exponent is for numbers >= 0."""
    if name == "pow" and not float(parameters_of(name, attrs)["exponent"]).is_integer():
        return _POSITIVE
    return FUNCTIONS[name].domain


def real(name: str, attrs: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    """Function `name` of float64 numbers; infinite or NaN where frameworks say so."""
    with np.errstate(all="ignore"):
        result = FUNCTIONS[name].real(np.asarray(x, np.float64), **parameters_of(name, attrs))
    return np.asarray(result, np.float64)
