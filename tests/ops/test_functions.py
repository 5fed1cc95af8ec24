"""The real functions of `unary` against ONNX Runtime's operators of the same name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgekit.graph import Node
from edgekit.ops import operator
from edgekit.ops.functions import FUNCTIONS

ort = pytest.importorskip("onnxruntime")
#: Function to ONNX's operator where capitals are not enough, and parameters other than defaults.
NAMES = {
    "leaky_relu": "LeakyRelu", "hard_sigmoid": "HardSigmoid", "hard_swish": "HardSwish",
    "thresholded_relu": "ThresholdedRelu",
}  # fmt: skip
PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "leaky_relu": [{}, {"alpha": 0.3}],
    "hard_sigmoid": [{}, {"alpha": 0.4, "beta": 0.1}],
    "thresholded_relu": [{}, {"alpha": 0.3}],
    "elu": [{}, {"alpha": 0.5}],
    "celu": [{}, {"alpha": 2.0}],
    "selu": [{}, {"alpha": 1.2, "gamma": 0.7}],
    "gelu": [{}, {"approximate": "tanh"}],
    "shrink": [{}, {"lambd": 0.7, "bias": 0.2}],
}
#: No operator of ONNX: silu and its kin are products, the others are tested by what they mean.
MEANINGS: dict[str, Any] = {
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "square": lambda x: x * x,
    "pow": lambda x: x**2.0,
    "log1p": lambda x: np.log(1 + x),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
}
CASES = [(f, p) for f in FUNCTIONS if f not in MEANINGS for p in PARAMETERS.get(f, [{}])]


def ours(function: str, x: np.ndarray, **attrs: Any) -> np.ndarray:
    node = Node("unary", ("x",), ("y",), {"function": function, **attrs})
    return operator("unary").reference_float(node, [x])


def numbers() -> np.ndarray:
    """Both signs, halves, zero, and numbers at which careless formulas overflow."""
    ordinary = np.random.default_rng(0).normal(0, 2, 200)
    edges = [0, 0.5, -0.5, 1, -1, 1.5, 2.5, -2.5, 3, -3, 40, -40, 88, -88, 200, -200]
    return np.concatenate([ordinary, edges]).astype(np.float32)


@pytest.mark.parametrize(("function", "attrs"), CASES)
def test_onnx_runtime(function: str, attrs: dict[str, Any]) -> None:
    op = NAMES.get(function, function.capitalize())
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [216]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], **attrs)], "one", value[:1], value[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = numbers()
    (want,) = session.run(None, {"x": x})
    np.testing.assert_allclose(ours(function, x, **attrs), want, rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("function", MEANINGS)
def test_meaning(function: str) -> None:
    x = np.linspace(0.1, 5, 50, dtype=np.float32)
    np.testing.assert_allclose(ours(function, x), MEANINGS[function](x), rtol=1e-5)
