"""Sounds and settings for tests of signal processing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from graphs import one_node

from edgekit.graph import Graph, Quant, Value
from edgekit.ops.audio.settings import Settings
from edgekit.ops.audio_features import PCM

RATE = 16000
#: What people train with, by name: TensorFlow's MFCCs, librosa, python_speech_features, PCAN.
USUAL: dict[str, dict[str, Any]] = {
    "tensorflow log mel": {
        "mels": 40, "log": "e", "floor": 1e-6, "floor_kind": "add", "spectrum": "magnitude",
        "mel_shape": "mel", "low_hz": 20.0, "high_hz": 4000.0,
    },
    "tensorflow mfcc": {
        "mels": 40, "log": "e", "floor": 1e-6, "floor_kind": "add", "spectrum": "magnitude",
        "mel_shape": "mel", "low_hz": 20.0, "high_hz": 4000.0, "coefficients": 10,
        "dct_norm": "tensorflow",
    },
    "librosa": {"mels": 64, "log": "db", "floor": 1e-10, "mel_scale": "slaney", "mel_norm": True},
    "speech features": {
        "mels": 26, "log": "e", "floor": 2.2e-16, "coefficients": 13, "lifter": 22.0,
        "preemphasis": 0.97, "mel_shape": "bins", "window": "none", "factor": 32768.0**2 / 512,
    },
    "pcan": {
        "mels": 40, "log": "e", "floor": 1e-4, "smoothing": 0.025, "remaining": 0.05,
        "strength": 0.95, "offset": 1e-2,
    },
    "pcan of magnitudes": {
        "mels": 40, "log": "e", "floor": 1e-4, "smoothing": 0.025, "remaining": 0.05,
        "strength": 0.95, "offset": 1e-2, "spectrum": "magnitude",
    },
    "log spectrum": {"log": "e", "floor": 1e-9, "window": "blackman"},
    "power": {"log": "none"},
    "mel magnitudes": {"log": "none", "mels": 40, "spectrum": "magnitude", "window": "hamming"},
}  # fmt: skip


def settings(name: str, frame: int = 480, hop: int = 320, fft: int = 512) -> Settings:
    found = Settings(frame, hop, fft, sample_rate=RATE, **USUAL[name])
    assert not found.mistakes(), found.mistakes()
    return found


def speech(seconds: float, gain: float, seed: int = 0) -> np.ndarray:
    """int16 [1, n]: vibrating harmonics that come and go, over noise 50 dB below."""
    t = np.arange(int(seconds * RATE)) / RATE
    vibrato = t * (1 + 0.02 * np.sin(2 * np.pi * 3 * t))
    tones = ((150, 0.3), (300, 0.2), (1200, 0.05), (3400, 0.01))
    x = sum(a * np.sin(2 * np.pi * f * vibrato) for f, a in tones)
    x = x * np.abs(np.sin(2 * np.pi * 1.5 * t))
    x = x + np.random.default_rng(seed).normal(0, 0.003, t.size)
    return np.clip(np.round(gain * 32768 * x), -32768, 32767).astype(np.int16)[None]


def extremes(samples: int, seed: int = 0) -> np.ndarray:
    """int16 [1, samples] with silence, single steps, both ends of the range, squares and noise."""
    r = np.random.default_rng(seed)
    x = r.integers(-32768, 32768, samples)
    n = max(samples // 6, 1)
    x[:n] = 0
    x[n : 2 * n] = r.integers(-1, 2, len(x[n : 2 * n]))
    x[2 * n : 3 * n] = -32768
    x[3 * n : 4 * n] = np.where(np.arange(len(x[3 * n : 4 * n])) // 7 % 2, -32768, 32767)
    return x.astype(np.int16)[None]


def grid_of(y: np.ndarray, dtype: str) -> Quant:
    """The quantization of a real tensor by its extremes."""
    lo, hi = min(float(y.min()), 0.0), max(float(y.max()), 1e-9)
    if dtype == "int16":
        return Quant.make(max(-lo, hi) / 32767)
    scale = (hi - lo) / 255
    return Quant.make(scale, round(-128 - lo / scale))


def features_graph(s: Settings, samples: int, dtype: str, quant: Quant) -> Graph:
    """One `audio_features` node on int16 samples."""
    attrs = {**asdict(s), **({} if dtype == "int16" else {"out_dtype": dtype})}
    out = Value("y", (1, s.frames(samples), s.features), dtype, quant)
    return one_node("audio_features", [Value("x", (1, samples), "int16", PCM)], out, {}, **attrs)


def sqnr(want: np.ndarray, have: np.ndarray) -> float:
    """In dB."""
    return float(10 * np.log10(np.sum(want**2) / max(np.sum((want - have) ** 2), 1e-300)))
