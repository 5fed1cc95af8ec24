"""Features in integers, bit for bit as docs/SPEC.md, "Signal processing", defines them.

All arrays are int64 or uint64; the bounds in SPEC say which of them a back end may keep in 32 bits.
"""

from __future__ import annotations

import numpy as np

from edgekit.graph import Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.audio import tables
from edgekit.ops.audio.plan import NOISE_BITS, POWER_DROP, Ending, Plan, ending_of, plan_of
from edgekit.ops.audio.settings import Settings


def features(
    s: Settings, samples: np.ndarray, out: Value, noise: np.ndarray | None = None
) -> np.ndarray:
    """Integers [n, frames, features] of the result `out` from int16 samples [n, N].

    Args:
        noise: int64 [n, bands] noise estimate of the frames before, updated in place.
    """
    plan = plan_of(s)
    ending = ending_of(s, plan, out)
    shape = (len(samples), s.frames(samples.shape[1]))
    # Some frames at a time, so that the spectra stay small.
    parts = [np.empty((0, s.bands), np.uint64)]
    shifts = [np.empty(0, np.int64)]
    frames = windowed(s, samples.astype(np.int64)).reshape(-1, s.frame_length)
    for i in range(0, len(frames), 256):
        energy, k = energies(s, plan, frames[i : i + 256])
        parts.append(energy)
        shifts.append(k)
    energy = np.concatenate(parts).reshape(*shape, s.bands)
    k = np.concatenate(shifts).reshape(*shape, 1)
    if s.tracks_noise:
        v = tracked(s, plan, energy, k, np.zeros((shape[0], s.bands), np.int64)
                    if noise is None else noise)  # fmt: skip
    elif s.log != "none":
        floor = np.uint64(plan.floor) >> (plan.slope * (plan.most_shift - k)).astype(np.uint64)
        floor = np.maximum(floor, np.uint64(1))
        energy = np.maximum(energy, floor) if s.floor_kind == "max" else energy + floor
        v = log2(energy) - ((plan.slope * k) << tables.LOG_BITS) - plan.offset
    else:
        right = (plan.slope * k + ending.shrink).astype(np.uint64)
        v = np.minimum(energy >> right, np.uint64(1 << 30)).astype(np.int64)
    if s.coefficients:
        rows = tables.integer_dct(s)[0].astype(np.int64)
        v = (v @ rows.T + (1 << 14)) >> 15
    return requantized(v, ending, out.dtype)


def windowed(s: Settings, x: np.ndarray) -> np.ndarray:
    """int64 [n, frames, frame_length] below 2^30 + 1 of samples [n, N]."""
    p = x << 15
    if s.preemphasis:
        a = int(fp.round_half_away(s.preemphasis * 2**15))
        p = p.copy()
        p[:, 1:] -= min(a, 32767) * x[:, :-1]
    starts = s.lead + s.hop * np.arange(s.frames(x.shape[1]))
    p = tables.with_edges(s, p)
    p = p[:, starts[:, None] + np.arange(s.frame_length)]
    w = tables.integer_window(s).astype(np.int64)
    if s.preemphasis:
        return (p >> 1) if s.window == "none" else (p * w) >> 16
    return p if s.window == "none" else (p >> 15) * w


def energies(s: Settings, plan: Plan, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint64 [frames, bands] and the left shifts k [frames] of windowed frames."""
    largest = np.where(frames < 0, ~frames, frames).max(axis=1)
    bits = np.frexp(largest.astype(np.float64))[1].astype(np.int64)
    k = np.minimum(31 - bits, plan.most_shift)
    up, down = np.maximum(k - 2, 0)[:, None], np.maximum(2 - k, 0)[:, None]
    x = np.zeros((len(frames), s.fft_length), np.int64)
    x[:, : s.frame_length] = (frames << up) >> down
    re, im = spectrum(x)
    power = (re * re + im * im).astype(np.uint64)
    bins = power >> np.uint64(POWER_DROP) if s.spectrum == "power" else root(power)
    if not s.mels:
        return bins, k
    filters = tables.integer_filters(s)
    out = np.zeros((len(frames), s.mels), np.uint64)
    at = 0
    for b, (first, count) in enumerate(zip(filters.first, filters.count, strict=True)):
        weights = filters.weights[at : at + count].astype(np.uint64)
        out[:, b] = bins[:, first : first + count] @ weights
        at += int(count)
    return out, k


def spectrum(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(re, im), each int64 [frames, N / 2 + 1]: the transform of x [frames, N] divided by N.

    Even samples are the real and odd ones the imaginary parts of N / 2 complex numbers, whose
    transform (radix 2, decimation in time, every stage halved) is then taken apart.
    """
    size = x.shape[1]
    half = size // 2
    c, s = (t.astype(np.int64) for t in tables.twiddles(size).T)
    order = _bit_reversed(half)
    re, im = x[:, 0::2][:, order].copy(), x[:, 1::2][:, order].copy()
    span = 1
    while span < half:
        shape = (len(x), half // (2 * span), 2, span)
        r, i = re.reshape(shape), im.reshape(shape)
        w = slice(0, None, size // (2 * span))
        br, bi = r[:, :, 1], i[:, :, 1]
        ur = _times(br, c[w][:span]) + _times(bi, s[w][:span])
        ui = _times(bi, c[w][:span]) - _times(br, s[w][:span])
        ar, ai = r[:, :, 0] >> 1, i[:, :, 0] >> 1
        re = np.stack([ar - ur, ar + ur], 2).reshape(len(x), half)
        im = np.stack([ai - ui, ai + ui], 2).reshape(len(x), half)
        span *= 2
    return _apart(re, im, c, s)


def _apart(
    zr: np.ndarray, zi: np.ndarray, c: np.ndarray, s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The spectrum of the real samples from the transform of their pairs; halved once."""
    half = zr.shape[1]
    re = np.zeros((len(zr), half + 1), np.int64)
    im = np.zeros_like(re)
    k = np.arange(1, half // 2 + 1)
    ar, ai, br, bi = zr[:, k] >> 1, zi[:, k] >> 1, zr[:, half - k] >> 1, zi[:, half - k] >> 1
    er, ei, odd_r, odd_i = ar + br, ai - bi, ai + bi, br - ar
    ur = _times(odd_r, c[k]) + _times(odd_i, s[k])
    ui = _times(odd_i, c[k]) - _times(odd_r, s[k])
    re[:, half - k], im[:, half - k] = (er >> 1) + ur, -((ei >> 1) + ui)
    re[:, k], im[:, k] = (er >> 1) - ur, (ei >> 1) - ui
    re[:, 0] = (zr[:, 0] >> 1) + (zi[:, 0] >> 1)
    re[:, half] = (zr[:, 0] >> 1) - (zi[:, 0] >> 1)
    return re, im


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """floor(a b / 2^16): half of the product with a Q0.15 number."""
    return (a * b) >> 16


def _bit_reversed(size: int) -> np.ndarray:
    bits = size.bit_length() - 1
    order = np.zeros(size, np.int64)
    for bit in range(bits):
        order |= ((np.arange(size) >> bit) & 1) << (bits - 1 - bit)
    return order


def root(v: np.ndarray) -> np.ndarray:
    """uint64 square roots with 16 bits: floor(sqrt(v >> 2 e)) << e, e the least for 32 bits."""
    shift = np.maximum(0, (_bits(v) - 31) >> 1).astype(np.uint64)
    small = v >> (2 * shift)
    # Exact: sqrt of 32 bits in float64 is not rounded up to an integer it does not reach.
    return np.floor(np.sqrt(small.astype(np.float64))).astype(np.uint64) << shift


def log2(v: np.ndarray) -> np.ndarray:
    """int64 2^16 log2(v) of uint64 v >= 1: linear between 129 entries of a table."""
    whole = _bits(v) - 1
    fraction = (v << (63 - whole).astype(np.uint64)).astype(np.uint64) >> np.uint64(32)
    m = fraction.astype(np.int64) & 0x7FFFFFFF
    table = tables.log2_table().astype(np.int64)
    i, rest = m >> 24, (m >> 8) & 0xFFFF
    between = ((table[i + 1] - table[i]) * rest + (1 << 15)) >> 16
    return (whole << tables.LOG_BITS) + table[i] + between


def _bits(v: np.ndarray) -> np.ndarray:
    """int64: the number of bits of uint64 v, 0 of 0."""
    high, low = (v >> np.uint64(32)).astype(np.float64), (v & np.uint64(0xFFFFFFFF))
    of_low = np.frexp(low.astype(np.float64))[1].astype(np.int64)
    return np.where(high > 0, np.frexp(high)[1].astype(np.int64) + 32, of_low)


def tracked(
    s: Settings, plan: Plan, energy: np.ndarray, k: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Logarithms [n, frames, bands] after noise reduction and gain; `noise` is updated."""
    amplitude = root(energy) if s.spectrum == "power" else energy
    up, down = max(-plan.drop, 0), max(plan.drop, 0)
    a = ((amplitude << np.uint64(up)) >> (k + down).astype(np.uint64)).astype(np.int64)
    out = np.empty(a.shape, np.int64)
    for t in range(a.shape[1]):
        noise += (((a[:, t] << NOISE_BITS) - noise) * plan.smoothing) >> 15
        estimate = noise >> NOISE_BITS
        left = np.maximum(a[:, t] - estimate, (a[:, t] * plan.remaining) >> 15)
        v = log2(np.maximum(left, 1).astype(np.uint64))
        if plan.strength:
            gain = log2((estimate + plan.gain_offset).astype(np.uint64))
            v = v - ((gain * plan.strength) >> 15)
        out[:, t] = np.maximum(v - plan.offset, plan.log_floor)
    return out


def requantized(v: np.ndarray, ending: Ending, dtype: str) -> np.ndarray:
    limited = np.clip(v - ending.mean, -ending.limit, ending.limit)
    y = fp.multiply_by_quantized_multiplier(limited, ending.multiplier, ending.shift)
    info = np.iinfo(dtype)
    return np.clip(y + ending.zero_point, info.min, info.max).astype(dtype)
