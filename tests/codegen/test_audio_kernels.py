"""Generated signal processing against the reference: 0 bytes differ, on the host under sanitizers
and on the virtual M4."""

from __future__ import annotations

import ctypes
from pathlib import Path

import audio
import numpy as np
import pytest
from built import M4, merged, run_m4
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from template_kernels import run_sanitized

from codegen.lower import build_program, layer_of
from codegen.portable.audio_features import TEMPLATES
from edgekit import reference
from edgekit.devices.firmware.build import firmware_folder
from edgekit.graph import Graph
from edgekit.ops.audio import floats, integers
from edgekit.ops.audio.plan import plan_of
from edgekit.ops.audio.settings import Settings
from edgekit.toolchain import host_library

FEW = settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@st.composite
def drawn(draw: st.DrawFn) -> Settings:
    """Any legal settings of short frames."""
    fft = draw(st.sampled_from([16, 32, 64, 128]))
    spectrum = draw(st.sampled_from(["power", "magnitude"]))
    mels = draw(st.sampled_from([0, 1, 5]))
    log = draw(st.sampled_from(["none", "e", "2", "10", "db"]))
    tracked = mels > 0 and log != "none" and draw(st.booleans())
    logged = mels > 0 and log != "none"
    edges = draw(st.sampled_from(["none", "none", "zeros", "reflect"]))
    return Settings(
        frame_length=draw(st.integers(1, fft)),
        hop=draw(st.integers(1, fft)),
        fft_length=fft,
        window=draw(st.sampled_from(["none", "hann", "hamming", "blackman"])),
        periodic=draw(st.booleans()),
        preemphasis=draw(st.sampled_from([0.0, 0.5, 0.97, 0.99999])) if edges == "none" else 0.0,
        edges=edges,
        spectrum=spectrum,
        factor=draw(st.sampled_from([1.0, 1e-6, 32768.0**2])),
        mels=mels,
        low_hz=draw(st.sampled_from([0.0, 300.0])),
        mel_scale=draw(st.sampled_from(["htk", "slaney"])),
        mel_shape=draw(st.sampled_from(["hz", "mel", "bins"])),
        mel_norm=draw(st.booleans()),
        log=log,
        floor=draw(st.sampled_from([1e-12, 1e-6, 1e-3])),
        floor_kind=draw(st.sampled_from(["max", "add"])),
        coefficients=draw(st.integers(0, mels)) if logged else 0,
        dct_norm=draw(st.sampled_from(["ortho", "none", "tensorflow"])),
        lifter=draw(st.sampled_from([0.0, 22.0])),
        smoothing=draw(st.sampled_from([0.001, 0.5])) if tracked else 0.0,
        remaining=draw(st.sampled_from([0.05, 1.0])) if tracked else 1.0,
        strength=draw(st.sampled_from([0.0, 0.95, 1.0])) if tracked else 0.0,
        offset=1e-3,
        mean=draw(st.sampled_from([0.0, -3.5])),
        std=draw(st.sampled_from([1.0, 7.0])),
    )


def graph_of(s: Settings, samples: int, dtype: str, seed: int) -> Graph:
    """A result that covers about what the sounds of the test give."""
    x = audio.extremes(samples, seed)
    return audio.features_graph(
        s, samples, dtype, audio.grid_of(floats.features(s, x / 32768), dtype)
    )


@FEW
@given(data=st.data())
def test_drawn_settings(tmp_path: Path, data: st.DataObject) -> None:
    graphs = []
    for _ in range(4):
        s = data.draw(drawn())
        assert not s.mistakes(), s.mistakes()
        assume(s.log == "none" or s.floor / s.factor < 0.1)  # below what so short a frame gives
        samples = s.frame_length + s.hop * data.draw(st.integers(0, 12))
        dtype = data.draw(st.sampled_from(["int8", "int16"]))
        graphs.append(graph_of(s, samples, dtype, data.draw(st.integers(0, 99))))
    graph = merged(graphs)
    feeds = {
        name: audio.extremes(graph.values[name].size, i) for i, name in enumerate(graph.inputs)
    }
    want = reference.run(graph, feeds)
    program = build_program(graph, M4.target)
    have, _ = run_m4(program, tmp_path, feeds)
    for tensor, y in zip(program.outputs, have, strict=True):
        np.testing.assert_array_equal(y, want[tensor.name])
    for i, one in enumerate(graphs):
        folder = tmp_path / str(i)
        folder.mkdir(exist_ok=True)
        alone = build_program(one, M4.target)
        raw = run_sanitized(alone, folder, {"x": feeds[f"x_{i}"]})
        assert raw == want[f"y_{i}"].tobytes(), one.nodes[0].attrs


@pytest.mark.parametrize("name", audio.USUAL)
def test_usual_settings(name: str, tmp_path: Path) -> None:
    s = audio.settings(name)
    x = np.concatenate([audio.extremes(2400), audio.speech(0.1, 1.0)], axis=1)
    graph = graph_of(s, x.shape[1], "int8", 0)
    want = reference.run(graph, {"x": x})["y"]
    program = build_program(graph, M4.target)
    have, steps = run_m4(program, tmp_path, {"x": x})
    np.testing.assert_array_equal(have[0], want)
    [call] = program.calls
    assert call.scratch_bytes <= 4 * s.fft_length + 12 * s.bands
    # The kernel choice and the search of budgets believe the candidate's own estimate.
    [candidate] = TEMPLATES[0].candidates(layer_of(graph, graph.nodes[0]))
    assert candidate.cost is not None
    assert 0.8 < candidate.cost.instructions / steps < 1.25


def test_roots_and_logarithms_in_c(tmp_path: Path) -> None:
    """Every form of the two functions of ek_audio.h: with a divider and without."""
    source = tmp_path / "math.c"
    source.write_text(
        '#include "ek_audio.h"\n'
        "void roots(const uint64_t *v, uint32_t *y, int32_t n)\n"
        "{ for (int32_t i = 0; i < n; ++i) { y[i] = ek_audio_root(v[i]); } }\n"
        "void logs(const uint64_t *v, int32_t *y, int32_t n)\n"
        "{ for (int32_t i = 0; i < n; ++i) { y[i] = ek_audio_log2(v[i]); } }\n"
        "void halves(const int32_t *a, const int32_t *b, int32_t *y, int32_t n)\n"
        "{ for (int32_t i = 0; i < n; ++i) { y[i] = ek_audio_half(a[i], b[i]); } }\n"
    )
    r = np.random.default_rng(0)
    v = np.concatenate([
        np.arange(1, 1 << 17, dtype=np.uint64),
        r.integers(1, 2**60, 200_000, dtype=np.uint64)
        >> r.integers(0, 59, 200_000).astype(np.uint64),
        np.arange(1, 65536, dtype=np.uint64) ** np.uint64(2),
        np.arange(2, 65536, dtype=np.uint64) ** np.uint64(2) - np.uint64(1),
    ])  # fmt: skip
    v = v[v > 0]
    a = r.integers(-(2**30), 2**30, v.size).astype(np.int32)
    b = r.integers(-32768, 32768, v.size).astype(np.int32)
    for defines in ({}, {"EK_SHORT_MULTIPLY": ""}):
        path = host_library([source], include=[firmware_folder() / "include"], defines=defines)
        c = ctypes.CDLL(str(path))
        y = np.zeros(v.size, np.uint32)
        c.roots(v.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p), v.size)
        np.testing.assert_array_equal(y, integers.root(v))
        z = np.zeros(v.size, np.int32)
        c.logs(v.ctypes.data_as(ctypes.c_void_p), z.ctypes.data_as(ctypes.c_void_p), v.size)
        np.testing.assert_array_equal(z, integers.log2(v))
        c.halves(*(p.ctypes.data_as(ctypes.c_void_p) for p in (a, b, z)), v.size)
        np.testing.assert_array_equal(z, (a.astype(np.int64) * b) >> 16)


def test_plans_keep_their_bounds() -> None:
    """Energies stay below 2^60 for the loudest frame there is, amplitudes below 2^40."""
    for name in audio.USUAL:
        for frame, fft in ((16, 16), (512, 512), (4096, 4096)):
            s = audio.settings(name, frame, frame, fft)
            plan = plan_of(s)
            n = np.arange(frame)
            loud = [np.full(frame, -32768), np.where(n % 2, 32767, -32768)]
            frames = integers.windowed(s, np.array(loud, np.int64)).reshape(-1, frame)
            energy, k = integers.energies(s, plan, frames)
            assert energy.max() < 2**60
            if s.tracks_noise:
                root = integers.root(energy) if s.spectrum == "power" else energy
                amplitude = root.astype(np.float64) * 2.0 ** -(plan.drop + k[:, None])
                assert amplitude.max() < 2**40
