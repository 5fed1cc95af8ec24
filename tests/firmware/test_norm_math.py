"""ek_norm.h and ek_wide.h against numpy, on the host and on the virtual M4."""

from __future__ import annotations

import numpy as np
from kernel_math import INT32_MAX, Call, each_way, int32, random, same, zeros

from edgekit.ops import fixedpoint as fp
from edgekit.ops.normalize import floor_sqrt, inverse_root

call = each_way


def wide_numbers(seed: int = 0) -> np.ndarray:
    """uint64 numbers of every size, squares and their neighbours, and both ends."""
    r = np.random.default_rng(seed)
    some = r.integers(0, 2**64, 1500, dtype=np.uint64) >> r.integers(0, 64, 1500).astype(np.uint64)
    squares = r.integers(1, 2**32, 1500, dtype=np.uint64) ** 2
    one = np.uint64(1)
    ends = np.array([0, 1, 2, 3, 4, 2**31, 2**32, 2**62, 2**63, 2**64 - 1], np.uint64)
    return np.concatenate([ends, some, squares, squares - one, squares + one])


def halves(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(np.int32)


def test_floor_sqrt(call: Call) -> None:
    x = wide_numbers()
    x = x[x >= np.uint64(2**62)]
    x = np.concatenate([x, *([k + np.uint64(2**62)] for k in np.arange(64, dtype=np.uint64))])
    roots = np.random.default_rng(7).integers(2**31, 2**32, 2000, dtype=np.uint64)
    x = np.concatenate([x, roots**2, roots**2 - np.uint64(1), roots**2 + np.uint64(1)])
    x = x[x >= np.uint64(2**62)]
    found = call("each_norm_floor_sqrt", [halves(x)], zeros(len(x)), len(x))
    np.testing.assert_array_equal(found.view(np.uint32), floor_sqrt(x))


def test_inverse_root(call: Call) -> None:
    x = wide_numbers(1)
    found = call("each_norm_inverse_root", [halves(x)], zeros(2 * len(x)), len(x))
    inverse, pairs = inverse_root(np.maximum(x, np.uint64(1)))
    same(found, np.stack([inverse, pairs], 1).ravel())


def test_scaled_and_affine(call: Call) -> None:
    r = np.random.default_rng(2)
    d = random(call, -INT32_MAX, INT32_MAX)
    inverse, right = r.integers(2**30, 2**31, len(d)), r.integers(9, 41, len(d))
    d = np.clip(d, -(2 ** np.minimum(right - 1, 30)), 2 ** np.minimum(right - 1, 30))
    want = (d * inverse + (np.int64(1) << (right - 1))) >> right
    rows = int32(np.stack([d, inverse, right], 1)).ravel()
    same(call("each_norm_scaled", [rows], zeros(len(d)), len(d)), want)
    x = random(call, -(2**30), 2**30, 3)
    gamma = r.integers(-32767, 32768, len(x))
    beta = random(call, -INT32_MAX, INT32_MAX, 4)
    rows = int32(np.stack([x, gamma, beta], 1)).ravel()
    want = fp.wrap32((x * gamma >> 16) + beta)
    same(call("each_norm_affine", [rows], zeros(len(x)), len(x)), want)


def test_inverse_sqrt(call: Call) -> None:
    x = np.concatenate([np.arange(200), 2 ** np.arange(31), [INT32_MAX],
                        np.abs(random(call, 0, INT32_MAX))])  # fmt: skip
    found = call("each_norm_inverse_sqrt", [int32(x)], zeros(2 * len(x)), len(x))
    same(found, np.stack(fp.inverse_sqrt(x), 1).ravel())


def test_logarithm(call: Call) -> None:
    some = np.abs(random(call, 1 << 19, INT32_MAX))
    x = np.concatenate([1 << np.arange(19, 31), [INT32_MAX], some[some >= 1 << 19]])
    found = call("each_norm_log", [int32(x)], zeros(len(x)), len(x))
    same(found, fp.log_of_at_least_one(x, 12, 5))


def test_wide_requantization(call: Call) -> None:
    r = np.random.default_rng(5)
    count = 3000
    acc = r.integers(-(2**47), 2**47, count) >> r.integers(0, 47, count)
    multiplier, shift = r.integers(0, 2**15, count), r.integers(8, 47, count)
    zero = r.integers(-128, 128, count)
    rows = np.concatenate([halves(acc).reshape(-1, 2), np.stack([multiplier, shift, zero], 1)], 1)
    want = np.clip(((acc * multiplier + (1 << (shift - 1))) >> shift) + zero, -32768, 32767)
    same(call("each_wide", [int32(rows).ravel()], zeros(count), count), want)
