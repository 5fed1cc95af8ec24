"""Shared .tflite models against TFLite Micro: every tensor in numpy, results on the virtual M4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shared import SHARED, needs_shared
from tflite_peer import both, differing_bytes, feed

from edgekit.build import build
from edgekit.devices.find import find_board, find_target
from edgekit.execute import execute
from edgekit.importers import load
from edgekit.output import write_output

#: Tensors inside the network that are compared, at least.
MODELS = {
    "ad01_int8": 10,
    "kws_ref_model": 12,
    "pretrainedResnet_quant": 15,
    "str_ww_ref_model": 10,
    "vww_96_int8": 30,
    "mcunet_tinyengine_vww": 54,
    "pymicrowakeword_okay_nabu": 40,
    "tflm_trained_lstm_int8": 4,
}
ON_THE_BOARD = ("mcunet_tinyengine_vww", "pymicrowakeword_okay_nabu", "tflm_trained_lstm_int8")


@needs_shared
@pytest.mark.parametrize("plausible", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_every_tensor_equals_tflite_micro(name: str, plausible: bool) -> None:
    path = SHARED / "models" / f"{name}.tflite"
    graph = load(path)
    feeds = feed(graph, np.random.default_rng(5), 8, plausible)
    found = differing_bytes(path, graph, feeds)
    assert len(found) >= MODELS[name]
    assert not any(found.values()), {k: v for k, v in found.items() if v}


@needs_shared
@pytest.mark.parametrize("name", ON_THE_BOARD)
def test_virtual_board_equals_tflite_micro(name: str, tmp_path: Path) -> None:
    path = SHARED / "models" / f"{name}.tflite"
    graph = load(path)
    # Results of a softmax or a sigmoid look alike: what they are made of is an output too.
    last = graph.producer(graph.outputs[0])
    assert last is not None
    graph.outputs += [last.inputs[0]] if last.op in ("softmax", "unary") else []
    feeds = feed(graph, np.random.default_rng(6), 8, plausible=True)
    target = find_target("cortex-m4")
    built = build(
        graph, None, target=target, board=find_board(target.default_board), compiler="zig",
        say=lambda stage, share: None,
    )  # fmt: skip
    folder = write_output(tmp_path / "out", built.files, built.description(name, "zig"))
    found = execute(folder, feeds, target.default_board, mode="interpreter")
    compared = both(path, graph, feeds)
    for output in graph.outputs:
        assert np.array_equal(found[output].reshape(8, -1), compared[output][0]), output
    assert len(np.unique(compared[graph.outputs[-1]][0], axis=0)) > 1, "all samples look alike"
