"""What random .tflite models of one operator are drawn with, and the table of operators.

`OPERATORS[name](f, d, dtype)` adds tensors and the operator to the file `f` with numbers drawn from
`d`, and returns its inputs and outputs. `dtype` is that of activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tflite_files import File

Made = tuple[list[int], list[int]]
Maker = Callable[[File, "Draw", str], Made]
OPERATORS: dict[str, Maker] = {}
#: dtypes of activations with which TFLite Micro runs the operator.
DTYPES: dict[str, tuple[str, ...]] = {}
ALL = ("int8", "int16", "float32")
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)


class Draw:
    """Numbers, scales and shapes."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data

    def number(self, lo: int, hi: int) -> int:
        return self.data.draw(st.integers(lo, hi))

    def of(self, choices: Sequence[Any]) -> Any:
        return self.data.draw(st.sampled_from(list(choices)))

    def scale(self, lo: float = 1e-3, hi: float = 0.9) -> float:
        """A float32 scale, any exponent between the limits alike."""
        exponent = self.data.draw(st.floats(math.log(lo), math.log(hi)))
        return float(np.float32(math.exp(exponent)))

    def permutation(self, n: int) -> list[int]:
        return self.data.draw(st.permutations(range(n)))

    def some(self, lo: int, hi: int) -> list[int]:
        """Different numbers in order, at least one."""
        return sorted(self.data.draw(st.sets(st.integers(lo, hi), min_size=1)))

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.number(0, 2**32 - 1))

    def shape(self, rank: int | None = None, most: int = 5) -> list[int]:
        rank = self.number(2, 4) if rank is None else rank
        return [1, *(self.number(1, most) for _ in range(rank - 1))]

    def quant(self, dtype: str) -> tuple[Any, ...]:
        """(dtype, scale, zero point) of an activation."""
        if dtype == "float32":
            return (dtype,)
        if dtype == "int16":
            return (dtype, self.scale(1e-5, 1e-2), 0)
        return (dtype, self.scale(), self.number(-128, 127))

    def clamp(self) -> int:
        return int(self.of([NONE, NONE, RELU, RELU_N1_TO_1, RELU6]))

    def numbers(self, shape: Sequence[int], dtype: str) -> np.ndarray:
        if dtype == "float32":
            return self.rng().standard_normal(shape).astype(np.float32)
        info = np.iinfo(dtype)
        return self.rng().integers(info.min, info.max, shape, dtype, endpoint=True)


def operator(*dtypes: str, name: str = "") -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        key = name or maker.__name__.upper().strip("_")
        OPERATORS[key], DTYPES[key] = maker, dtypes
        return maker

    return register


def fitting(d: Draw, dtype: str, expected: float) -> tuple[Any, ...]:
    if dtype == "float32":
        return (dtype,)
    steps = 100 if dtype == "int8" else 25000
    scale = float(np.float32(expected / steps * math.exp(d.number(-100, 100) / 100)))
    return (dtype, scale, d.number(-128, 127) if dtype == "int8" else 0)


def largest(q: tuple[Any, ...]) -> float:
    """About the greatest magnitude of a tensor quantized by `q`."""
    return 1.0 if len(q) == 1 else float(q[1]) * (150 if q[0] == "int8" else 32767)
