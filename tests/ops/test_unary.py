"""`unary` on integers: TFLM's bytes where it has the function, the real function otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from elementwise_graphs import FIXED, unary_graphs
from graphs import one_node
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tflm import run_graph

from edgekit import reference
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.ops import operator
from edgekit.ops.convert import dequantize, quantize
from edgekit.ops.functions import FUNCTIONS, domain_of, parameters_of, real
from edgekit.ops.interval import Interval
from edgekit.ops.unary_params import unary_params

FEW = settings(max_examples=25, deadline=None)
#: Functions that TFLM computes on integers, and with which widths.
IN_TFLM = [
    *((f, "int8") for f in ("sigmoid", "tanh", "hard_swish", "leaky_relu", "elu", "abs", "rsqrt")),
    *((f, "int16") for f in ("sigmoid", "tanh", "leaky_relu", "abs", "rsqrt")),
]
IN_FLOAT32 = ("exp", "log", "gelu")


def every(value: Value) -> np.ndarray:
    """All integers of a width, in one row."""
    info = np.iinfo(value.dtype)
    return np.arange(info.min, info.max + 1).astype(value.dtype)[None]


def tflm_has_it(function: str, x: Quant, y: Quant) -> bool:
    """Whether TFLM gives these scales a meaning."""
    if function == "rsqrt":  # Beyond, its product leaves int32.
        return 1 / (float(x.scale[0]) ** 0.5 * float(y.scale[0])) < 2.0**30
    if function != "hard_swish":
        return True
    # Multipliers of int16 arithmetic: a left shift of the result is refused, and one to the right
    # by 16 or more is not defined.
    fine = float(x.scale[0]) / 128
    out = fine / float(y.scale[0])
    return out < 1 and min(out, fine / (3 / 32768)) > 2.0**-15


@pytest.mark.parametrize(("function", "dtype"), IN_TFLM)
def test_tflm(function: str, dtype: str) -> None:
    count = 256 if dtype == "int8" else 65536

    @FEW
    @given(unary_graphs(function, dtype, dtype, count))
    def check(graph: Graph) -> None:
        (node,) = graph.nodes
        x, y = graph.values["x"], graph.values["y"]
        assert x.quant is not None and y.quant is not None
        assume((function, dtype) not in FIXED or y.quant == FIXED[function, dtype])
        assume(tflm_has_it(function, x.quant, y.quant))
        assume(parameters_of(function, node.attrs).get("alpha", 1.0) == 1.0 or function != "elu")
        feed = every(x)
        if function == "rsqrt":  # TFLM stops at a negative number.
            feed = np.maximum(feed, x.quant.zero_point[0]).astype(dtype)
        ours = reference.run(graph, {"x": feed})["y"]
        np.testing.assert_array_equal(ours, run_graph(graph, {"x": feed}))

    check()


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - {f for f, _ in IN_TFLM}))
def test_int8_is_the_rounded_function(function: str) -> None:
    """Every entry is the integer next to the function's value."""

    @FEW
    @given(unary_graphs(function, "int8", "int8", 256))
    def check(graph: Graph) -> None:
        (node,) = graph.nodes
        x, y = graph.values["x"], graph.values["y"]
        assert x.quant is not None and y.quant is not None
        found = reference.run(graph, {"x": every(x)})["y"]
        lo, hi = domain_of(function, node.attrs)
        at = np.float64(x.quant.scale[0]) * (every(x).astype(int) - x.quant.zero_point[0])
        ideal = real(function, node.attrs, np.clip(at, lo, hi))
        units = np.clip(ideal / np.float64(y.quant.scale[0]) + y.quant.zero_point[0], -128, 127)
        # Tables made in float32 may round numbers close to a half the other way.
        assert (np.abs(found - units) <= 0.5 + (2e-2 if function in IN_FLOAT32 else 1e-9)).all()

    check()


def samples(function: str) -> np.ndarray:
    """Numbers of the function's domain, away from poles."""
    x = np.random.default_rng(0).normal(0, 2, (1, 3000))
    if function in ("log", "sqrt", "rsqrt", "reciprocal", "log1p"):
        return np.abs(x) + 0.05
    if function in ("asin", "acos", "atanh"):
        return np.clip(x / 5, -0.95, 0.95)
    if function == "acosh":
        return np.abs(x) + 1
    return np.clip(x / 3, -1.2, 1.2) if function == "tan" else x


def covering(x: np.ndarray, dtype: str) -> Quant:
    """What the quantizer gives a tensor: all of int8, a quarter of int16."""
    lo, hi = min(0.0, float(x.min())), max(0.0, float(x.max()))
    if dtype == "int16":
        return Quant.make(4 * max(-lo, hi) / 32767)
    scale = (hi - lo) / 255
    return Quant.make(scale, int(np.clip(round(-128 - lo / scale), -128, 127)))


def test_exp_of_int16_saturates() -> None:
    """TFLite's table would have an entry far below in front of the first that saturates."""
    graph = one_node(
        "unary",
        [Value("x", (1, 65536), "int16", Quant.make(20 / 32768))],
        Value("y", (1, 65536), "int16", Quant.make(10 / 32768)),
        {},
        function="exp",
    )
    found = reference.run(graph, {"x": every(graph.values["x"])})["y"].astype(int)
    assert (np.diff(found) >= 0).all() and found[0, -1] == 32767


@pytest.mark.parametrize(
    ("x_dtype", "dtype", "least"),
    [("int8", "int8", 24), ("int8", "int16", 54), ("int16", "int8", 24), ("int16", "int16", 43)],
)
@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_sqnr(function: str, x_dtype: str, dtype: str, least: float) -> None:
    """Against the real function of the numbers that the integers stand for."""
    wanted = samples(function).astype(np.float32)
    x = Value("x", wanted.shape, x_dtype, covering(wanted, x_dtype))
    q = quantize(x, wanted)
    lo, hi = domain_of(function, {})
    exact = real(function, {}, np.clip(dequantize(x, q), lo, hi))
    exact = np.where(np.isfinite(exact), exact, 0)
    y = Value("y", wanted.shape, dtype, covering(exact, dtype))
    node = Node("unary", ("x",), ("y",), {"function": function, "out_dtype": dtype})
    found = dequantize(y, operator("unary").reference_int(node, [q], [x], y))
    noise = float(np.square(found - exact).sum())
    assert noise == 0 or 10 * np.log10(np.square(exact).sum() / noise) > least


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_interval_holds_all_results_and_no_more(dtype: str, data: st.DataObject) -> None:
    """Not monotone functions too: the least and greatest entry between both ends."""
    function = data.draw(st.sampled_from(sorted(FUNCTIONS)))
    graph = data.draw(unary_graphs(function, dtype, dtype, 3))
    (node,) = graph.nodes
    x, y = graph.values["x"], graph.values["y"]
    info = np.iinfo(dtype)
    ends = np.sort(
        [[data.draw(st.integers(info.min, info.max)) for _ in range(2)] for _ in range(3)], axis=1
    )
    interval = operator("unary").interval(node, [Interval(ends[:, 0], ends[:, 1])], [x], y)
    form = unary_params(node, [x], y)
    for k, (lo, hi) in enumerate(ends):
        results = form.evaluate(np.arange(lo, hi + 1).astype(dtype))
        assert (results.min(), results.max()) == (interval.lo[k], interval.hi[k])
