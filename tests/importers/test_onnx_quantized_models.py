"""Models that ONNX Runtime quantized: each layer within one step of it, exact in generated C."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import pytest
from built import M4, merged, run_host, run_m4
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from pace import thinned
from qdq_models import Model, compare, exact_session
from shared import SHARED, needs_shared

from codegen import memory_check
from codegen.lower import build_program
from edgekit import data
from edgekit.graph import Graph, Quant
from edgekit.importers import load
from edgekit.ops.base import run_node
from edgekit.ops.requant import clamp_of_output
from edgekit.reference import run

DIGITS = Path(__file__).parents[2] / "samples" / "digits"
QDQ, QOPERATOR = QuantFormat.QDQ, QuantFormat.QOperator
S8, U8, S16 = QuantType.QInt8, QuantType.QUInt8, QuantType.QInt16


class Samples(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, name: str, x: np.ndarray) -> None:
        self.rows = iter([{name: x[i : i + 1]} for i in range(len(x))])

    def get_next(self) -> Any:
        return next(self.rows, None)


def quantized(
    source: Path, folder: Path, samples: np.ndarray, form: Any, activations: Any, **options: Any
) -> Path:
    """The model as ONNX Runtime's static quantizer writes it."""
    logging.disable(logging.WARNING)
    path = folder / "quantized.onnx"
    name = onnx.load(source).graph.input[0].name
    reader = Samples(name, samples.astype(np.float32))
    quantize_static(str(source), str(path), reader, quant_format=form, activation_type=activations,
                    weight_type=S8, **options)  # fmt: skip
    logging.disable(logging.NOTSET)
    return path


def layer_differences(
    path: Path, graph: Graph, x: np.ndarray, declared: np.ndarray
) -> dict[str, int]:
    """Greatest difference of each layer's integers from the file's reals on the same grid, where
    the layer reads what ONNX Runtime computed in front of it."""
    model = onnx.load(path)
    made = {o for n in model.graph.node for o in n.output}
    known = {o.name for o in model.graph.output}
    wanted = [n.output for n in graph.nodes if n.output in made]
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted if n not in known)
    session = exact_session(model.SerializeToString())
    rows = [
        session.run(wanted, {session.get_inputs()[0].name: declared[i : i + 1]})
        for i in range(len(x))
    ]
    reals = {n: np.concatenate([r[i] for r in rows]) for i, n in enumerate(wanted)}
    [source] = graph.inputs
    values = {source: data.quantize_input(graph, source, x)}
    differences = {}
    for node in graph.nodes:
        [got] = run_node(graph, node, [values.get(i, graph.constants.get(i)) for i in node.inputs])  # type: ignore[misc]
        values[node.output] = got
        if node.output not in reals:
            continue
        out = graph.values[node.output]
        assert out.quant is not None
        info = np.iinfo(out.dtype)
        lo, hi = info.min, info.max
        if node.op not in ("reshape", "transpose"):
            lo, hi = clamp_of_output(node, out)
        real = reals[node.output]
        if real.ndim == 4 and real.shape != got.shape:
            real = real.transpose(0, 2, 3, 1)
        q = np.clip(np.round(real / out.quant.scale[0]) + out.quant.zero_point[0], lo, hi)
        q = q.reshape(got.shape).astype(out.dtype)
        differences[f"{node.op} {node.output}"] = int(np.abs(got.astype(int) - q).max())
        values[node.output] = q
    return differences


def outputs(
    path: Path, graph: Graph, x: np.ndarray, declared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Real outputs [n, classes] of the integer graph and of the file."""
    [source], [out] = graph.inputs, graph.outputs
    got = run(graph, {source: data.quantize_input(graph, source, x)})[out]
    session = exact_session(str(path))
    feed = session.get_inputs()[0].name
    want = np.concatenate(
        [session.run(None, {feed: declared[i : i + 1]})[0] for i in range(len(x))]
    )
    return data.dequantize_output(graph, out, got).reshape(len(x), -1), want.reshape(len(x), -1)


def digits(part: str) -> tuple[np.ndarray, np.ndarray]:
    arrays = np.load(DIGITS / f"digits_{part}.npz")
    [name] = [n for n in arrays.files if n != "label"]
    return arrays[name], arrays["label"] if "label" in arrays.files else np.zeros(0)


FORMS = {
    "qdq int8": (QDQ, S8, {"per_channel": True}),
    "qdq uint8": (QDQ, U8, {"per_channel": False}),
    # Weights of 7 bits: ONNX Runtime's QLinearConv of uint8 and int8 saturates on many CPUs.
    "qoperator": (QOPERATOR, U8, {"per_channel": True, "reduce_range": True}),
    "qdq opset 21": (QDQ, S8, {"per_channel": True}),
    "qdq int16": (QDQ, S16, {"per_channel": True, "extra_options": {"ActivationSymmetric": True}}),
}


@pytest.mark.parametrize(
    "form", thinned(FORMS, lambda form: form not in ("qdq uint8", "qdq opset 21"))
)
def test_digits(tmp_path: Path, form: str) -> None:
    kind, activations, options = FORMS[form]
    source = DIGITS / "digits.onnx"
    if form in ("qdq opset 21", "qdq int16"):
        converted = onnx.version_converter.convert_version(onnx.load(source), 21)
        source = tmp_path / "21.onnx"
        onnx.save(converted, source)
    path = quantized(source, tmp_path, digits("calibration")[0], kind, activations, **options)
    graph = load(path)
    wide = form == "qdq int16"
    assert {v.dtype for v in graph.values.values()} == {
        "int8",
        "int32",
        *(["int16"] if wide else []),
    }
    x, label = digits("eval")
    feed = data.prepare(graph, {graph.inputs[0]: x})[graph.inputs[0]]
    if kind == QDQ:
        differences = layer_differences(path, graph, feed[:100], x[:100].astype(np.float32))
        assert len(differences) >= 7
        if wide:  # a softmax of tables with 513 entries, in steps of 1/32768
            name = next(n for n in differences if n.startswith(("softmax", "clip")))
            assert differences.pop(name) <= 40
        assert max(differences.values()) <= 1, differences
    got, want = outputs(path, graph, feed, x.astype(np.float32))
    assert (got.argmax(1) == want.argmax(1)).mean() >= 0.99
    assert (got.argmax(1) == label).mean() >= (want.argmax(1) == label).mean() - 0.006
    program = build_program(graph, M4.target)
    memory_check.check(program)
    one = {graph.inputs[0]: data.quantize_input(graph, graph.inputs[0], feed[:1])}
    exact = run(graph, one)[graph.outputs[0]]
    assert np.array_equal(run_host(program, tmp_path, one)[0], exact)
    assert np.array_equal(run_m4(program, tmp_path, one)[0][0], exact)


def test_dynamically_quantized_digits(tmp_path: Path) -> None:
    """A float graph: its weights are those of the file, rounded to int8 and made real again."""
    logging.disable(logging.WARNING)
    path = tmp_path / "dynamic.onnx"
    quantize_dynamic(str(DIGITS / "digits.onnx"), str(path), weight_type=S8)
    logging.disable(logging.NOTSET)
    graph, source = load(path), load(DIGITS / "digits.onnx")
    assert "at run time" in graph.metadata["note"]
    assert [n.op for n in graph.nodes] == [n.op for n in source.nodes]
    x, label = digits("eval")
    for g in (graph, source):
        feed = data.prepare(g, {g.inputs[0]: x})
        real = {n: a.astype(np.float32) for n, a in feed.items()}
        assert (run(g, real)[g.outputs[0]].reshape(len(x), -1).argmax(1) == label).mean() > 0.98


@needs_shared
@pytest.mark.parametrize("layout", ["", "_nchw"])
@pytest.mark.parametrize("name", ["kws", "resnet8", "vww96"])
def test_mlperf_tiny(tmp_path: Path, name: str, layout: str) -> None:
    """Quantized from 32 samples, judged on 48: agreement with ONNX Runtime's own arithmetic."""
    source = SHARED / "models" / f"mlperf_tiny_{name}{layout}_float32.onnx"
    parts = {
        p: np.load(SHARED / "data" / f"{name}_{p}.npz")["input"] for p in ("calibration", "eval")
    }
    x = parts["eval"][:48].astype(np.float32)
    samples = parts["calibration"][:32]
    if layout:
        samples = samples.transpose(0, 3, 1, 2)
    activations = U8 if layout else S8
    path = quantized(source, tmp_path, samples, QDQ, activations, per_channel=not layout)
    graph = load(path)
    assert graph.metadata.get("layout", {}) == ({"input": "NCHW"} if layout else {})
    declared = x.transpose(0, 3, 1, 2) if layout else x
    differences = layer_differences(path, graph, x[:4], declared[:4])
    assert len(differences) >= 11
    assert max(differences.values()) <= 1, differences
    got, want = outputs(path, graph, x, declared)
    assert (got.argmax(1) == want.argmax(1)).mean() >= 0.93
    error = 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum())
    assert error >= 20, error


def test_helper_sees_a_wrong_scale(tmp_path: Path) -> None:
    """The measure of these tests is not blind: a scale that is 3 % off shows."""
    path = quantized(DIGITS / "digits.onnx", tmp_path, digits("calibration")[0], QDQ, S8)
    graph = load(path)
    x = digits("eval")[0][:20].astype(np.float32)
    feed = data.prepare(graph, {graph.inputs[0]: x})[graph.inputs[0]]
    node = next(n for n in graph.nodes if n.op == "conv2d")
    value = graph.values[node.inputs[1]]
    assert value.quant is not None
    off = Quant.make(value.quant.scale * np.float32(1.03), 0, value.quant.axis)
    graph.values[value.name] = replace(value, quant=off)
    assert max(layer_differences(path, graph, feed, x).values()) > 1


def zoo() -> list[Graph]:
    """Graphs of every form that the importer makes of quantized operators."""
    rng = np.random.default_rng(11)

    def weights(m: Model, *shape: int, scale: Any = 0.01, axis: int = 0) -> str:
        return m.weights(rng.integers(-127, 128, shape).astype(np.int8), scale, axis=axis)

    graphs = []
    for opset, dtype, zero in ((13, "uint8", 120), (21, "int8", -9), (21, "int16", 0)):
        m = Model(opset, x=["n", 3, 7, 6])
        wide = dtype == "int16"

        def fake(x: str, scale: float, m: Model = m, dtype: str = dtype, zero: int = zero) -> str:
            return m.fake(x, scale / 200 if dtype == "int16" else scale, zero, dtype)

        x = fake("x", 0.05)
        y = m.node("Conv", x, weights(m, 3, 3, 3, 3, scale=[0.01, 0.02, 0.005]), pads=[1] * 4)
        y = fake(m.node("Relu", y), 0.6)
        y = fake(m.node("Add", y, x), 0.7)
        y = fake(m.node("Mul", y, m.constant(0.3)), 0.3)
        y = fake(m.node("MaxPool", y, kernel_shape=[2, 2]), 0.25)
        y = fake(m.node("Conv", y, weights(m, 6, 1, 2, 2), group=3), 0.5)
        y = fake(m.node("AveragePool", y, kernel_shape=[2, 2], pads=[1] * 4), 0.4)
        y = fake(m.node("GlobalAveragePool", y), 0.1)
        y = fake(m.node("Clip", y, m.constant(-3.0), m.constant(4.0)), 0.09)
        y = m.node("MatMul", m.node("Flatten", y), weights(m, 6, 4, scale=[0.1] * 4, axis=1))
        y = fake(m.node("Add", y, m.constant([0.1, -0.2, 0.3, 0])), 0.05)
        out = (1 / 30000, 0, "int16") if wide else (1 / 255, 0, "uint8")
        y = m.fake(m.node("Softmax", y), *out)
        graphs.append(compare(m.proto(y), steps=1000 if wide else 9))
    return graphs


def test_generated_c_is_exact(tmp_path: Path) -> None:
    """On this machine and on the virtual Cortex-M4, byte for byte the reference."""
    graph = merged(zoo())
    assert {n.op for n in graph.nodes} == {
        "add", "average_pool2d", "clip", "conv2d", "depthwise_conv2d", "fully_connected",
        "max_pool2d", "mul", "reshape", "softmax",
    }  # fmt: skip
    program = build_program(graph, M4.target)
    memory_check.check(program)
    rng, feeds = np.random.default_rng(2), {}
    for name in graph.inputs:
        value = graph.values[name]
        info = np.iinfo(value.dtype)
        feeds[name] = rng.integers(info.min, info.max + 1, value.shape).astype(value.dtype)
    want = run(graph, feeds)
    for results in (run_host(program, tmp_path, feeds), run_m4(program, tmp_path, feeds)[0]):
        for tensor, result in zip(program.outputs, results, strict=True):
            assert np.array_equal(result, want[tensor.name])
