"""The five int8 reference models against TFLite Micro, byte for byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from shared import SHARED, needs_shared
from tflm import Tflm

from edgekit.graph import Graph, Quant
from edgekit.ops.fixedpoint import round_half_away
from edgekit.reference import run

MODELS = {
    "kws_ref_model": "kws",
    "pretrainedResnet_quant": "resnet8",
    "vww_96_int8": "vww96",
    "ad01_int8": "ad01",
    "str_ww_ref_model": "sww",
}


def quantized(x: np.ndarray, quant: Quant) -> np.ndarray:
    q = round_half_away(x.astype(np.float64) / quant.scale[0]) + quant.zero_point[0]
    return np.clip(q, -128, 127).astype(np.int8)


def plausible(graph: Graph, data: str, n: int) -> np.ndarray:
    value = graph.values[graph.inputs[0]]
    assert value.quant is not None
    x: Any = np.load(SHARED / "data" / f"{data}_calibration.npz")["input"][:n]
    if data == "resnet8":  # the .tflite's input scale is 1: it takes pixels of 0..255
        assert value.quant.scale[0] == 1.0
    return quantized(x, value.quant).reshape(-1, *value.shape[1:])


@needs_shared
@pytest.mark.parametrize("model", sorted(MODELS))
def test_same_bytes(model: str) -> None:
    """16 random and 16 plausible inputs: the output and what feeds a final softmax."""
    from edgekit.importers import load

    path = SHARED / "models" / f"{model}.tflite"
    graph = load(path)
    oracle = Tflm(path.read_bytes())
    shape = graph.values[graph.inputs[0]].shape[1:]
    random = np.random.default_rng(7).integers(-128, 128, (16, *shape)).astype(np.int8)
    x = np.concatenate([random, plausible(graph, MODELS[model], 16)])
    last = graph.producer(graph.outputs[0])
    assert last is not None
    logits = last.inputs[0] if last.op == "softmax" else graph.outputs[0]
    ours = run(graph, {graph.inputs[0]: x}, keep={logits})
    index = oracle_tensor(oracle, path.read_bytes(), last.op == "softmax")
    for i, sample in enumerate(x):
        want = oracle.run(sample.reshape(oracle.interpreter.get_input_details(0)["shape"]))
        np.testing.assert_array_equal(ours[graph.outputs[0]][i], want.reshape(want.shape[1:]))
        if index is not None:
            before = oracle.tensor(index).reshape(ours[logits][i].shape)
            np.testing.assert_array_equal(ours[logits][i], before)


def oracle_tensor(oracle: Tflm, data: bytes, softmax: bool) -> int | None:
    """The tensor index of the final softmax's operand in the file."""
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

    if not softmax:
        return None
    sub = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0)).subgraphs[0]
    return int(sub.operators[-1].inputs[0])
