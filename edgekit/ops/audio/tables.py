"""Windows, twiddle factors, mel filters, the DCT and the logarithm: as reals and as integers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

from edgekit.ops.audio.settings import Settings
from edgekit.ops.fixedpoint import round_half_away

Q15 = 1 << 15
#: Fractional bits of logarithms, and how many bits of the mantissa choose an entry of their table.
LOG_BITS, LOG_INDEX_BITS = 16, 7


@cache
def window(s: Settings) -> np.ndarray:
    """float64 [frame_length]; Harris, "On the use of windows for harmonic analysis with the
    discrete Fourier transform", 1978."""
    if s.window == "none" or s.frame_length == 1:
        return np.ones(s.frame_length)
    turns = np.arange(s.frame_length) / (s.frame_length - (0 if s.periodic else 1))
    terms = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46), "blackman": (0.42, 0.5, 0.08)}[s.window]
    signs = (1, -1, 1)
    waves = [sign * term * np.cos(2 * np.pi * i * turns)
             for i, (sign, term) in enumerate(zip(signs, terms, strict=False))]  # fmt: skip
    return np.sum(waves, axis=0)


def with_edges(s: Settings, x: np.ndarray) -> np.ndarray:
    """Samples [n, N] with those that are made up in front and behind."""
    if not s.margin:
        return x
    mode: Literal["constant", "reflect"] = "constant" if s.edges == "zeros" else "reflect"
    return np.pad(x, ((0, 0), (s.margin, s.margin)), mode=mode)


@cache
def twiddles(fft_length: int) -> np.ndarray:
    """int16 [fft_length / 2, 2]: -cos and -sin of 2 pi k / fft_length in Q0.15.

    With the signs turned -1, which int16 has, stands where +1, which it has not, would be needed:
    factors of 1 and -i are exact.
    """
    angle = 2 * np.pi * np.arange(fft_length // 2) / fft_length
    both = np.stack([-np.cos(angle), -np.sin(angle)], 1)
    return np.clip(round_half_away(both * Q15), -32768, 32767).astype(np.int16)


def hz_to_mel(hz: np.ndarray, scale: str) -> np.ndarray:
    """ "htk": 2595 log10(1 + f / 700) (O'Shaughnessy); "slaney": linear to 1 kHz, then logarithmic
    (Slaney's Auditory Toolbox)."""
    hz = np.asarray(hz, np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    over = np.log(np.maximum(hz, 1000) / 1000) / (np.log(6.4) / 27)
    return np.where(hz < 1000, hz * 3 / 200, 15 + over)


def mel_to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    over = 1000 * np.exp((np.maximum(mel, 15) - 15) * (np.log(6.4) / 27))
    return np.where(mel < 15, mel * 200 / 3, over)


@cache
def mel_filters(s: Settings) -> np.ndarray:
    """float64 [mels, bins] of non-negative weights; mels + 2 edges equally far apart in mel."""
    ends = hz_to_mel(np.array([s.low_hz, s.high_hz]), s.mel_scale)
    mels = np.linspace(ends[0], ends[1], s.mels + 2)
    edges = mel_to_hz(mels, s.mel_scale)
    hz = np.arange(s.bins) * (s.sample_rate / s.fft_length)
    if s.mel_shape == "mel":
        at, corner = hz_to_mel(hz, s.mel_scale), mels
    elif s.mel_shape == "hz":
        at, corner = hz, edges
    else:
        at = np.arange(s.bins, dtype=np.float64)
        corner = np.floor((s.fft_length + 1) * edges / s.sample_rate)
    low, middle, high = corner[:-2, None], corner[1:-1, None], corner[2:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (at - low) / (middle - low), (high - at) / (high - middle)
    # A side of no width (two edges in one bin) counts for nothing.
    rising = np.where(middle > low, rising, np.where(at < middle, -1.0, np.inf))
    falling = np.where(high > middle, falling, np.where(at >= middle, -1.0, np.inf))
    weights = np.maximum(0, np.minimum(rising, falling))
    if s.mel_norm:
        weights = weights * (2 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(weights, np.float64)


@cache
def dct(s: Settings) -> np.ndarray:
    """float64 [coefficients, mels]: DCT-II with the lifter in its rows."""
    i, m = np.arange(s.coefficients)[:, None], np.arange(s.mels)[None, :]
    rows = 2 * np.cos(np.pi * i * (2 * m + 1) / (2 * s.mels))
    if s.dct_norm == "ortho":
        rows *= np.where(i == 0, np.sqrt(1 / (4 * s.mels)), np.sqrt(1 / (2 * s.mels)))
    if s.dct_norm == "tensorflow":
        rows *= np.sqrt(1 / (2 * s.mels))
    if s.lifter:
        rows *= 1 + s.lifter / 2 * np.sin(np.pi * i / s.lifter)
    return np.asarray(rows, np.float64)


@cache
def log2_table() -> np.ndarray:
    """int32 [129]: 2^16 log2(1 + i / 128)."""
    steps = 1 << LOG_INDEX_BITS
    table = np.log2(1 + np.arange(steps + 1) / steps) * (1 << LOG_BITS)
    return round_half_away(table).astype(np.int32)


@dataclass(frozen=True)
class Sparse:
    """Filters of int16 weights: those of band b are `weights[start[b]:start[b + 1]]` from bin
    `first[b]` on. A weight of 1 is `unit`."""

    first: np.ndarray
    count: np.ndarray
    weights: np.ndarray
    unit: float


@cache
def integer_filters(s: Settings) -> Sparse:
    """`mel_filters` in int16, the largest weight being 32767."""
    real = mel_filters(s)
    unit = 32767 / max(float(real.max()), 1e-300)
    rows = round_half_away(real * unit).astype(np.int16)
    first, count, weights = [], [], []
    for row in rows:
        used = np.flatnonzero(row)
        begin, end = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 0)
        first.append(begin)
        count.append(end - begin)
        weights.append(row[begin:end])
    return Sparse(
        np.array(first, np.int16), np.array(count, np.int16), np.concatenate(weights), unit
    )


@cache
def integer_window(s: Settings) -> np.ndarray:
    """int16 [frame_length], Q0.15; 1 is 32767."""
    return np.clip(round_half_away(window(s) * Q15), -32768, 32767).astype(np.int16)


@cache
def integer_dct(s: Settings) -> tuple[np.ndarray, float]:
    """int16 [coefficients, mels] with the largest magnitude 32767, and what 1 is in them."""
    real = dct(s)
    unit = 32767 / float(np.abs(real).max())
    return round_half_away(real * unit).astype(np.int16), unit
