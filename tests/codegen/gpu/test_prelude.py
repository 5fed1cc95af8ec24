"""The prelude's arithmetic on a device against the numpy reference, extremes included."""

from __future__ import annotations

import numpy as np
import pytest
from gpu_device import device

from codegen.gpu.kernel import Function, Launch, Place, Variant
from edgekit.ops import fixedpoint as fp

N = 4096
INT32 = np.iinfo(np.int32)


def run(body: str, operands: dict[str, tuple[str, np.ndarray]], result: str) -> np.ndarray:
    """`body` for each block of four, i, of arrays by name with their OpenCL type; int8 or int32."""
    params = "".join(f"__global const {t} *{n}, " for n, (t, _) in operands.items())
    text = f"__kernel void check({params}__global {result} *y)\n{{\n"
    text += f"    const int i = (int)get_global_id(0);\n    y[i] = {body};\n}}\n"
    names = tuple(Place("constant", name=n) for n in operands)
    function = Function("check", text)
    launch = Launch(function, (*names, Place("output")), (N // 4, 1, 1), (64, 1, 1))
    constants = {n: data for n, (_, data) in operands.items()}
    dtype = np.dtype({"char4": "int8", "int4": "int32"}[result])
    return (
        device()
        .run(Variant("check", (launch,), constants), [], [N * dtype.itemsize])[0]
        .view(dtype)
    )


def sums(chance: np.random.Generator) -> np.ndarray:
    """int32 of every magnitude, with both ends and what is next to zero."""
    x = chance.integers(INT32.min, INT32.max, N, endpoint=True, dtype=np.int64)
    x >>= chance.integers(0, 31, N)
    x[:6] = (INT32.min, INT32.max, 0, -1, 1, INT32.min + 1)
    return x.astype(np.int32)


@pytest.mark.parametrize("seed", range(2))
def test_requantization(seed: int) -> None:
    """Any shift there is, left ones that wrap too, with multipliers at both ends."""
    chance = np.random.default_rng(seed)
    acc = sums(chance)
    m = chance.integers(1 << 30, INT32.max, N, endpoint=True, dtype=np.int64).astype(np.int32)
    m[6:9] = (1 << 30, INT32.max, 0)
    shift = chance.integers(-31, 8, N, dtype=np.int32)
    operands = {"a": ("int4", acc), "m": ("int4", m), "s": ("int4", shift)}
    found = run("ek_requantize4(a[i], m[i], s[i], -7, -100, 90)", operands, "char4")
    scaled = fp.multiply_by_quantized_multiplier(acc.astype(np.int64), m, shift)
    want = np.clip(fp.wrap32(scaled - 7), -100, 90)
    np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("seed", range(2))
def test_requantization_to_the_right(seed: int) -> None:
    """Where it is exact: |acc| < 2^30 and right shifts of 2 to 30."""
    chance = np.random.default_rng(seed)
    acc = (sums(chance) >> 2).astype(np.int32)
    acc[:2] = (-(2**30) + 1, 2**30 - 1)
    m = chance.integers(1 << 30, INT32.max, N, endpoint=True, dtype=np.int64).astype(np.int32)
    shift = chance.integers(-30, -1, N, dtype=np.int32)
    halved = (-shift - 1).astype(np.int32)
    operands = {"a": ("int4", acc), "m": ("int4", m), "s": ("int4", halved)}
    found = run("ek_requantize_right4(a[i], m[i], s[i], 3, -128, 127)", operands, "char4")
    scaled = fp.multiply_by_quantized_multiplier(acc.astype(np.int64), m, shift)
    np.testing.assert_array_equal(found, np.clip(scaled + 3, -128, 127))


@pytest.mark.parametrize("function", ["ek_mad4", "ek_dot4x4"])
def test_products(function: str) -> None:
    chance = np.random.default_rng(0)
    x = chance.integers(-128, 128, N).astype(np.int8)
    w = chance.integers(-128, 128, 4 * N).astype(np.int8)
    x[:8], w[:16], w[16:32] = -128, -128, 127
    blocks, weights = x.reshape(-1, 4).astype(int), w.reshape(-1, 4, 4).astype(int)
    order = "bi,bio->bo" if function == "ek_mad4" else "bi,boi->bo"
    found = run(f"{function}(x[i], w[i])", {"x": ("char4", x), "w": ("char16", w)}, "int4")
    np.testing.assert_array_equal(found.reshape(-1, 4), np.einsum(order, blocks, weights))


def test_gaps_are_zero() -> None:
    x = np.random.default_rng(0).integers(-128, 128, N).astype(np.int8)
    for count in range(1, 6):
        found = run(f"ek_lanes4(x[i], {count})", {"x": ("char4", x)}, "char4").reshape(-1, 4)
        assert not found[:, count:].any()
        np.testing.assert_array_equal(found[:, :count], x.reshape(-1, 4)[:, :count])
