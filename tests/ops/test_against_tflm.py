"""Every integer operator against TFLite Micro's interpreter: no byte may differ."""

from __future__ import annotations

import graphs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflm import run_graph

from edgekit.graph import Graph, Quant, Value
from edgekit.reference import run

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=60, deadline=None)


def assert_same(graph: Graph, seed: int, n: int = 3) -> None:
    feeds = graphs.batch(graph, seed, n)
    ours = run(graph, feeds)[graph.outputs[0]]
    assert ours.dtype == graph.values[graph.outputs[0]].dtype
    np.testing.assert_array_equal(ours, run_graph(graph, feeds))


@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d", "fully_connected"])
def test_weighted(op: str) -> None:
    @FEW
    @given(graphs.conv_graphs(op), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assert_same(graph, seed)

    check()


@pytest.mark.parametrize("op", ["add", "mul"])
def test_elementwise(op: str) -> None:
    @FEW
    @given(graphs.elementwise_graphs(op), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assert_same(graph, seed)

    check()


@pytest.mark.parametrize("op", ["average_pool2d", "max_pool2d"])
def test_pooling(op: str) -> None:
    @FEW
    @given(graphs.pool_graphs(op), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assert_same(graph, seed)

    check()


@FEW
@given(graphs.softmax_graphs(), SEEDS)
def test_softmax(graph: Graph, seed: int) -> None:
    assert_same(graph, seed)


@FEW
@given(graphs.clip_graphs(), SEEDS)
def test_clip_is_relu(graph: Graph, seed: int) -> None:
    assert_same(graph, seed)


@given(st.permutations([1, 2, 3]), SEEDS)
@settings(max_examples=10, deadline=None)
def test_transpose(perm: list[int], seed: int) -> None:
    shape, quant = (1, 3, 4, 5), Quant.make(0.1, 3)
    perm = [0, *perm]
    out = Value("y", tuple(shape[i] for i in perm), "int8", quant)
    x = Value("x", shape, "int8", quant)
    assert_same(graphs.one_node("transpose", [x], out, {}, perm=perm), seed)


def test_reshape() -> None:
    quant = Quant.make(0.1, 3)
    out = Value("y", (1, 60), "int8", quant)
    x = Value("x", (1, 3, 4, 5), "int8", quant)
    assert_same(graphs.one_node("reshape", [x], out, {}, shape=[1, 60]), 0)


@pytest.mark.parametrize(
    "op",
    [
        *("conv2d", "fully_connected", "add", "mul", "average_pool2d", "max_pool2d", "softmax"),
        "transpose",
    ],
)
def test_int16(op: str) -> None:
    """16-bit activations with 8-bit weights and 32-bit biases.

    TFLM's depthwise convolution takes 64-bit biases only, and its results are another rounding.
    """

    @FEW
    @given(graphs.graphs_of(f"{op} int16"), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assert_same(graph, seed)

    check()
