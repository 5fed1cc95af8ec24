"""Signal processing: reals against plain definitions, integers against reals."""

from __future__ import annotations

import re
from dataclasses import replace

import audio
import numpy as np
import pytest

from edgekit import reference
from edgekit.graph import GraphError, Node, Value
from edgekit.ops import operator
from edgekit.ops.audio import floats, integers, tables
from edgekit.ops.audio.settings import Settings
from edgekit.ops.audio_features import PCM
from edgekit.ops.convert import dequantize

#: Least SQNR in dB of integer features against real ones by dtype of the result.
BARS = {"int8": 40.0, "int16": 48.0}


@pytest.mark.parametrize("gain", [1.0, 0.01], ids=["loud", "40 dB quieter"])
@pytest.mark.parametrize("name", audio.USUAL)
@pytest.mark.parametrize("dtype", BARS)
def test_integers_are_close_to_reals(name: str, gain: float, dtype: str) -> None:
    s, x = audio.settings(name), audio.speech(1.0, gain)
    want = floats.features(s, x / 32768)
    graph = audio.features_graph(s, x.shape[1], dtype, audio.grid_of(want, dtype))
    y = reference.run(graph, {"x": x})["y"]
    assert audio.sqnr(want, dequantize(graph.values["y"], y)) > BARS[dtype]


def test_a_spectrum_is_the_discrete_fourier_transform() -> None:
    r = np.random.default_rng(0)
    for size in (16, 32, 256, 4096):
        x = r.integers(-(2**29) + 1, 2**29, (2, size))
        re_, im = integers.spectrum(x)
        want = np.fft.rfft(x) / size
        assert np.abs(re_ + 1j * im - want).max() < 2.0**29 * 2**-15


def test_square_root_and_logarithm() -> None:
    r = np.random.default_rng(0)
    v = np.concatenate([
        np.arange(1 << 16, dtype=np.uint64),
        r.integers(0, 2**63, 20000, dtype=np.uint64) >> r.integers(0, 63, 20000).astype(np.uint64),
        np.array([(1 << k) + d for k in range(2, 62) for d in (-1, 0, 1)], np.uint64),
    ])  # fmt: skip
    small = v[v < 2**32]
    exact = np.array([int(x) ** 0.5 // 1 for x in small], np.uint64)
    np.testing.assert_array_equal(integers.root(small), exact)
    real = np.sqrt(v[v > 0].astype(np.float64))
    assert (np.abs(integers.root(v[v > 0]) / real - 1) < 1 / real + 2.0**-15).all()
    log = integers.log2(v[v > 0]) / 2**16
    assert np.abs(log - np.log2(v[v > 0].astype(np.float64))).max() < 2.5e-5


@pytest.mark.parametrize("edges", ["zeros", "reflect"])
def test_centred_frames(edges: str) -> None:
    """As if the signal had been longer: librosa's and torchaudio's center=True."""
    s = replace(audio.settings("librosa"), edges=edges)
    x = audio.speech(0.2, 1.0)
    longer = np.pad(x, ((0, 0), (240, 240)), mode="constant" if edges == "zeros" else "reflect")
    want = floats.features(replace(s, edges="none"), longer / 32768)
    have = floats.features(s, x / 32768)
    assert have.shape[1] == 1 + x.shape[1] // s.hop
    np.testing.assert_allclose(have, want)
    grid = audio.grid_of(want, "int8")
    y = reference.run(audio.features_graph(s, x.shape[1], "int8", grid), {"x": x})["y"]
    plain = audio.features_graph(replace(s, edges="none"), longer.shape[1], "int8", grid)
    np.testing.assert_array_equal(y, reference.run(plain, {"x": longer})["y"])


def plain_mfcc(x: np.ndarray) -> np.ndarray:
    """TensorFlow's recipe (tf.signal.stft, linear_to_mel_weight_matrix, mfccs_from_log_mel...),
    step by step."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)
    dft = np.exp(-2j * np.pi * np.outer(np.arange(512), np.arange(257)) / 512)[:480]

    def mel(hz: float) -> float:
        return 1127 * np.log(1 + hz / 700)

    edges = np.linspace(mel(20), mel(4000), 42)
    rows = []
    for start in range(0, len(x) - 480 + 1, 320):
        magnitudes = np.abs((x[start : start + 480] * window) @ dft)
        bands = []
        for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
            total = 0.0
            for k in range(1, 257):
                at = mel(k * 16000 / 512)
                sides = ((at - low) / (middle - low), (high - at) / (high - middle))
                total += max(0.0, min(sides)) * magnitudes[k]
            bands.append(np.log(total + 1e-6))
        rows.append([
            np.sqrt(2 / 40) * sum(b * np.cos(np.pi * i * (m + 0.5) / 40)
                                  for m, b in enumerate(bands))
            for i in range(10)
        ])  # fmt: skip
    return np.array(rows)


def test_mfcc_by_definition() -> None:
    x = audio.speech(0.2, 1.0)
    want = plain_mfcc(x[0] / 32768)
    have = floats.features(audio.settings("tensorflow mfcc"), x / 32768)[0]
    assert audio.sqnr(want, have) > 150


def test_python_speech_features() -> None:
    """285 dB when it was measured; 40 dB of int8 is the quantization of the result."""
    speech_features = pytest.importorskip("python_speech_features")
    x = audio.speech(1.0, 1.0)
    want = speech_features.mfcc(
        x[0], 16000, winlen=0.03, winstep=0.02, numcep=13, nfilt=26, nfft=512, highfreq=8000,
        preemph=0.97, ceplifter=22, appendEnergy=False,
    )  # fmt: skip
    have = floats.features(audio.settings("speech features"), x / 32768)[0]
    assert audio.sqnr(want[: len(have)], have) > 150  # it fills up a last frame with zeros


def test_noise_is_reduced_and_gain_is_even() -> None:
    """What stays the same is noise; a gain of 20 dB hardly shows."""
    s = audio.settings("pcan")
    r = np.random.default_rng(0)
    noise = r.normal(0, 0.01, (1, 32000))
    n = np.arange(32000)
    tone = np.where(n > 24000, 0.1 * np.sin(2 * np.pi * 1000 * n / audio.RATE), 0)
    y = floats.features(s, noise + tone)[0]
    band = int(np.argmax(y[80]))
    assert y[80, band] > y[60, band] + 3
    louder = floats.features(replace(s, offset=1e-6), 10 * (noise + tone))[0]
    quiet = floats.features(replace(s, offset=1e-6), noise + tone)[0]
    assert abs(np.median(louder[20:] - quiet[20:])) < 0.05 * np.log(10) * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame_length": 0}, "frame_length is 0"),
        ({"hop": 0}, "hop is 0"),
        ({"fft_length": 500}, "500"),
        ({"fft_length": 256}, "shorter than the frame of 480"),
        ({"fft_length": 8192}, "4096"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"window": "hat"}, "hat"),
        ({"preemphasis": 1.0}, "preemphasis"),
        ({"mels": 129}, "129"),
        ({"mels": 40, "high_hz": 9000.0}, "9000"),
        ({"log": "e", "floor": 0.0}, "floor is 0"),
        ({"coefficients": 5}, "5 coefficients of 0"),
        ({"mels": 8, "coefficients": 5}, "logarithm"),
        ({"strength": 0.5, "offset": 1.0}, "smoothing"),
        ({"std": 0.0}, "std"),
        ({"edges": "mirror"}, "mirror"),
        ({"edges": "zeros", "preemphasis": 0.5}, "without preemphasis"),
        ({"factor": 1e30}, "factor"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, object], message: str) -> None:
    s = replace(Settings(480, 320, 512), **change)  # type: ignore[arg-type]
    assert any(message in text for text in s.mistakes()), s.mistakes()


def test_rules() -> None:
    features = operator("audio_features")
    attrs = {"frame_length": 480, "hop": 320, "fft_length": 512}
    node = Node("audio_features", ("x",), ("y",), attrs)
    legal = Value("x", (1, 800), "int16", PCM)
    assert features.checked(node, [legal]) == [((1, 2, 257), "int16")]
    for wrong, message in [
        (Value("x", (1, 479), "int16", PCM), "one frame"),
        (Value("x", (1, 800), "int8", PCM), "samples"),
        (Value("x", (800,), "int16", PCM), "samples"),
        (replace(legal, quant=replace(PCM, scale=np.float32([0.5]))), "1/32768"),
    ]:
        with pytest.raises(GraphError, match=re.escape(message)):
            features.checked(node, [wrong])


def test_tables() -> None:
    s = Settings(64, 32, 64, mels=10, log="e")
    assert tables.window(s)[0] == 0 and tables.window(s).max() == 1
    edges = tables.mel_to_hz(tables.hz_to_mel(np.array([50.0, 1000, 4000]), "slaney"), "slaney")
    np.testing.assert_allclose(edges, [50, 1000, 4000])
    ortho = tables.dct(replace(s, coefficients=10))
    np.testing.assert_allclose(ortho @ ortho.T, np.eye(10), atol=1e-12)


def test_a_batch_is_its_samples() -> None:
    s = audio.settings("pcan")
    x = np.concatenate([audio.speech(0.3, 1.0), audio.extremes(4800)])
    graph = audio.features_graph(s, 4800, "int8", audio.grid_of(np.array([-5.0, 5]), "int8"))
    both = reference.run(graph, {"x": x})["y"]
    alone = [reference.run(graph, {"x": one[None]})["y"] for one in x]
    np.testing.assert_array_equal(both, np.concatenate(alone))
