"""The float ONNX models of MLPerf Tiny, in both layouts, against ONNX Runtime."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx_models import session
from shared import SHARED, needs_shared

from edgekit.importers import import_raw, load, unsupported
from edgekit.ops import operator
from edgekit.reference import run

SAMPLES = 8
CONVOLUTIONS = {"conv2d": 14, "depthwise_conv2d": 13}
TAIL = {"average_pool2d": 1, "reshape": 1, "fully_connected": 1, "softmax": 1}
EXPECTED = {
    "ad01": {"fully_connected": 10},
    "kws": {"conv2d": 5, "depthwise_conv2d": 4, **TAIL},
    "resnet8": {"conv2d": 9, "add": 3, **TAIL},
    "sww": {"conv2d": 4, "depthwise_conv2d": 4, "reshape": 1, "fully_connected": 1, "softmax": 1},
    "vww96": {**CONVOLUTIONS, **TAIL},
}
MODELS = [
    "ad01",
    *(f"{m}{form}" for m in ("kws", "resnet8", "sww", "vww96") for form in ("", "_nchw")),
]


@needs_shared
@pytest.mark.parametrize("name", MODELS)
def test_equals_onnxruntime_and_is_canonical(name: str) -> None:
    path = SHARED / "models" / f"mlperf_tiny_{name}_float32.onnx"
    key, nchw = name.removesuffix("_nchw"), name.endswith("_nchw")
    x = np.load(SHARED / "data" / f"{key}_eval.npz")["input"][:SAMPLES].astype(np.float32)

    graph = load(path)
    assert Counter(n.op for n in graph.nodes) == EXPECTED[key]
    assert all(operator(n.op) for n in graph.nodes)
    assert graph.metadata.get("layout", {}) == ({"input": "NCHW"} if nchw else {})
    assert graph.values["input"].shape == (1, *x.shape[1:])

    ort = session(str(path))
    fed = x.transpose(0, 3, 1, 2) if nchw else x
    want = np.concatenate([ort.run(None, {"input": fed[i : i + 1]})[0] for i in range(SAMPLES)])
    got = run(graph, {"input": x})[graph.outputs[0]]
    assert graph.outputs == [ort.get_outputs()[0].name]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@needs_shared
def test_activations_are_fused_and_keep_their_names() -> None:
    graph = load(SHARED / "models" / "mlperf_tiny_kws_nchw_float32.onnx")
    assert graph.nodes[0].attrs["clamp"] == [0.0, None]
    assert graph.nodes[0].output == "functional_1/activation/Relu:0"
    assert not [name for name in graph.values if "~" in name]


@needs_shared
def test_raw_graph_and_nothing_unsupported() -> None:
    path = SHARED / "models" / "mlperf_tiny_kws_nchw_float32.onnx"
    assert "transpose" in {n.op for n in import_raw(path).nodes}
    assert unsupported(path) == []
