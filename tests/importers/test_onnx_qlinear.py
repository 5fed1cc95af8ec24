"""ONNX operators that compute on integers become the layers that they abbreviate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import ops
from qdq_models import Model, compare

RNG = np.random.default_rng(4)


def integers(*shape: int, lo: int = -127, hi: int = 127) -> np.ndarray:
    return RNG.integers(lo, hi + 1, shape).astype(np.int8)


def quantized(m: Model) -> tuple[str, str, str]:
    names = m.parameters(0.05, 120, "uint8")
    return (m.node("QuantizeLinear", "x", *names), *names)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_qlinear_conv(per_channel: bool, bias: bool) -> None:
    m = Model(21, x=["n", 3, 6, 5])
    scale = [0.01, 0.02, 0.005, 0.03] if per_channel else 0.02
    w = [
        m.constant(integers(4, 3, 3, 3), np.int8),
        *m.parameters(scale, np.zeros_like(scale), "int8"),
    ]
    b = [m.constant([900, -900, 10, 0], np.int32)] if bias else []
    y = m.node("QLinearConv", *quantized(m), *w, *m.parameters(0.4, 110, "uint8"), *b, pads=[1] * 4)
    y = m.dequantize(y, 0.4, 110, "uint8")
    assert ops(compare(m.proto(y), oracle="onnx")) == ["conv2d"]


def test_chain_of_integer_operators_with_moves_between() -> None:
    """As ONNX Runtime's QOperator format: MaxPool and Reshape read and write uint8."""
    m = Model(21, x=["n", 3, 6, 6])
    x = quantized(m)
    pooled = m.node("MaxPool", x[0], kernel_shape=[2, 2], strides=[2, 2])
    flat = m.node("Reshape", pooled, m.constant([1, -1], np.int64))
    w = [m.constant(integers(27, 4), np.int8), *m.parameters(0.01, 0, "int8")]
    y = m.node("QLinearMatMul", flat, *x[1:], *w, *m.parameters(0.3, 110, "uint8"))
    graph = compare(m.proto(m.dequantize(y, 0.3, 110, "uint8")), oracle="onnx")
    assert [o for o in ops(graph) if o not in ("reshape", "transpose")] == [
        "max_pool2d",
        "fully_connected",
    ]


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
def test_qlinear_binary(op: str) -> None:
    m = Model(21, x=["n", 3, 6, 5])
    x = quantized(m)
    half = m.parameters(0.03, 100, "uint8")
    other = m.node("QuantizeLinear", "x", *half)
    out = (0.08, 90, "uint8")
    y = m.node(op, *x, other, *half, *m.parameters(*out), domain="com.microsoft")
    # x is quantized once on the finer scale here; ONNX Runtime quantizes it twice.
    graph = compare(m.proto(m.dequantize(y, *out)), steps=1 if op == "QLinearAdd" else 2)
    assert set(ops(graph)) - {"clip", "transpose"} == {op.removeprefix("QLinear").lower()}


@pytest.mark.parametrize("op", ["QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearSoftmax"])
def test_qlinear_unary(op: str) -> None:
    m = Model(21, x=["n", 3, 4, 6])
    x = quantized(m)
    attrs: dict[str, Any] = {
        "QLinearGlobalAveragePool": {"channels_last": 0},
        "QLinearAveragePool": {"kernel_shape": [2, 3], "channels_last": 0},
        "QLinearSoftmax": {"axis": -1, "opset": 13},
    }[op]
    out = (1 / 256, 0, "uint8") if op == "QLinearSoftmax" else (0.02, 110, "uint8")
    y = m.node(op, *x, *m.parameters(*out), domain="com.microsoft", **attrs)
    compare(m.proto(m.dequantize(y, *out)))


@pytest.mark.parametrize("quantized_result", [True, False])
def test_qgemm(quantized_result: bool) -> None:
    """Weights of 7 bits: sums of 16 bits do not saturate in ONNX Runtime."""
    m = Model(21, x=[1, 12])
    w = m.constant(integers(5, 12, lo=-63, hi=63), np.int8)
    bias = m.constant([900, -900, 10, 0, 5], np.int32)
    out = m.parameters(0.2, 110, "uint8") if quantized_result else ()
    names = m.parameters([0.01, 0.02, 0.03, 0.01, 0.02], np.zeros(5), "int8")
    operands = [*quantized(m), w, *names, bias, *out]
    y = m.node("QGemm", *operands, domain="com.microsoft", transB=1, alpha=1.0)
    y = m.dequantize(y, 0.2, 110, "uint8") if quantized_result else m.fake(y, 0.2, 110, "uint8")
    assert ops(compare(m.proto(y))) == ["fully_connected"]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
def test_sums_scaled_by_operators_of_their_own(op: str, per_channel: bool) -> None:
    """Integer sums, Cast, Mul by the product of scales, Add of a bias, Relu, QuantizeLinear."""
    m = Model(21, x=["n", 3, 6, 5] if op == "ConvInteger" else [1, 12])
    q, scale, zero = quantized(m)
    w = integers(4, 3, 3, 3) if op == "ConvInteger" else integers(12, 4)
    tail = (1, 4, 1, 1) if op == "ConvInteger" else (4,)
    s = np.array([0.01, 0.02, 0.005, 0.03]).reshape(tail) if per_channel else 0.02
    y = m.node(op, q, m.constant(w, np.int8), zero, m.constant(0, np.int8))
    y = m.node("Cast", y, to=1)
    y = m.node("Mul", y, m.node("Mul", scale, m.constant(s)))
    y = m.node("Add", y, m.constant(np.array([1, -1, 0.5, 2]).reshape(tail)))
    y = m.fake(m.node("Relu", y), 0.3, 0, "uint8")
    graph = compare(m.proto(y), oracle="onnx")
    assert ops(graph) == ["conv2d" if op == "ConvInteger" else "fully_connected"]
    assert sorted(graph.constants[graph.nodes[0].inputs[1]].ravel()) == sorted(w.ravel())


def test_sums_behind_a_move() -> None:
    m = Model(21, x=["n", 3, 2, 2])
    q, _, zero = quantized(m)
    flat = m.node("Reshape", q, m.constant([1, -1], np.int64))
    y = m.node("MatMulInteger", flat, m.constant(integers(12, 4), np.int8), zero)
    y = m.node("Mul", m.node("Cast", y, to=1), m.constant(0.05 * 0.01))
    compare(m.proto(m.fake(y, 0.3, 0)), oracle="onnx")
