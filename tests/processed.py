"""Small networks and recordings for processing in front of them."""

from __future__ import annotations

from pathlib import Path

import audio
import numpy as np
from onnx import helper
from onnx_models import model, save


def network(folder: Path, channels: int, height: int, width: int, classes: int = 3) -> Path:
    """A padded convolution, a pool over everything and scores, NCHW as PyTorch exports."""
    r = np.random.default_rng(0)
    constants = {
        "w": r.normal(0, 0.3, (4, channels, 3, 3)).astype(np.float32),
        "b": r.normal(0, 0.1, 4).astype(np.float32),
        "v": r.normal(0, 1, (4, classes)).astype(np.float32),
        "c": r.normal(0, 0.1, classes).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["h"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v", "c"], ["y"]),
    ]
    return save(model(nodes, {"x": [1, channels, height, width]}, ["y"], constants), folder)


def clips(count: int, samples: int) -> np.ndarray:
    gains = np.geomspace(0.01, 1, count)
    seconds = samples / audio.RATE
    return np.concatenate([audio.speech(seconds, g, i)[:, :samples] for i, g in enumerate(gains)])
