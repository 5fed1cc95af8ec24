"""Quantized ONNX operators on 16 bits, whose zero point must be the middle: as on 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import ops
from qdq_draw import CHECKED, RNG, has_grid, integers, reseed, scales, seeds, spread
from qdq_models import Model, compare


@CHECKED
@given(
    x=st.sampled_from(["int8", "int16", "uint16"]),
    y=st.sampled_from(["int8", "int16", "uint16"]),
    scale=scales,
    width=st.floats(0.05, 0.5),
    op=st.sampled_from(["Conv", "depthwise", "Gemm"]),
    seed=seeds,
)
def test_wide_products(x, y, scale, width, op, seed) -> None:  # type: ignore[no-untyped-def]
    """Sums of these stay in 32 bits; the bias is int32 at the product of scales as ever."""
    reseed(seed)
    zero = {"int8": 3, "int16": 0, "uint16": 1 << 15}
    m = Model(21, x=["n", 3, 5, 5] if op != "Gemm" else [1, 27])
    left = m.fake("x", scale, zero[x], x)
    shape = {"Conv": (4, 3, 3, 3), "depthwise": (3, 1, 3, 3), "Gemm": (27, 4)}[op]
    w = m.weights(integers(*shape), 0.01)
    if op == "Gemm":
        r = m.node("Gemm", left, w, m.constant(RNG.uniform(-1, 1, 4) * scale))
    else:
        r = m.node("Conv", left, w, group=3 if op == "depthwise" else 1)
    levels = (1 if x == "int8" else 256) / (1 if y == "int8" else 256)
    y_scale = np.float32(spread(scale, 0.01, 27) * width * levels)
    graph = compare(m.proto(m.fake(m.node("Relu", r), y_scale, zero[y], y)))
    assert graph.values[graph.outputs[0]].dtype == ("int8" if y == "int8" else "int16")
    assert has_grid(graph, "x", (scale, zero[x] - (x == "uint16") * (1 << 15), "int8"))


WIDTHS = [
    ("int16", "int16", "int16"),
    ("int16", "int8", "int16"),
    ("int8", "uint16", "int8"),
    ("int8", "int8", "int16"),
]


@pytest.mark.parametrize("kinds", WIDTHS)
@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_wide_binary(op: str, kinds: tuple[str, str, str]) -> None:
    zero = {"int8": 3, "int16": 0, "uint16": 1 << 15}
    scale = {"int8": 0.1, "int16": 0.0004, "uint16": 0.0003}
    m = Model(21, a=[1, 4, 5], b=[1, 4, 5])
    a, b = (m.fake(n, scale[k], zero[k], k) for n, k in zip("ab", kinds, strict=False))
    y = m.fake(
        m.node(op, a, b), (10 if op == "Mul" else 2) * scale[kinds[2]], zero[kinds[2]], kinds[2]
    )
    # Two operands scaled up by 2**15 only: the sum of three roundings.
    assert set(ops(compare(m.proto(y), steps=2))) == {op.lower()}


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "none"])
@pytest.mark.parametrize("wide", [("int16", "int16"), ("int16", "int8"), ("int8", "int16")])
def test_wide_pools_and_requantization(op: str, wide: tuple[str, str]) -> None:
    scale = {"int8": 0.1, "int16": 0.0004}
    m = Model(21, x=["n", 3, 6, 6])
    y = m.fake("x", scale[wide[0]], 0, wide[0])
    if op != "none":
        y = m.node(
            op, y, **({} if op in ("Relu", "GlobalAveragePool") else {"kernel_shape": [2, 2]})
        )
    compare(m.proto(m.fake(y, 0.7 * scale[wide[1]], 0, wide[1])), steps=2)


def test_wide_softmax_and_constants() -> None:
    m = Model(21, x=[1, 10])
    y = m.node("Mul", m.fake("x", 1e-4, 0, "int16"), m.constant(0.7))
    y = m.fake(y, 1e-4, 0, "int16")
    wide = m.weights(RNG.integers(-32767, 32768, 10).astype(np.int16), 1e-4)
    y = m.fake(m.node("Add", y, wide), 2e-4, 0, "int16")
    y = m.fake(m.node("Softmax", y), np.float32(1 / 32768), 0, "int16")
    graph = compare(m.proto(y), steps=40)  # of 32768: interpolated tables of 513 entries
    assert ops(graph) == ["mul", "add", "softmax"]
    assert {v.dtype for n, v in graph.values.items() if n not in graph.constants} == {"int16"}
