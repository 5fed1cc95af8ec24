"""Matrix products and row operators against TFLite Micro's interpreter: no byte may differ."""

from __future__ import annotations

import attention_graphs
import graphs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflm import run_graph

from edgekit.graph import Graph, Quant, Value
from edgekit.reference import run

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=25, deadline=None)


def assert_same(graph: Graph, seed: int, n: int = 3) -> None:
    feeds = graphs.batch(graph, seed, n)
    np.testing.assert_array_equal(run(graph, feeds)[graph.outputs[0]], run_graph(graph, feeds))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_matmul(dtype: str) -> None:
    @FEW
    @given(attention_graphs.matmul_graphs(dtype, dtype, dtype, clamps=False), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assert_same(graph, seed)

    check()


@pytest.mark.parametrize("op", attention_graphs.ROW_OPERATORS)
def test_rows(op: str) -> None:
    @FEW
    @given(attention_graphs.row_graphs(op), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assert_same(graph, seed)

    check()


@pytest.mark.parametrize("per_channel", [False, True])
def test_fully_connected_of_several_rows(per_channel: bool) -> None:
    r = np.random.default_rng(3)
    scale = np.exp(r.uniform(np.log(1e-3), np.log(0.1), 6 if per_channel else 1))
    w_quant = Quant.make(scale, 0, 0 if per_channel else None)
    bias = Quant.make(w_quant.scale * np.float32(0.05), 0, w_quant.axis)
    graph = graphs.one_node(
        "fully_connected",
        [
            Value("x", (1, 5, 7, 11), "int8", Quant.make(0.05, -3)),
            Value("w", (6, 11), "int8", w_quant),
            Value("b", (6,), "int32", bias),
        ],
        Value("y", (1, 5, 7, 6), "int8", Quant.make(0.2, 5)),
        {
            "w": r.integers(-127, 128, (6, 11)).astype(np.int8),
            "b": r.integers(-3000, 3000, 6).astype(np.int32),
        },
    )
    assert_same(graph, 5)
