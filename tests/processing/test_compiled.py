"""From samples and pixels to an answer: compiled, and run on this machine and on virtual boards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import audio
import numpy as np
import pytest
from onnx import helper
from onnx_models import model, save
from processed import clips, network

from edgekit import data, pipeline
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.processing import Audio, Classify, Detect, Image, Processing
from edgekit.search.budget import Budget
from edgekit.streaming import Hop


@pytest.fixture(autouse=True)
def boards_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(tmp_path / "state"))


def compiled(
    folder: Path, path: Path, raw: np.ndarray, processing: Processing | Path, **more: Any
) -> pipeline.Compiled:
    return pipeline.compile(
        path, output=folder / "out", calibration={"input": raw}, processing=processing, **more
    )


def check_everywhere(done: pipeline.Compiled, raw: np.ndarray, boards: tuple[str, ...]) -> None:
    """The same bytes from numpy, this machine (both forms) and the boards."""
    inputs = data.quantize_inputs(done.graph, data.prepare(done.graph, {done.graph.inputs[0]: raw}))
    want = execute(done.output, inputs, "reference")
    for where in ("host", *boards):
        for mode in ("interpreter", "aot") if where == "host" else ("interpreter",):
            have = execute(done.output, inputs, where, mode=mode)
            for name, y in want.items():
                np.testing.assert_array_equal(have[name], y, err_msg=f"{where} {mode} {name}")


SPEECH = Audio(window_ms=16, hop_ms=10, mels=20, mfcc=10, clip_ms=100)


def test_from_samples_to_a_class(tmp_path: Path) -> None:
    raw = clips(12, 1600)
    done = compiled(
        tmp_path, network(tmp_path, 1, 9, 10), raw,
        Processing(SPEECH, Classify(threshold=-0.2, scores=True)),
    )  # fmt: skip
    assert done.graph.inputs == ["audio"] and done.graph.outputs == ["class", "y"]
    assert [layer.op for layer in done.report.layers][:2] == ["audio_features", "conv2d"]
    assert done.report.logits_sqnr_db is not None and done.report.logits_sqnr_db > 20
    loud = np.concatenate([raw[-2:], audio.extremes(1600)])
    check_everywhere(done, loud, ("virtual-cortex-m4",))


def test_a_core_without_long_products(tmp_path: Path) -> None:
    raw = clips(12, 1600)
    done = compiled(
        tmp_path, network(tmp_path, 1, 9, 10), raw, Processing(SPEECH), target="cortex-m0"
    )
    inputs = {"audio": np.concatenate([raw[-1:], audio.extremes(1600)])}
    want = execute(done.output, inputs, "reference")["y"]
    np.testing.assert_array_equal(execute(done.output, inputs, "virtual-cortex-m0")["y"], want)


def test_pcan_on_a_board(tmp_path: Path) -> None:
    step = Audio(window_ms=16, hop_ms=10, mels=10, clip_ms=100, spectrum="magnitude",
                 noise_smoothing=0.03, noise_remaining=0.05, pcan_strength=0.95, pcan_offset=0.01,
                 floor=1e-3, floor_kind="max")  # fmt: skip
    raw = clips(12, 1600)
    done = compiled(tmp_path, network(tmp_path, 1, 9, 10), raw, Processing(step))
    check_everywhere(done, np.concatenate([raw[-1:], audio.extremes(1600)]), ("virtual-cortex-m4",))


def test_calibrated_on_features(tmp_path: Path) -> None:
    from edgekit.ops.audio import floats

    raw = clips(12, 1600)
    features = floats.features(SPEECH.settings, raw / 32768).astype(np.float32)[:, None]
    path = network(tmp_path, 1, 9, 10)
    done = compiled(tmp_path, path, features, Processing(SPEECH, calibrate="features"))
    assert done.graph.inputs == ["audio"]
    check_everywhere(done, raw[-2:], ("virtual-cortex-m4",))
    with pytest.raises(EdgekitError, match="raw clips"):
        compiled(tmp_path, path, features, Processing(SPEECH, calibrate="features"),
                 budget=Budget(max_flash=10))  # fmt: skip


def test_from_pixels_to_scores(tmp_path: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    done = compiled(
        tmp_path, network(tmp_path, 3, 8, 8), raw,
        Processing(Image(mean=127.5, std=127.5), Classify(threshold=0.1)),
    )  # fmt: skip
    assert done.report.layers[0].op == "conv2d"
    value = done.graph.values["image"]
    assert value.shape == (1, 8, 8, 3) and value.dtype == "int8"
    check_everywhere(done, raw[:3], ("virtual-cortex-m4",))


def test_the_wrong_calibration_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="1600"):
        compiled(tmp_path, network(tmp_path, 1, 9, 10), clips(12, 1500), Processing(SPEECH))


def test_in_hops(tmp_path: Path) -> None:
    """20 ms per call of a network that could not be streamed as a whole."""
    raw = clips(12, 1600)
    step = replace(SPEECH, every_ms=20)
    path = network(tmp_path, 1, 9, 10)
    done = compiled(tmp_path, path, raw, Processing(step, Classify()))
    assert done.graph.values["audio"].shape == (1, 320)
    whole = np.concatenate([np.zeros(1600, np.int16), raw[-1], audio.extremes(1600)[0]])
    check_everywhere(done, whole[1600:].reshape(-1, 320), ("virtual-cortex-m4",))
    # What the whole clip gives in one call.
    plain = compiled(tmp_path, path, raw, Processing(SPEECH, Classify()))
    ends = np.arange(1920, len(whole) + 1, 320)
    want = execute(
        plain.output, {"audio": np.stack([whole[e - 1600 : e] for e in ends])}, "reference"
    )
    have = execute(done.output, {"audio": whole[1600:].reshape(-1, 320)}, "reference")
    np.testing.assert_array_equal(have["class"], want["class"])
    with pytest.raises(EdgekitError, match="every_ms: 20"):
        compiled(tmp_path, path, raw, Processing(step), stream=Hop(1, 320))


def test_boxes_of_a_detector(tmp_path: Path) -> None:
    """Two heads of one convolution, as detectors are exported: [1, N, 4] and [1, N, C]."""
    r = np.random.default_rng(0)
    constants = {
        "w": r.normal(0, 0.2, (10, 3, 3, 3)).astype(np.float32),
        "b": r.normal(0, 0.1, 10).astype(np.float32),
        "four": np.array([1, 16, 4], np.int64),
        "classes": np.array([1, 16, 6], np.int64),
        "zero": np.array([0], np.int64),
        "middle": np.array([4], np.int64),
        "end": np.array([10], np.int64),
        "axis": np.array([3], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Transpose", ["h"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Slice", ["t", "zero", "middle", "axis"], ["t4"]),
        helper.make_node("Slice", ["t", "middle", "end", "axis"], ["t6"]),
        helper.make_node("Reshape", ["t4", "four"], ["boxes"]),
        helper.make_node("Reshape", ["t6", "classes"], ["raw"]),
        helper.make_node("Sigmoid", ["raw"], ["scores"]),
    ]
    path = save(model(nodes, {"x": [1, 3, 8, 8]}, ["boxes", "scores"], constants), tmp_path)
    raw = r.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    step = Detect("boxes", "scores", most=5, iou=0.3, threshold=0.5)
    done = compiled(tmp_path, path, raw, Processing(Image(std=255), step))
    assert done.graph.outputs == ["detections", "boxes", "scores"]
    check_everywhere(done, raw[:4], ("virtual-cortex-m4",))
    found = execute(done.output, {"image": (raw.astype(int) - 128).astype(np.int8)}, "reference")
    assert found["detections"].shape == (12, 5, 2) and (found["detections"][:, 0] >= 0).any()
