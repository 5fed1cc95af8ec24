"""Features in real numbers: what the integer form approximates, and what calibration sees."""

from __future__ import annotations

import numpy as np

from edgekit.ops.audio import tables
from edgekit.ops.audio.settings import LOG_UNITS, Settings


def features(s: Settings, samples: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
    """float64 [n, frames, features] of samples [n, N] between -1 and 1.

    Args:
        noise: running estimate [n, bands] of the frames before, updated in place; None starts
            from silence.
    """
    x = samples.astype(np.float64)
    if s.preemphasis:
        x = np.concatenate([x[:, :1], x[:, 1:] - s.preemphasis * x[:, :-1]], axis=1)
    x = tables.with_edges(s, x)
    starts = s.lead + s.hop * np.arange(s.frames(samples.shape[1]))
    frames = x[:, starts[:, None] + np.arange(s.frame_length)] * tables.window(s)
    y = energies(s, frames)
    if s.tracks_noise:
        y = without_noise(s, y, np.zeros_like(y[:, 0]) if noise is None else noise)
    if s.log != "none":
        y = np.maximum(y, s.floor) if s.floor_kind == "max" or s.tracks_noise else y + s.floor
        y = np.log2(y) * LOG_UNITS[s.log]
    if s.coefficients:
        y = y @ tables.dct(s).T
    return np.asarray((y - s.mean) / s.std)


def energies(s: Settings, frames: np.ndarray) -> np.ndarray:
    """float64 [..., bands] of windowed frames [..., frame_length], times the factor."""
    spectrum = np.abs(np.fft.rfft(frames, s.fft_length))
    if s.spectrum == "power":
        spectrum = spectrum**2
    bands = spectrum @ tables.mel_filters(s).T if s.mels else spectrum
    return np.asarray(bands * s.factor)


def without_noise(s: Settings, y: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Noise subtracted and gain normalized (PCAN), frame after frame.

    The estimate and the gain work on amplitudes, the square roots of powers. Principle: Wang et
    al., "Trainable frontend for robust and far-field keyword spotting", arXiv:1607.05666, and the
    micro frontend of TensorFlow Lite.
    """
    amplitudes = np.sqrt(y) if s.spectrum == "power" else y
    out = np.empty_like(amplitudes)
    for t in range(y.shape[1]):
        noise += s.smoothing * (amplitudes[:, t] - noise)
        left = np.maximum(amplitudes[:, t] - noise, s.remaining * amplitudes[:, t])
        out[:, t] = left / (noise + s.offset) ** s.strength if s.strength else left
    return out
