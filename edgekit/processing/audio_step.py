"""Audio in front of a model: settings in the units of people, and what the operator gets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.graph import GraphError
from edgekit.ops.audio import tables
from edgekit.ops.audio.plan import plan_of
from edgekit.ops.audio.settings import (
    DCT_NORMS,
    EDGES,
    FLOORS,
    LOGS,
    MEL_SCALES,
    MEL_SHAPES,
    MOST_FFT,
    MOST_MELS,
    SPECTRA,
    WINDOWS,
    Settings,
)
from edgekit.processing.check import choice, flag, number, refuse

STEP = "audio"
#: int16 samples are reals between -1 and 1 in the graph; networks were often trained on integers.
AMPLITUDES = {"unit": 1.0, "int16": 32768.0}
LAYOUTS = ("auto", "time_first", "bands_first")
MOST_RATE = 192_000


@dataclass(frozen=True)
class Audio:
    """Features of 16-bit samples. docs/PROCESSING.md says what each setting is.

    Raises:
        EdgekitError: E181 for a setting that makes no sense, E182 for settings that do not go
            together.
    """

    sample_rate: int = 16000
    clip_ms: float | None = None
    every_ms: float | None = None
    window_ms: float = 30.0
    hop_ms: float = 20.0
    fft: int | None = None
    window: str = "hann"
    periodic: bool = True
    preemphasis: float = 0.0
    spectrum: str = "power"
    amplitude: str = "unit"
    factor: float = 1.0
    mels: int = 40
    low_hz: float = 0.0
    high_hz: float | None = None
    mel_scale: str = "htk"
    mel_shape: str = "hz"
    mel_norm: bool = False
    log: str = "e"
    floor: float = 1e-6
    floor_kind: str = "add"
    mfcc: int = 0
    dct_norm: str = "ortho"
    lifter: float = 0.0
    noise_smoothing: float = 0.0
    noise_remaining: float = 1.0
    pcan_strength: float = 0.0
    pcan_offset: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    edges: str = "none"
    layout: str = "auto"

    def __post_init__(self) -> None:
        number(STEP, "sample_rate", self.sample_rate, 1, MOST_RATE, whole=True)
        for name in ("window_ms", "hop_ms"):
            number(STEP, name, getattr(self, name), 1e-3, 10_000, whole=False)
        for name in ("clip_ms", "every_ms"):
            if getattr(self, name) is not None:
                number(STEP, name, getattr(self, name), 1e-3, 3_600_000, whole=False)
        number(STEP, "mels", self.mels, 0, MOST_MELS, whole=True)
        number(STEP, "mfcc", self.mfcc, 0, MOST_MELS, whole=True)
        if self.fft is not None:
            number(STEP, "fft", self.fft, 1, MOST_FFT, whole=True)
        for name in ("preemphasis", "factor", "low_hz", "floor", "lifter", "noise_smoothing",
                     "noise_remaining", "pcan_strength", "pcan_offset"):  # fmt: skip
            number(STEP, name, getattr(self, name), 0, 1e30, whole=False)
        if self.high_hz is not None:
            number(STEP, "high_hz", self.high_hz, 0, MOST_RATE, whole=False)
        number(STEP, "mean", self.mean, -1e30, 1e30, whole=False)
        number(STEP, "std", self.std, 1e-30, 1e30, whole=False)
        for name, known in (
            ("window", WINDOWS), ("spectrum", SPECTRA), ("mel_scale", MEL_SCALES),
            ("mel_shape", MEL_SHAPES), ("log", LOGS), ("floor_kind", FLOORS),
            ("amplitude", tuple(AMPLITUDES)), ("layout", LAYOUTS), ("dct_norm", DCT_NORMS),
            ("edges", EDGES),
        ):  # fmt: skip
            choice(STEP, name, getattr(self, name), known)
        for name in ("periodic", "mel_norm"):
            flag(STEP, name, getattr(self, name))
        refuse(STEP, self.settings.mistakes(), "E182")
        try:
            plan_of(self.settings)
        except GraphError as error:
            refuse(STEP, [str(error)], "E182")
        if self.clip_samples is not None and self.clip_samples < self.frame_length:
            refuse(
                STEP,
                [
                    f"a window of {self.window_ms:g} ms ({self.frame_length} samples) is longer "
                    f"than the clip of {self.clip_ms:g} ms ({self.clip_samples} samples)"
                ],
                "E182",
            )
        refuse(STEP, self._empty_filters(), "E182")
        self._check_every()

    def _samples(self, ms: float) -> int:
        return round(ms * self.sample_rate / 1000)

    @property
    def frame_length(self) -> int:
        return self._samples(self.window_ms)

    @property
    def clip_samples(self) -> int | None:
        return None if self.clip_ms is None else self._samples(self.clip_ms)

    @property
    def every_samples(self) -> int | None:
        """New samples per call, None for whole clips."""
        return None if self.every_ms is None else self._samples(self.every_ms)

    def _check_every(self) -> None:
        every, hop = self.every_samples, self.settings.hop
        if every is not None and (every < 1 or every % hop):
            refuse(
                STEP,
                [f"every_ms of {self.every_ms:g} is {every} samples, no multiple of the hop of "
                 f"{hop} samples ({self.hop_ms:g} ms)"],
                "E182",
            )  # fmt: skip

    @property
    def settings(self) -> Settings:
        """What the operator gets."""
        length = self.frame_length
        gain = AMPLITUDES[self.amplitude]
        return Settings(
            frame_length=length,
            hop=self._samples(self.hop_ms),
            fft_length=self.fft or max(16, 1 << max(length - 1, 0).bit_length()),
            sample_rate=self.sample_rate,
            window=self.window,
            periodic=self.periodic,
            preemphasis=float(self.preemphasis),
            spectrum=self.spectrum,
            factor=float(self.factor) * (gain**2 if self.spectrum == "power" else gain),
            mels=self.mels,
            low_hz=float(self.low_hz),
            high_hz=float(self.sample_rate / 2 if self.high_hz is None else self.high_hz),
            mel_scale=self.mel_scale,
            mel_shape=self.mel_shape,
            mel_norm=self.mel_norm,
            log=self.log,
            floor=float(self.floor),
            floor_kind=self.floor_kind,
            coefficients=self.mfcc,
            dct_norm=self.dct_norm,
            lifter=float(self.lifter),
            smoothing=float(self.noise_smoothing),
            remaining=float(self.noise_remaining),
            strength=float(self.pcan_strength),
            offset=float(self.pcan_offset),
            mean=float(self.mean),
            std=float(self.std),
            edges=self.edges,
        )

    @property
    def attrs(self) -> dict[str, Any]:
        return asdict(self.settings)

    def _empty_filters(self) -> list[str]:
        if not self.mels:
            return []
        s = self.settings
        empty = np.flatnonzero(~tables.mel_filters(s).any(axis=1))
        return [
            f"mel filter {b} of {s.mels} holds no FFT bin: bins of fft {s.fft_length} are "
            f"{s.sample_rate / s.fft_length:g} Hz apart, take fewer mels or a larger fft"
            for b in empty
        ]
