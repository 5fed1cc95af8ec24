"""What 16-bit and float32 layers call, against numpy: portable on the host, and on the M4."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_math import (
    INT32_MAX,
    INT32_MIN,
    Call,
    each_way,
    int32,
    m4_library,
    multipliers,
    on_host,
    random,
    same,
    zeros,
)
from tools import need

from edgekit.devices.emulators.bench import InOut
from edgekit.graph import Quant, Value
from edgekit.ops import convert
from edgekit.ops import fixedpoint as fp

call = each_way


def test_requantize_to_16_bits(call: Call) -> None:
    x = random(call, INT32_MIN, INT32_MAX)
    shift, m = np.arange(len(x)) % 40 - 31, multipliers(len(x))
    low = np.array([-32768, -100, 0])[np.arange(len(x)) % 3]
    rows = int32(np.stack([x, m, shift, shift * 0, low, np.full(len(x), 32767)], 1)).ravel()
    wanted = np.clip(fp.multiply_by_quantized_multiplier(x, m, shift), low, 32767)
    same(call("each_requantize16", [rows], zeros(len(x)), len(x)), wanted)
    same(call("each_ssat16", [int32(x)], zeros(len(x)), len(x)), np.clip(x, -32768, 32767))


def test_softmax_in_16_bits(call: Call) -> None:
    table = fp.interpolation_table(np.exp, -10.0, 0.0)
    v = np.arange(-32768, 32768, 1 if call is on_host else 17)
    entry = 256 + (v >> 7)
    rows = int32(np.stack([table[entry], table[entry + 1], v & 127], 1)).ravel()
    same(call("each_interpolate", [rows], zeros(len(v)), len(v)), fp.interpolate(table, v))

    d = -np.abs(v) * 2 + 1
    shift = np.arange(len(d)) % 20 - 15
    m = multipliers(len(d))
    rows = int32(np.stack([d, m, shift], 1)).ravel()
    scaled = fp.multiply_by_quantized_multiplier(d, m, shift)
    wanted = np.clip(scaled + 32767, -32768, 32767)
    same(call("each_softmax16_at", [rows], zeros(len(d)), len(d)), wanted)

    total = np.concatenate([np.geomspace(32762, 4095 * 32762, len(v)).astype(np.int64), [1, 2]])
    leading = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)
    shifted = ((total << (leading - 1)) + (1 << 13)) >> 14
    wanted = np.clip(shifted - (1 << 15) - (1 << 16), -32768, 32767)
    found = call("each_softmax16_inverse_at", [int32(total)], zeros(len(total)), len(total))
    same(found, wanted)

    chance = np.random.default_rng(0)
    e, share = chance.integers(0, 32763, len(total)), chance.integers(16384, 32768, len(total))
    right = 31 - leading
    wanted = np.clip((e * share + ((np.int64(1) << right) >> 1)) >> right, 0, 32767)
    rows = int32(np.stack([e, share], 1)).ravel()
    found = call("each_softmax16_value", [rows, int32(total)], zeros(len(total)), len(total))
    same(found, wanted)


@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", -7), ("int8", 127), ("int16", 0)])
def test_conversions(call: Call, dtype: str, zero_point: int) -> None:
    chance = np.random.default_rng(1)
    n = 100_000 if call is on_host else 6_000
    scale = np.exp(chance.uniform(-12, 3, n)).astype(np.float32)
    steps = chance.integers(-40_000, 40_000, n) / np.array([1, 2, 4, 1000])[np.arange(n) % 4]
    x = (steps * scale).astype(np.float32)
    x[:6] = np.array([3e38, -3e38, 0.0, -0.0, 1e-45, np.inf], np.float32)
    scale[:4] = np.array([1e-30, 1e-30, 1, 1], np.float32)
    info = np.iinfo(dtype)
    rows = int32(np.tile([zero_point, info.min, info.max], (n, 1))).ravel()
    found = call("each_quantize", [x, scale, rows], zeros(n), n)
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = np.clip(
            fp.round_half_away(x / scale).astype(np.float64) + zero_point, info.min, info.max
        )
    same(found, wanted)

    q = chance.integers(info.min, info.max + 1, n)
    rows = int32(np.stack([q, np.full(n, zero_point)], 1)).ravel()
    found = call("each_dequantize", [rows, scale], np.zeros(n, np.float32), n)
    np.testing.assert_array_equal(found, (q - zero_point).astype(np.float32) * scale)


def test_quantize_is_that_of_the_host(call: Call) -> None:
    """ek_quantize and `edgekit.data.quantize` are one function: halves, and what is near them."""
    scale = np.float32(0.1)
    halves = (np.arange(-300, 300) + np.float32(0.5)) * scale
    x = np.concatenate([np.nextafter(halves, np.float32(s * 1e9)) for s in (-1, 1)] + [halves])
    x = x.astype(np.float32)
    value = Value("x", (1, len(x)), "int8", Quant.make(scale, 5))
    rows = int32(np.tile([5, -128, 127], (len(x), 1))).ravel()
    found = call("each_quantize", [x, np.full(len(x), scale), rows], zeros(len(x)), len(x))
    same(found, convert.quantize(value, x))


def test_clamp_of_reals(call: Call) -> None:
    x = np.random.default_rng(2).normal(0, 5, 3000).astype(np.float32)
    rows = np.tile(np.array([-1, 6], np.float32), len(x))
    found = call("each_clampf", [x, rows], np.zeros_like(x), len(x))
    np.testing.assert_array_equal(found, np.clip(x, np.float32(-1), np.float32(6)))


def _products(n: int = 4000) -> list[np.ndarray]:
    chance = np.random.default_rng(3)
    return [chance.normal(0, 1, n).astype(np.float32) for _ in range(3)]


def test_products_and_sums_are_rounded_one_by_one(call: Call) -> None:
    x, w, acc = _products()
    fused = (acc.astype(np.float64) + x.astype(np.float64) * w).astype(np.float32)
    wanted = acc + x * w
    assert (fused != wanted).sum() > 100  # else the numbers would show nothing
    np.testing.assert_array_equal(call("each_multiply_add", [x, w], acc, len(x)), wanted)


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=pytest.mark.apt)])
def test_whatever_the_flags_of_a_project_are(compiler: str) -> None:
    """The header forbids fusing, also where the command line asks for it."""
    if compiler == "gcc":
        need("arm-none-eabi-gcc")
    bench = m4_library(compiler, ("-std=gnu11", "-ffp-contract=fast"))
    x, w, acc = _products(1000)
    done = bench.call("each_multiply_add", [x.tobytes(), w.tobytes(), InOut(acc.tobytes()), len(x)])
    np.testing.assert_array_equal(np.frombuffer(done.outputs[0], np.float32), acc + x * w)
