"""Normalizations and matrix products in integers against real arithmetic, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from graphs import one_node

from edgekit.graph import Graph, GraphError, Node, Quant, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops import operator
from edgekit.ops.convert import dequantize, quantize
from edgekit.ops.normalize import BETA_STEPS, floor_sqrt, inverse_root
from edgekit.reference import run

NORMS: dict[str, dict[str, Any]] = {
    "layer_norm": {},
    "rms_norm": {},
    "instance_norm": {},
    "group_norm": {"groups": 4},
}
SHAPE, CHANNELS = (1, 6, 8, 32), 32


def sqnr(real: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(real).sum() / np.square(real - found).sum()))


def grid(x: np.ndarray, dtype: str) -> Quant:
    return Quant.make(np.abs(x).max() / np.iinfo(dtype).max)


def textbook(op: str, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The normalization written down once more, independently, in float64."""
    if op == "group_norm":
        parts = x.reshape(*x.shape[:-1], 4, 8)
        mean = parts.mean(axis=(1, 2, 4), keepdims=True)
        variance = parts.var(axis=(1, 2, 4), keepdims=True)
        return ((parts - mean) / np.sqrt(variance + 1e-5)).reshape(x.shape) * gamma + beta
    if op == "rms_norm":
        return x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + 1e-5) * gamma
    axes = (-1,) if op == "layer_norm" else (1, 2)
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def norm(op: str, x_dtype: str, dtype: str) -> tuple[Graph, np.ndarray, np.ndarray]:
    """A graph, integers for it, and what real arithmetic makes of those."""
    r = np.random.default_rng(4)
    x = r.normal(0.7, 2.0, (5, *SHAPE[1:])).astype(np.float32)
    gamma, beta = r.normal(1, 0.3, CHANNELS), r.normal(0, 0.5, CHANNELS)
    scale = np.float32(np.abs(gamma).max() / 32767)
    step = np.float32(scale * np.float32(BETA_STEPS))
    values = [Value("x", SHAPE, x_dtype, grid(x, x_dtype)),
              Value("gamma", (CHANNELS,), "int16", Quant.make(scale)),
              Value("beta", (CHANNELS,), "int32", Quant.make(step))]  # fmt: skip
    constants = {"gamma": np.round(gamma / scale).astype(np.int16),
                 "beta": np.round(beta / step).astype(np.int32)}  # fmt: skip
    integers = quantize(values[0], x)
    real = textbook(op, dequantize(values[0], integers).astype(np.float64), gamma, beta)
    if op == "rms_norm":
        del values[2], constants["beta"]
    attrs = {"epsilon": 1e-5, **NORMS[op]}
    if dtype != x_dtype:
        attrs["out_dtype"] = dtype
    graph = one_node(op, values, Value("y", SHAPE, dtype, grid(real, dtype)), constants, **attrs)
    return graph, integers, real


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize(("x_dtype", "dtype"), [
    ("int8", "int8"), ("int8", "int16"), ("int16", "int8"), ("int16", "int16"),
])  # fmt: skip
def test_normalizations_lose_what_rounding_the_result_loses(
    op: str, x_dtype: str, dtype: str
) -> None:
    graph, integers, real = norm(op, x_dtype, dtype)
    y = graph.values["y"]
    found = sqnr(real, dequantize(y, run(graph, {"x": integers})["y"]))
    best = sqnr(real, dequantize(y, quantize(y, real)))
    assert found > best - (0.1 if dtype == "int8" else 1.0)
    assert found > (36 if dtype == "int8" else 80)


@pytest.mark.parametrize("op", NORMS)
def test_float_normalizations(op: str) -> None:
    r = np.random.default_rng(5)
    x = r.normal(0.7, 2.0, (3, *SHAPE[1:])).astype(np.float32)
    gamma, beta = (r.normal(1, 0.3, CHANNELS).astype(np.float32) for _ in range(2))
    vectors = [gamma] if op == "rms_norm" else [gamma, beta]
    node = Node(op, (), ("y",), {"epsilon": 1e-5, **NORMS[op]})
    found = operator(op).reference_float(node, [x, *vectors])
    np.testing.assert_allclose(found, textbook(op, x.astype(np.float64), gamma, beta), rtol=1e-5,
                               atol=1e-5)  # fmt: skip


@pytest.mark.parametrize("op", NORMS)
def test_a_constant_row_becomes_beta(op: str) -> None:
    graph, integers, _ = norm(op, "int8", "int16")
    flat = np.full_like(integers[:1], 17)
    y = run(graph, {"x": flat})["y"]
    if op == "rms_norm":
        assert (np.abs(y) > 100).any()
        return
    beta = dequantize(graph.values["beta"], graph.constants["beta"])
    want = quantize(graph.values["y"], np.broadcast_to(beta, SHAPE))
    assert np.abs(y.astype(int) - want).max() <= 1


def test_extreme_rows_do_not_wrap() -> None:
    """The most deviations from the mean that N numbers can have: one of them differs."""
    count = 32768
    gamma, beta = Quant.make(1 / 32767), Quant.make(np.float32(1 / 32767) * np.float32(BETA_STEPS))
    graph = one_node(
        "layer_norm",
        [Value("x", (1, count), "int16", Quant.make(1.0)),
         Value("gamma", (count,), "int16", gamma), Value("beta", (count,), "int32", beta)],
        Value("y", (1, count), "int16", Quant.make(200 / 32767)),
        {"gamma": np.full(count, 32767, np.int16), "beta": np.zeros(count, np.int32)},
        epsilon=0.0,
    )  # fmt: skip
    x = np.full((1, count), -32768, np.int16)
    x[0, 5] = 32767
    y = dequantize(graph.values["y"], run(graph, {"x": x})["y"])[0]
    assert y[5] == pytest.approx(math.sqrt(count - 1), rel=1e-4)
    assert y[0] == pytest.approx(-1 / math.sqrt(count - 1), abs=200 / 32767)


def test_roots_are_whole_parts() -> None:
    r = np.random.default_rng(6)
    some = [int(x) for x in r.integers(0, 2**63, 2000)]
    squares = [int(x) ** 2 for x in r.integers(1, 2**32, 2000)]
    x = [0, 1, 2, 3, 2**64 - 1, 2**62, *some, *squares, *(s - 1 for s in squares),
         *(s + 1 for s in squares)]  # fmt: skip
    found = floor_sqrt(np.array(x, np.uint64))
    assert [int(f) for f in found] == [math.isqrt(v) for v in x]
    v = [max(i, 1) for i in x]
    inverse, pairs = inverse_root(np.array(v, np.uint64))
    for number, i, p in zip(v, inverse, pairs, strict=True):
        shifted = number << (2 * int(p))
        assert 2**62 <= shifted < 2**64
        assert int(i) == min(2**62 // math.isqrt(shifted), 2**31 - 1)


def test_inverse_sqrt_is_close() -> None:
    x = np.unique(np.geomspace(2, 2**31 - 1, 3000).astype(np.int64))
    multiplier, shift = fp.inverse_sqrt(x)
    found = multiplier * 2.0 ** (shift - 31)
    np.testing.assert_allclose(found, 1 / np.sqrt(x), rtol=1e-3)


def test_logarithm_is_close() -> None:
    x = np.unique(np.geomspace(2**19, 2**31 - 1, 3000).astype(np.int64))
    found = fp.log_of_at_least_one(x, 12, 5) / 2.0**26
    np.testing.assert_allclose(found, np.log(x / 2.0**19), atol=1e-4)


@pytest.mark.parametrize("types", [("int8", "int8"), ("int16", "int8"), ("int16", "int16")])
def test_matmul_with_a_scale(types: tuple[str, str]) -> None:
    r = np.random.default_rng(7)
    a, b = (r.normal(size=(1, 3, 10, 12)).astype(np.float32) for _ in range(2))
    values = [Value(n, x.shape, t, grid(x, t)) for n, x, t in zip("ab", (a, b), types, strict=True)]
    integers = {v.name: quantize(v, x) for v, x in zip(values, (a, b), strict=True)}
    left, right = (dequantize(v, integers[v.name]) for v in values)
    real = 0.25 * np.einsum("hmk,hnk->hmn", left[0], right[0])[None]
    y = Value("y", real.shape, "int16", grid(real, "int16"))
    graph = one_node("matmul", values, y, {}, transpose_b=True, scale=0.25, out_dtype="int16")
    assert sqnr(real, dequantize(y, run(graph, integers)["y"])) > 75


def refusal(op: str, values: list[Value], **attrs: Any) -> str:
    node = Node(op, tuple(v.name for v in values), ("y",), attrs, "n")
    with pytest.raises(GraphError) as caught:
        operator(op).checked(node, values)
    return str(caught.value)


def test_rules_name_what_is_wrong() -> None:
    def floats(*shapes: tuple[int, ...]) -> list[Value]:
        return [Value(f"v{i}", shape) for i, shape in enumerate(shapes)]

    assert "at least two axes" in refusal("matmul", floats((4,), (4, 5)))
    assert "as many columns" in refusal("matmul", floats((2, 4), (5, 4)))
    assert "broadcast" in refusal("matmul", floats((2, 3, 4), (3, 4, 5)))
    assert "'scale'" in refusal("matmul", floats((3, 4), (4, 5)), scale=-1.0)
    wide = [Value("a", (1, 20000), "int8"), Value("b", (20000, 1), "int8")]
    assert "16384" in refusal("matmul", wide)
    assert "'epsilon'" in refusal("layer_norm", floats((1, 4), (4,), (4,)))
    assert "per channel" in refusal("layer_norm", floats((1, 4), (4,), (5,)), epsilon=0.0)
    assert "three operands" in refusal("layer_norm", floats((1, 4), (4,)), epsilon=0.0)
    assert "'groups'" in refusal("group_norm", floats((1, 4), (4,), (4,)), epsilon=0.0, groups=3)
    assert "between" in refusal("instance_norm", floats((1, 4), (4,), (4,)), epsilon=0.0)
    assert "32768" in refusal("l2_normalize", [Value("x", (1, 40000), "int8")], epsilon=0.0)
    assert "4095" in refusal("log_softmax", [Value("x", (1, 5000), "int8")])
    masked = [Value("x", (1, 4, 5)), Value("m", (4, 4), "bool")]
    assert "last axes" in refusal("masked_softmax", masked)
