"""ek_kernel.h, ek_dsp.h and ek_softmax.c against numpy: portable on the host, DSP on the M4."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_math import (
    DOTS,
    DOTS_W4,
    EDGES,
    INT32_MAX,
    INT32_MIN,
    Call,
    each_way,
    host_functions,
    int32,
    m4_library,
    multipliers,
    on_host,
    on_m4,
    random,
    same,
    zeros,
)

from edgekit.devices.emulators.bench import InOut
from edgekit.ops import fixedpoint as fp

call = each_way


def test_srdhm(call: Call) -> None:
    a, b = (x.ravel() for x in np.meshgrid(EDGES, EDGES))
    a = np.concatenate([a, random(call, INT32_MIN, INT32_MAX)])
    b = np.concatenate([b, random(call, INT32_MIN, INT32_MAX, 1)])
    found = call("each_srdhm", [int32(a), int32(b)], zeros(len(a)), len(a))
    same(found, fp.saturating_rounding_doubling_high_mul(a, b))


def test_rounding_shift(call: Call) -> None:
    halves = [s * (k << e) + d for e in range(31) for k in (1, 3) for s in (1, -1)
              for d in (-1, 0, 1) if abs(s * (k << e) + d) <= INT32_MAX]  # fmt: skip
    x, e = np.meshgrid(np.concatenate([EDGES, halves]), np.arange(32))
    some = random(call, INT32_MIN, INT32_MAX)
    x = np.concatenate([x.ravel(), some])
    e = np.concatenate([e.ravel(), np.arange(len(some)) % 32])
    found = call("each_rounding_shift", [int32(x), int32(e)], zeros(len(x)), len(x))
    same(found, fp.rounding_divide_by_pot(x, e))


def test_multiply_and_requantize(call: Call) -> None:
    x = np.concatenate([np.repeat(EDGES, 62), random(call, INT32_MIN, INT32_MAX)])
    shift = np.arange(len(x)) % 62 - 31
    m = multipliers(len(x))
    rows = int32(np.stack([x, m, shift], 1)).ravel()
    wanted = fp.multiply_by_quantized_multiplier(x, m, shift)
    same(call("each_multiply", [rows], zeros(len(x)), len(x)), wanted)
    zero = np.array([-128, -1, 0, 5, 127])[np.arange(len(x)) % 5]
    low = np.maximum(np.array([-128, -100, 0])[np.arange(len(x)) % 3], -128)
    rows = int32(np.stack([x, m, shift, zero, low, np.full(len(x), 120)], 1)).ravel()
    found = call("each_requantize", [rows], zeros(len(x)), len(x))
    same(found, np.clip(fp.wrap32(wanted + zero), low, 120))


def test_average_is_exact_for_every_sum_of_a_window(call: Call) -> None:
    counts = range(1, 65) if call is on_host else (1, 2, 3, 7, 16)
    pairs = [(s, n) for n in counts for s in range(-128 * n, 127 * n + 1)]
    total, n = np.array(pairs).T
    found = call("each_average", [int32(total), int32(n)], zeros(len(n)), len(n))
    nudged = np.where(total > 0, total + n // 2, total - n // 2)
    same(found, np.sign(nudged) * (np.abs(nudged) // n))


def test_clamps_and_words(call: Call) -> None:
    x = np.concatenate([np.arange(-400, 400), EDGES])
    rows = int32(np.stack([x, np.full(len(x), -128), np.full(len(x), 127)], 1)).ravel()
    same(call("each_clamp8", [rows], zeros(len(x)), len(x)), np.clip(x, -128, 127))
    same(call("each_ssat8", [int32(x)], zeros(len(x)), len(x)), np.clip(x, -128, 127))
    bytes_ = np.arange(-128, 128).astype(np.int8)
    four = np.stack([bytes_, bytes_[::-1], np.roll(bytes_, 1), np.roll(bytes_, 99)], 1)
    pairs = call("each_pack4", [four.ravel()], np.zeros(1024, np.int16), 256).reshape(-1, 4)
    same(pairs, 2 * four[:, [0, 2, 1, 3]].astype(np.int16))
    copied = call("each_int8x4", [four.ravel()], np.zeros(2048, np.int8), 256).reshape(-1, 8)
    same(copied, np.concatenate([four, np.repeat(four[:, :1], 4, 1)], 1))


def test_four_bit_weights(call: Call) -> None:
    """Every byte, lower and upper half, the byte sign-extended as a kernel loads it."""
    byte, upper = (x.ravel() for x in np.meshgrid(np.arange(-128, 128), [0, 1]))
    found = call("each_int4", [int32(byte), int32(upper)], zeros(512), 512)
    low = (byte + 8) % 16 - 8
    same(found, np.where(upper == 1, byte >> 4, low))


def test_dsp_instructions(call: Call) -> None:
    a = np.concatenate([np.repeat(EDGES, len(EDGES)), random(call, INT32_MIN, INT32_MAX)])
    b = np.concatenate([np.tile(EDGES, len(EDGES)), random(call, INT32_MIN, INT32_MAX, 1)])
    acc, n = a[::-1].copy(), len(a)
    ia, ib, c = int32(a), int32(b), int32(acc)
    high = (a * b + 2**31) >> 32
    same(call("each_smmulr", [ia, ib], zeros(n), n), high)
    same(call("each_smmlar", [ia, ib], c, n), fp.wrap32(acc + high))
    halves = [x.view(np.int16).reshape(-1, 2).astype(np.int64) for x in (ia, ib)]
    same(call("each_smlad", [ia, ib], c, n), fp.wrap32(acc + (halves[0] * halves[1]).sum(1)))
    inside = np.clip(a, -(2**30), 2**30)  # all that a doubling high product of it can be
    same(call("each_add_sign", [int32(inside)], zeros(n), n), inside - (inside < 0))


def test_softmax_at_every_size_of_the_sum(call: Call) -> None:
    """Sums from one channel to 4095 of them; the last shift exceeds 31 from 512 on."""
    powers = [min(1 << k, INT32_MAX) + d for k in range(19, 32) for d in (-1, 0, 1)]
    sums = np.array([*powers, *range(2**28 - 3, 2**28 + 4), *(c << 19 for c in range(1, 4096, 13))])
    sums = sums[(sums >= 2**19) & (sums <= INT32_MAX)]
    e = np.array([0, 1, 2**12, 2**30 - 1, 2**30, 2**30 + 12345, INT32_MAX - 1, INT32_MAX])
    sums, e = (x.ravel() for x in np.meshgrid(sums, e))
    if call is on_host:
        some = np.random.default_rng(3).integers(2**19, INT32_MAX, 200_000)
        sums = np.concatenate([sums, some])
        e = np.concatenate([e, np.random.default_rng(4).integers(0, 2**31, len(some))])
    scale, over_unit = fp.reciprocal(sums, 12)
    shift = over_unit + 31 - 8
    product = fp.saturating_rounding_doubling_high_mul(scale, e)
    wanted = np.clip(fp.rounding_divide_by_pot(product, shift) - 128, -128, 127)
    n = len(sums)
    same(call("each_softmax", [int32(sums), int32(e)], zeros(n), n), wanted)
    found = call("each_softmax_scale", [int32(sums)], zeros(n), n)
    same(found, np.where(shift > 31, 0, scale))


ZERO_POINTS = np.array([-128, -127, -1, 0, 1, 12, 126, 127])


def rescaled(call: Call, acc: np.ndarray, e: np.ndarray) -> None:
    n = len(acc)
    m = multipliers(n, 5)
    zero = ZERO_POINTS[np.arange(n) % len(ZERO_POINTS)]
    rows = int32(np.stack([2 * acc, m, np.int64(1) << (32 - e), zero], 1)).ravel()
    wanted = fp.multiply_by_quantized_multiplier(acc, m, -e) + zero
    same(call("each_rescale", [rows], zeros(n), n), wanted)
    found = call("each_rescale_relu", [rows], zeros(n), n)
    same(np.maximum(found, zero), np.maximum(wanted, zero))
    rows = int32(np.stack([acc, m, e - 1, zero], 1)).ravel()
    same(call("each_rescaled_right", [rows], zeros(n), n), wanted)


def test_rescale_is_exact(call: Call) -> None:
    limit = 2**30 - 1
    edge = np.concatenate([EDGES[np.abs(EDGES) <= limit], [limit, -limit, limit - 1, 1 - limit]])
    acc, e = (x.ravel() for x in np.meshgrid(np.repeat(edge, 8), np.arange(2, 31)))
    rescaled(call, acc, e)
    some = random(call, -limit, limit)
    rescaled(call, some, 2 + np.arange(len(some)) % 29)


def test_rescale_around_every_half(call: Call) -> None:
    """Accumulators next to those whose result lies half way: m = 2^30 makes halves exact."""
    e = np.repeat(np.arange(2, 31), 400)
    k = np.random.default_rng(6).integers(-(2**30), 2**30, len(e)) >> (e + 1)
    acc = (k << (e + 1)) + (np.int64(1) << e) + np.arange(len(e)) % 5 - 2
    keep = np.abs(acc) < 2**30
    for multiplier in (2**30, 2**30 + 1):
        n = int(keep.sum())
        zero = ZERO_POINTS[np.arange(n) % len(ZERO_POINTS)]
        power = np.int64(1) << (32 - e[keep])
        m = np.full(n, multiplier)
        rows = int32(np.stack([2 * acc[keep], m, power, zero], 1)).ravel()
        wanted = fp.multiply_by_quantized_multiplier(acc[keep], m, -e[keep]) + zero
        same(call("each_rescale", [rows], zeros(n), n), wanted)
        found = call("each_rescale_relu", [rows], zeros(n), n)
        same(np.maximum(found, zero), np.maximum(wanted, zero))


@settings(max_examples=300, deadline=None)
@given(st.integers(1 - 2**30, 2**30 - 1), st.integers(2**30, 2**31 - 1), st.integers(2, 30),
       st.integers(-128, 127))  # fmt: skip
def test_rescale_anywhere(acc: int, m: int, e: int, zero: int) -> None:
    row = int32([2 * acc, m, 1 << (32 - e), zero])
    wanted = int(fp.multiply_by_quantized_multiplier(acc, m, -e)) + zero
    assert on_host("each_rescale", [row], zeros(1), 1)[0] == wanted
    assert max(on_host("each_rescale_relu", [row], zeros(1), 1)[0], zero) == max(wanted, zero)
    row = int32([acc, m, e - 1, zero])
    for short in (False, True):
        found = on_host("each_rescaled_right", [row], zeros(1), 1, short=short)
        assert found[0] == wanted


def dot_operands(steps: int, fill: str, pixels: int, channels: int) -> tuple[np.ndarray, ...]:
    chance = np.random.default_rng(steps)
    if fill == "random":
        x = chance.integers(-128, 128, (steps, pixels, 4))
        w = chance.integers(-128, 128, (steps, channels, 4))
    else:
        a, b = (int(v) for v in fill.split("*"))
        x, w = np.full((steps, pixels, 4), a), np.full((steps, channels, 4), b)
    return x, w, chance.integers(-(2**24), 2**24, max(pixels, channels))


@pytest.mark.parametrize("fill", ["random", "-128*-128", "-128*127", "127*127"])
@pytest.mark.parametrize("name", DOTS)
def test_dots(call: Call, name: str, fill: str) -> None:
    pixels, channels = (5, 1) if name == "ek_dot_5x1" else (1, 4)
    for steps in range(1, 41):
        x, w, acc = dot_operands(steps, fill, pixels, channels)
        pairs = np.ascontiguousarray(2 * x[..., [0, 2, 1, 3]], np.int16)
        wanted = acc + 2 * np.einsum("spk,sck->pc", x, w).ravel()
        same(dot(call, name, pairs, w.astype(np.int8), steps, int32(acc)), wanted)


@pytest.mark.parametrize("fill", ["random", "-128*-8", "-128*7", "127*-8", "127*7"])
@pytest.mark.parametrize("name", DOTS_W4)
def test_dots_with_four_bit_weights(call: Call, name: str, fill: str) -> None:
    """A step is two groups of four: weights 0-3 in the lower, 4-7 in the upper halves."""
    pixels, channels = (5, 1) if name.startswith("ek_dot_5x1") else (1, 4)
    for steps in range(1, 41):
        x, w, acc = dot_operands(2 * steps, fill, pixels, channels)
        w = np.clip(w, -8, 7) if fill != "random" else (w + 8) % 16 - 8
        change = 2 * np.einsum("spk,sck->pc", x, w).ravel()
        # As far as the header allows, before as well as after, on one side or the other.
        largest = (1 << 27) - 1
        acc[0] = largest - max(change[0], 0)
        acc[-1] = -largest - min(change[-1], 0)
        low, high = w[0::2], w[1::2]
        packed = ((low & 15) | (high & 15) << 4).astype(np.uint8).view(np.int8)
        pairs = np.ascontiguousarray(2 * x[..., [0, 2, 1, 3]], np.int16)
        same(dot(call, name, pairs, packed, steps, int32(acc)), acc + change)


def dot(
    call: Call, name: str, pairs: np.ndarray, w: np.ndarray, steps: int, acc: np.ndarray
) -> np.ndarray:
    if call is on_m4:
        done = m4_library("zig").call(
            name, [pairs.tobytes(), w.tobytes(), steps, InOut(acc.tobytes())]
        )
        return np.frombuffer(done.outputs[0], np.int32)
    result = acc.copy()
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (pairs, w, result)]
    getattr(host_functions(), name)(*pointers[:2], steps, pointers[2])
    return result
