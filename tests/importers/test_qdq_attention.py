"""A quantized attention layer from ONNX: integers as ONNX Runtime computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgekit.importers import load
from edgekit.ops.convert import dequantize, quantize
from edgekit.reference import run

ROWS, WIDTH = 6, 16


def qdq_attention() -> onnx.ModelProto:
    """LayerNormalization, two products of activations and a Softmax, all between Q and DQ."""
    r = np.random.default_rng(0)
    stored: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, data: object) -> str:
        stored.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def node(op: str, inputs: list[str], out: str, **attrs: object) -> str:
        nodes.append(helper.make_node(op, inputs, [out], name=out, **attrs))
        return out

    def rounded(x: str, scale: float, zero: int) -> str:
        grid = [constant(f"{x}_s", np.float32(scale)), constant(f"{x}_z", np.int8(zero))]
        node("QuantizeLinear", [x, *grid], f"{x}_q")
        return node("DequantizeLinear", [f"{x}_q", *grid], f"{x}_d")

    gamma = constant("gamma", r.normal(1, 0.2, WIDTH).astype(np.float32))
    beta = constant("beta", r.normal(size=WIDTH).astype(np.float32))
    x = rounded("x", 0.03, 3)
    norm = node("LayerNormalization", [x, gamma, beta], "norm", axis=-1, epsilon=1e-5)
    norm = rounded(norm, 0.03, -4)
    keys = node("Transpose", [norm], "keys", perm=[0, 2, 1])
    scores = rounded(node("MatMul", [norm, keys], "scores"), 0.3, -20)
    scaled = node("Mul", [scores, constant("quarter", np.float32(0.25))], "scaled")
    shares = node("Softmax", [rounded(scaled, 0.08, -20)], "shares", axis=-1)
    y = node("MatMul", [rounded(shares, 1 / 256, -128), norm], "values")
    node("Identity", [rounded(y, 0.03, 1)], "y")
    shape = [1, ROWS, WIDTH]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "attention", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_integers_of_onnx_runtime(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(qdq_attention(), path)
    graph = load(path)
    assert [n.op for n in graph.nodes] == ["layer_norm", "matmul", "mul", "softmax", "matmul"]
    assert {v.dtype for v in graph.values.values()} <= {"int8", "int16", "int32"}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    output = graph.values[graph.outputs[0]]
    x = np.random.default_rng(1).normal(size=(20, ROWS, WIDTH)).astype(np.float32)
    found = dequantize(output, run(graph, {"x": quantize(graph.values["x"], x)})[output.name])
    want = np.concatenate([session.run(None, {"x": sample[None]})[0] for sample in x])
    steps = np.abs(found - want) / float(output.quant.scale[0])  # type: ignore[union-attr]
    # TFLite's softmax and ONNX Runtime's round a share differently now and then.
    assert steps.max() < 2.5
    assert (steps < 0.5).mean() > 0.97
