"""Audio in hops: the same features as from the whole recording, on every back end."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import audio
import numpy as np
import pytest

from edgekit.build import build
from edgekit.devices.find import find_board, find_target
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.ops.audio.settings import Settings
from edgekit.ops.audio_features import PCM
from edgekit.output import write_output
from edgekit.reference import run
from edgekit.streaming import Hop, stream

PLAIN = Settings(64, 40, 64, mels=6, log="e", high_hz=8000.0)
CASES = {
    "log mel": PLAIN,
    "preemphasis": replace(PLAIN, preemphasis=0.97, coefficients=4),
    "pcan": replace(PLAIN, smoothing=0.05, remaining=0.1, strength=0.9, offset=1e-3),
    "hop longer than a frame": replace(PLAIN, hop=100),
}


def window(s: Settings, frames: int, rest: int = 0) -> Graph:
    """Features of `frames` frames, and the greatest of each band over the window."""
    samples = s.frame_length + (frames - 1) * s.hop + rest
    g = Graph("audio", ["x"], ["features", "best"])
    quant = Quant.make(0.1, 20)
    g.add_value(Value("x", (1, samples), "int16", PCM))
    g.add_value(Value("features", (1, frames, s.features), "int8", quant))
    attrs = {**asdict(s), "out_dtype": "int8"}
    g.nodes.append(Node("audio_features", ("x",), ("features",), attrs, "features"))
    g.add_value(Value("image", (1, frames, 1, s.features), "int8", quant))
    g.nodes.append(
        Node("reshape", ("features",), ("image",), {"shape": [1, frames, 1, s.features]}, "image")
    )
    g.add_value(Value("best", (1, 1, 1, s.features), "int8", quant))
    pool = {"kernel": [frames, 1], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    g.nodes.append(Node("max_pool2d", ("image",), ("best",), pool, "best"))
    return g.verify()


def recording(samples: int) -> np.ndarray:
    half = samples // 2
    return np.concatenate([audio.speech(1, 1.0)[:, :half], audio.extremes(half)], 1)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("rest", [0, 17])
@pytest.mark.parametrize("name", CASES)
def test_a_stream_is_the_whole_recording(name: str, rest: int, frames: int) -> None:
    s = CASES[name]
    flowing = stream(window(s, 6, rest), Hop(1, frames * s.hop))
    x = recording(12 * s.hop)[:, : 12 * s.hop // (frames * s.hop) * frames * s.hop]
    hops = x.reshape(-1, frames * s.hop)
    y = run(flowing, {"x": hops})
    past = next((st.initial.shape[1] for st in flowing.states if st.initial.dtype == np.int16), 0)
    lead = 1 if s.preemphasis else 0
    skipped = max(rest + s.frame_length - s.hop, -(10**6)) if past == 0 else 0
    before = np.zeros((1, past), np.int16)
    whole = np.concatenate([before, x], 1)[:, -skipped if skipped < 0 else 0 :]
    ended = replace(s, lead=lead)
    one = audio.features_graph(ended, whole.shape[1], "int8", Quant.make(0.1, 20))
    want = run(one, {"x": whole})["y"]
    np.testing.assert_array_equal(y["features"].reshape(want.shape), want)
    best = [want[0, max(0, i - 5) : i + 1].max(0) for i in range(frames - 1, want.shape[1], frames)]
    full = slice(6 // frames, None)
    np.testing.assert_array_equal(y["best"][full, 0, 0], np.array(best)[full])


def test_a_hop_that_is_no_multiple(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="multiple"):
        stream(window(PLAIN, 6), Hop(1, 50))


@pytest.mark.parametrize("name", ["preemphasis", "pcan"])
def test_streams_on_boards(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))
    s = CASES[name]
    flowing = stream(window(s, 4), Hop(1, s.hop))
    target = find_target("cortex-m4")
    built = build(
        flowing, None, target=target, board=find_board(target.default_board), compiler="zig",
        say=lambda stage, share: None,
    )  # fmt: skip
    out = write_output(tmp_path / "out", built.files, built.description("audio", "zig"))
    inputs = {"x": recording(10 * s.hop).reshape(-1, s.hop)}
    want = execute(out, inputs, "reference")
    for where, mode in (("host", "interpreter"), ("host", "aot"), ("virtual-cortex-m4", "aot")):
        have = execute(out, inputs, where, mode=mode)
        for key, y in want.items():
            np.testing.assert_array_equal(have[key], y, err_msg=f"{where} {mode} {key}")


@pytest.mark.parametrize("hop", [1, 3])
def test_only_features_are_kept(hop: int) -> None:
    """A network that pads in time gets the features of the last window in every call; the window
    begins as silence, so that this holds from the first call on."""
    graph = window(PLAIN, 6)
    pool = graph.nodes[-1]
    attrs = {"kernel": [3, 1], "strides": [1, 1], "pads": [1, 0, 1, 0]}
    graph.nodes[-1] = replace(pool, attrs=attrs)
    graph.values["best"] = replace(graph.values["best"], shape=(1, 6, 1, 6))
    graph.outputs = ["best"]
    graph.verify()
    with pytest.raises(EdgekitError, match="pads time"):
        stream(graph, Hop(1, hop * PLAIN.hop))
    flowing = stream(graph, Hop(1, hop * PLAIN.hop), features=True)
    x = recording(12 * PLAIN.hop)
    y = run(flowing, {"x": x.reshape(-1, hop * PLAIN.hop)})["best"]
    samples = graph.values["x"].shape[1]
    whole = np.concatenate([np.zeros((1, samples), np.int16), x], 1)
    ends = samples + hop * PLAIN.hop * np.arange(1, len(y) + 1)
    windows = np.concatenate([whole[:, end - samples : end] for end in ends])
    np.testing.assert_array_equal(y, run(graph, {"x": windows})["best"])
