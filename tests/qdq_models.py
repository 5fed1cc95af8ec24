"""Small quantized ONNX models, and how far the integer graph is from what their file means."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_models import save

from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.ops import convert
from edgekit.reference import run

KINDS = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


class Model:
    """Appends ONNX nodes; every method returns the name of its result."""

    def __init__(self, opset: int = 17, **inputs: list[Any]) -> None:
        self.opset = opset
        self.inputs = inputs
        self.kinds = dict.fromkeys(inputs, "float32")
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = (
            value if isinstance(value, onnx.TensorProto) else np.asarray(value, dtype)
        )
        return name

    def node(self, op: str, *inputs: str, domain: str = "", **attrs: Any) -> str:
        out = f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [out], name=f"{op}_{out}", domain=domain, **attrs)
        )
        return out

    def parameters(self, scale: Any, zero_point: Any, dtype: str) -> tuple[str, str]:
        return self.constant(scale), self.constant(zero_point, dtype)

    def quantize(self, x: str, scale: Any, zero_point: int, dtype: str = "int8") -> str:
        return self.node("QuantizeLinear", x, *self.parameters(scale, zero_point, dtype))

    def dequantize(self, q: str, scale: Any, zero_point: Any, dtype: str, **attrs: Any) -> str:
        return self.node("DequantizeLinear", q, *self.parameters(scale, zero_point, dtype), **attrs)

    def fake(self, x: str, scale: Any, zero_point: int, dtype: str = "int8") -> str:
        """x rounded to a grid: QuantizeLinear and DequantizeLinear."""
        return self.dequantize(self.quantize(x, scale, zero_point, dtype), scale, zero_point, dtype)

    def weights(self, q: np.ndarray, scale: Any, zero_point: Any = None, axis: int = 0) -> str:
        """A dequantized constant; `scale` of one or one per slice along `axis`."""
        zeros = np.zeros(np.shape(scale), int) if zero_point is None else zero_point
        attrs = {"axis": axis} if np.ndim(scale) else {}
        return self.dequantize(self.constant(q, q.dtype), scale, zeros, str(q.dtype), **attrs)

    def proto(self, *outputs: str, kinds: dict[str, str] | None = None) -> onnx.ModelProto:
        tensors = [
            v if isinstance(v, onnx.TensorProto) else numpy_helper.from_array(v, k)
            for k, v in self.constants.items()
        ]
        for name, tensor in zip(self.constants, tensors, strict=True):
            tensor.name = name
        info = helper.make_tensor_value_info
        made = kinds or {}
        graph = helper.make_graph(
            self.nodes,
            "test",
            [info(n, KINDS[self.kinds[n]], s) for n, s in self.inputs.items()],
            [info(n, KINDS[made.get(n, "float32")], None) for n in outputs],
            tensors,
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def exact_session(source: bytes | str) -> ort.InferenceSession:
    """ONNX Runtime without its rewriting of QDQ, which changes results."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def loaded(proto: onnx.ModelProto) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        return load(save(proto, Path(folder)))


def compare(
    proto: onnx.ModelProto, steps: float = 1, seed: int = 0, oracle: str = "onnxruntime"
) -> Graph:
    """Import, run on random input, and compare each output with the file's own meaning.

    Results may differ by `steps` of the output's scale, and hardly any by more than none. `oracle`
    is "onnxruntime" or "onnx", the specification's own evaluator, where ONNX Runtime's integer
    kernels saturate (16-bit sums of uint8 times int8 on CPUs without VNNI).
    """
    graph = loaded(proto)
    rng = np.random.default_rng(seed)
    nchw = graph.metadata.get("layout", {})
    feeds, declared = {}, {}
    for name in graph.inputs:
        value = graph.values[name]
        assert value.quant is not None
        info = np.iinfo(value.dtype)
        q = rng.integers(info.min, info.max + 1, value.shape).astype(value.dtype)
        feeds[name] = q
        kind = next(i for i in proto.graph.input if i.name == name).type.tensor_type.elem_type
        fed: Any = convert.dequantize(value, q)
        if kind == TensorProto.INT8:
            fed = q
        if kind == TensorProto.UINT8:
            fed = (q.astype(int) + 128).astype(np.uint8)
        declared[name] = fed.transpose(0, 3, 1, 2) if name in nchw else fed
    if oracle == "onnx":
        want = ReferenceEvaluator(proto).run(None, declared)
    else:
        want = exact_session(proto.SerializeToString()).run(None, declared)
    got = run(graph, feeds)
    assert len(graph.outputs) == len(want)
    for name, expected in zip(graph.outputs, want, strict=True):
        value = graph.values[name]
        assert value.quant is not None
        scale, zero = float(value.quant.scale[0]), int(value.quant.zero_point[0])
        result = got[name].transpose(0, 3, 1, 2) if name in nchw else got[name]
        assert result.shape == expected.shape
        if expected.dtype == np.float32:
            info = np.iinfo(value.dtype)
            expected = np.clip(np.round(expected / scale) + zero, info.min, info.max)
        elif expected.dtype == np.uint8:
            expected = expected.astype(int) - 128
        difference = np.abs(result.astype(int) - expected)
        assert difference.max() <= steps, (name, difference.max())
        assert len(np.unique(result)) > 1 or len(np.unique(expected)) == 1
    return graph
