"""Grids and numbers for models in which quantization stands as operators of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from edgekit.graph import Graph

CHECKED = settings(deadline=None, max_examples=40)
RNG = np.random.default_rng(3)
seeds = st.integers(0, 9999)
scales = st.floats(-9, 2).map(lambda e: np.float32(2.0**e))
dtypes = st.sampled_from(["int8", "uint8"])


def zero_points(dtype: str) -> st.SearchStrategy[int]:
    return st.integers(-128, 127) if dtype == "int8" else st.integers(0, 255)


@st.composite
def grids(draw: st.DrawFn) -> tuple[np.float32, int, str]:
    dtype = draw(dtypes)
    return draw(scales), draw(zero_points(dtype)), dtype


def integers(*shape: int, lo: int = -127, hi: int = 127) -> np.ndarray:
    return RNG.integers(lo, hi + 1, shape).astype(np.int8)


def reseed(seed: int) -> None:
    """Weights of a hypothesis example, so that it can be repeated."""
    RNG.bit_generator.state = np.random.default_rng(seed).bit_generator.state


def as_int8(grid: tuple[np.float32, int, str]) -> tuple[np.float32, int]:
    return grid[0], grid[1] - (128 if grid[2] == "uint8" else 0)


def has_grid(graph: Graph, name: str, grid: tuple[np.float32, int, str]) -> bool:
    quant = graph.values[name].quant
    assert quant is not None
    return (quant.scale[0], quant.zero_point[0]) == as_int8(grid)


def spread(x: np.float32, w: Any, products: int) -> np.ndarray:
    """About the standard deviation of a sum of that many products of random integers."""
    return np.float32(np.max(x * np.asarray(w)) * 74 * 74 * np.sqrt(products))
