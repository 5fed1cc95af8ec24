"""int8 .tflite files: structure of the import, and refusals."""

from __future__ import annotations

import random
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tflite
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import SHARED, needs_shared
from tflite_files import File

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.importers import import_raw, load, unsupported
from edgekit.reference import run

MODELS = SHARED / "models"
TAIL = {"average_pool2d": 1, "reshape": 1, "fully_connected": 1, "softmax": 1}
EXPECTED = {
    "kws_ref_model": {"conv2d": 5, "depthwise_conv2d": 4, **TAIL},
    "pretrainedResnet_quant": {"conv2d": 9, "add": 3, **TAIL},
    "vww_96_int8": {"conv2d": 14, "depthwise_conv2d": 13, **TAIL},
    "ad01_int8": {"fully_connected": 10},
    "str_ww_ref_model": {
        "conv2d": 4, "depthwise_conv2d": 4, "reshape": 1, "fully_connected": 1, "softmax": 1,
    },
}  # fmt: skip


def subgraph(name: str) -> tflite.SubGraph:
    data = (MODELS / f"{name}.tflite").read_bytes()
    return tflite.Model.GetRootAs(data, 0).Subgraphs(0)


@needs_shared
@pytest.mark.parametrize("name", EXPECTED)
def test_structure(name: str) -> None:
    graph = load(MODELS / f"{name}.tflite")
    assert Counter(n.op for n in graph.nodes) == EXPECTED[name]
    weight_axis = {"conv2d": 0, "depthwise_conv2d": 2, "fully_connected": 0}
    for node in graph.nodes:
        out = graph.values[node.output]
        assert out.dtype == "int8"
        assert out.quant is not None
        if node.op not in weight_axis:
            continue
        x, w, bias = (graph.values[i] for i in node.inputs)
        assert (w.dtype, bias.dtype) == ("int8", "int32")
        assert w.quant is not None and bias.quant is not None and x.quant is not None
        assert not w.quant.zero_point.any()
        assert not bias.quant.zero_point.any()
        assert w.quant.axis in (None, weight_axis[node.op])
        product = x.quant.scale * w.quant.scale
        np.testing.assert_allclose(bias.quant.scale, product, rtol=1e-5)
    assert unsupported(MODELS / f"{name}.tflite") == []


@needs_shared
def test_scales_and_weights_are_those_of_the_file() -> None:
    graph, file = load(MODELS / "kws_ref_model.tflite"), subgraph("kws_ref_model")
    data = (MODELS / "kws_ref_model.tflite").read_bytes()
    buffers = tflite.Model.GetRootAs(data, 0)
    node = graph.nodes[1]
    assert node.op == "depthwise_conv2d"
    tensor = file.Tensors(file.Operators(1).Inputs(1))
    w = graph.values[node.inputs[1]]
    assert w.quant is not None and w.quant.axis == 2
    assert np.array_equal(w.quant.scale, tensor.Quantization().ScaleAsNumpy())
    stored = buffers.Buffers(tensor.Buffer()).DataAsNumpy().view(np.int8).reshape(3, 3, 64)
    assert np.array_equal(graph.constants[node.inputs[1]], stored)
    assert graph.values[graph.inputs[0]].quant is not None
    first = graph.nodes[0]
    assert first.attrs["clamp"] == [0.0, None]
    assert first.attrs["strides"] == [2, 2]
    assert first.attrs["pads"] == [4, 1, 5, 1]  # SAME: 49x10, kernel 10x4, stride 2


@needs_shared
def test_names_of_inputs_and_outputs() -> None:
    graph = load(MODELS / "vww_96_int8.tflite")
    assert (graph.inputs, graph.outputs) == (["input_1_int8"], ["Identity_int8"])


# ---- refusals


def refused(path: Path, code: str, *words: str) -> EdgekitError:
    with pytest.raises(EdgekitError) as caught:
        load(path)
    error = caught.value
    assert error.code == code, str(error)
    assert "\n" not in error.message
    assert error.help
    for word in words:
        assert word in str(error)
    return error


@needs_shared
def test_hybrid_model_is_the_float_network_behind_it() -> None:
    """int8 weights, float activations: the accuracy of the float network it was made from.

    TFLite's hybrid kernels give 90.0 %, the float network 92.0 % on these 436 words.
    """
    graph = load(MODELS / "kws_ref_model_float32.tflite")
    assert Counter(n.op for n in graph.nodes) == EXPECTED["kws_ref_model"]
    assert {v.dtype for v in graph.values.values()} == {"float32"}
    assert "at run time" in graph.metadata["note"]
    arrays = np.load(SHARED / "data" / "kws_eval.npz")
    scores = run(graph, {graph.inputs[0]: arrays["input"].astype(np.float32)})[graph.outputs[0]]
    assert (scores.argmax(1) == arrays["label"]).mean() > 0.91


def test_unsupported_operators_are_all_listed(tmp_path: Path) -> None:
    f = File()
    x, h, y = (f.tensor([1, 4, 4, 2], "int8", 0.5) for _ in range(3))
    f.op("LOCAL_RESPONSE_NORMALIZATION", [x], [h])
    f.op("LOCAL_RESPONSE_NORMALIZATION", [x], [y])
    z = f.tensor([1, 2, 2, 2], "int8", 0.5)
    f.op("L2_POOL_2D", [x], [z])
    path = tmp_path / "m.tflite"
    path.write_bytes(f.bytes([x], [h, y, z]))
    error = refused(path, "E102", "3 nodes of 2 operators")
    kinds = Counter(u.op for u in unsupported(path))
    assert kinds == {"LOCAL_RESPONSE_NORMALIZATION": 2, "L2_POOL_2D": 1}
    assert len(error.details) == 3
    with pytest.raises(EdgekitError, match="3 nodes"):
        import_raw(path)


@needs_shared
def test_bind_is_for_onnx() -> None:
    with pytest.raises(EdgekitError, match="--bind"):
        load(MODELS / "ad01_int8.tflite", bind={"n": 1})


@needs_shared
def test_truncated(tmp_path: Path) -> None:
    data = (MODELS / "str_ww_ref_model.tflite").read_bytes()
    path = tmp_path / "m.tflite"
    sizes = [*range(8, 200, 3), *range(200, len(data), 997), *range(len(data) - 300, len(data), 7)]
    for size in sizes:
        path.write_bytes(data[:size])
        error = refused(path, "E103")
        assert str(size) in error.message or "tensor" in error.message or "buffer" in error.message


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=300))
def test_garbage(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.tflite"
    path.write_bytes(data[:4].ljust(4, b"\0") + b"TFL3" + data[4:])
    with pytest.raises(EdgekitError):
        load(path)


@needs_shared
@pytest.mark.parametrize(
    "name", ["kws_ref_model", "pretrainedResnet_quant", "kws_ref_model_float32"]
)
def test_damaged_bytes(tmp_path: Path, name: str) -> None:
    """Whatever a changed word does, it is either no harm or an EdgekitError."""
    data = (MODELS / f"{name}.tflite").read_bytes()
    rng = random.Random(name)
    path = tmp_path / "m.tflite"
    words = [0, 1, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x10000]
    for _ in range(250):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            at = rng.choice([rng.randrange(len(data) - 4), len(data) - rng.randrange(5, 12000)])
            word = rng.choice([*words, rng.getrandbits(32)])
            damaged[at : at + 4] = struct.pack("<I", word)
        damaged[4:8] = b"TFL3"
        path.write_bytes(damaged)
        try:
            graph = load(path)
        except EdgekitError as error:
            assert error.code.startswith("E10")
            assert "\n" not in error.message
        else:
            assert isinstance(graph, Graph)
