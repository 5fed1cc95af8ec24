"""What an `audio_features` node is asked for: its attributes, and what follows of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

WINDOWS = ("none", "hann", "hamming", "blackman")
SPECTRA = ("power", "magnitude")
MEL_SCALES = ("htk", "slaney")
#: Triangles with straight sides in Hz (librosa, torchaudio), in mel (TensorFlow, Kaldi), or between
#: whole FFT bins (python_speech_features).
MEL_SHAPES = ("hz", "mel", "bins")
LOGS = ("none", "e", "2", "10", "db")
FLOORS = ("max", "add")
#: Orthonormal, twice the plain sum (scipy), or that times sqrt(1 / (2 mels)) (TensorFlow's MFCCs).
DCT_NORMS = ("ortho", "none", "tensorflow")
EDGES = ("none", "zeros", "reflect")
LEAST_FFT, MOST_FFT = 16, 4096
MOST_MELS = 128
MOST_FACTOR_BITS = 64
#: Reals per unit of log2 for every `log`.
LOG_UNITS = {"e": math.log(2), "2": 1.0, "10": math.log10(2), "db": 10 * math.log10(2)}


@dataclass(frozen=True)
class Settings:
    """Attributes of an `audio_features` node.

    Attributes:
        sample_rate: of the samples, in Hz; only mel filters need it.
        frame_length, hop: samples of a frame, and between the starts of two.
        fft_length: a power of two; frames are filled up with zeros behind.
        window, periodic: shape of the window; periodic ones divide by L, symmetric ones by L - 1.
        preemphasis: a of y[n] = x[n] - a x[n - 1] over the whole signal; 0 for none.
        spectrum: |X|^2 or |X|, of samples between -1 and 1.
        factor: what energies are multiplied by before the logarithm.
        mels: triangular filters between low_hz and high_hz; 0 leaves the fft_length / 2 + 1 bins.
        mel_norm: triangles of one area (2 / width in Hz) instead of one height.
        log: of the energies E: ln, log2, log10 or 10 log10 of max(E, floor) or (E + floor).
        coefficients: that many of the DCT-II of the logarithms; 0 for none.
        dct_norm: factor of the DCT, one of DCT_NORMS.
        lifter: L of 1 + L / 2 sin(pi i / L) on coefficient i; 0 for none.
        smoothing: share of a frame in the running noise estimate; 0 for no noise estimate.
        remaining: least share of a band that is left when the noise is subtracted; 1 for no
            subtraction.
        strength, offset: bands are divided by (noise + offset) ^ strength (PCAN).
        mean, std: results are (x - mean) / std.
        lead: samples in front of the first frame, which preemphasis reads.
        edges: frames are centred on multiples of the hop: half a frame of "zeros", or of samples
            that are reflected, in front and behind; "none" for frames inside of the samples.
    """

    frame_length: int
    hop: int
    fft_length: int
    sample_rate: int = 16000
    window: str = "hann"
    periodic: bool = True
    preemphasis: float = 0.0
    spectrum: str = "power"
    factor: float = 1.0
    mels: int = 0
    low_hz: float = 0.0
    high_hz: float = 8000.0
    mel_scale: str = "htk"
    mel_shape: str = "hz"
    mel_norm: bool = False
    log: str = "none"
    floor: float = 1e-6
    floor_kind: str = "max"
    coefficients: int = 0
    dct_norm: str = "ortho"
    lifter: float = 0.0
    smoothing: float = 0.0
    remaining: float = 1.0
    strength: float = 0.0
    offset: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    lead: int = 0
    edges: str = "none"

    @staticmethod
    def of(attrs: Mapping[str, Any]) -> Settings:
        """The settings in a node's attributes; others (``out_dtype``) are not ours."""
        known = {f.name for f in fields(Settings)}
        return Settings(**{k: v for k, v in attrs.items() if k in known})

    @property
    def bins(self) -> int:
        return self.fft_length // 2 + 1

    @property
    def bands(self) -> int:
        """Energies per frame: mel bands, or bins of the spectrum."""
        return self.mels or self.bins

    @property
    def features(self) -> int:
        """Results per frame."""
        return self.coefficients or self.bands

    @property
    def tracks_noise(self) -> bool:
        return self.smoothing > 0

    def frames(self, samples: int) -> int:
        """How many whole frames there are in so many samples, 0 where not even one."""
        whole = samples + 2 * self.margin - self.lead
        return max(0, 1 + (whole - self.frame_length) // self.hop)

    @property
    def margin(self) -> int:
        """Samples that are made up in front of the signal, and behind it."""
        return 0 if self.edges == "none" else self.frame_length // 2

    def mistakes(self) -> list[str]:
        """What is wrong, a sentence each; empty for legal settings."""
        s = self
        power = s.fft_length >= LEAST_FFT and s.fft_length & (s.fft_length - 1) == 0
        checks = [
            (s.frame_length >= 1, f"frame_length is {s.frame_length}, at least 1 sample is needed"),
            (s.hop >= 1, f"hop is {s.hop}, at least 1 sample is needed"),
            (power and s.fft_length <= MOST_FFT,
             f"fft_length is {s.fft_length}, powers of two from {LEAST_FFT} to {MOST_FFT} are "
             "taken"),
            (s.fft_length >= s.frame_length,
             f"fft_length {s.fft_length} is shorter than the frame of {s.frame_length} samples"),
            (s.sample_rate >= 1, f"sample_rate is {s.sample_rate} Hz"),
            (s.window in WINDOWS, f"window '{s.window}' is unknown: {', '.join(WINDOWS)}"),
            (0 <= s.preemphasis < 1, f"preemphasis is {s.preemphasis}, 0 to below 1 is taken"),
            (s.spectrum in SPECTRA, f"spectrum '{s.spectrum}' is unknown: {', '.join(SPECTRA)}"),
            (_positive(s.factor) and abs(math.log2(s.factor)) <= MOST_FACTOR_BITS,
             f"factor is {s.factor}, 2^-{MOST_FACTOR_BITS} to 2^{MOST_FACTOR_BITS} is taken"),
            (0 <= s.mels <= MOST_MELS, f"{s.mels} mels, 0 to {MOST_MELS} are taken"),
            (s.mel_scale in MEL_SCALES,
             f"mel_scale '{s.mel_scale}' is unknown: {', '.join(MEL_SCALES)}"),
            (s.mel_shape in MEL_SHAPES,
             f"mel_shape '{s.mel_shape}' is unknown: {', '.join(MEL_SHAPES)}"),
            (s.mels == 0 or 0 <= s.low_hz < s.high_hz <= s.sample_rate / 2,
             f"mel filters from {s.low_hz:g} to {s.high_hz:g} Hz, between 0 and half of the "
             f"sample rate, {s.sample_rate / 2:g} Hz, are possible"),
            (s.log in LOGS, f"log '{s.log}' is unknown: {', '.join(LOGS)}"),
            (s.log == "none" or _positive(s.floor),
             f"floor is {s.floor}, a logarithm needs a positive one"),
            (s.floor_kind in FLOORS,
             f"floor_kind '{s.floor_kind}' is unknown: {', '.join(FLOORS)}"),
            (0 <= s.coefficients <= max(s.mels, 0),
             f"{s.coefficients} coefficients of {s.mels} mel bands"),
            (s.coefficients == 0 or s.log != "none", "a DCT needs the logarithm of the bands"),
            (s.dct_norm in DCT_NORMS,
             f"dct_norm '{s.dct_norm}' is unknown: {', '.join(DCT_NORMS)}"),
            (s.lifter >= 0, f"lifter is {s.lifter}, it must not be negative"),
            (0 <= s.smoothing < 1, f"smoothing is {s.smoothing}, 0 to below 1 is taken"),
            (0 < s.remaining <= 1, f"remaining is {s.remaining}, above 0 to 1 is taken"),
            (0 <= s.strength <= 1, f"strength is {s.strength}, 0 to 1 is taken"),
            (s.strength == 0 or _positive(s.offset),
             f"offset is {s.offset}, a gain of strength {s.strength} needs a positive one"),
            (s.tracks_noise or (s.remaining == 1 and s.strength == 0),
             "noise reduction and PCAN need a smoothing above 0"),
            (not s.tracks_noise or (s.mels > 0 and s.log != "none"),
             "noise reduction and PCAN need mel bands and a logarithm"),
            (_positive(s.std), f"std is {s.std}, it must be positive"),
            (math.isfinite(s.mean), f"mean is {s.mean}"),
            (s.edges in EDGES, f"edges '{s.edges}' are unknown: {', '.join(EDGES)}"),
            (s.edges == "none" or (s.lead == 0 and s.preemphasis == 0),
             f"edges '{s.edges}' go without preemphasis and streams"),
            (s.lead >= 0, f"lead is {s.lead}, it must not be negative"),
        ]  # fmt: skip
        return [message for ok, message in checks if not ok]


def _positive(x: float) -> bool:
    return math.isfinite(x) and x > 0
