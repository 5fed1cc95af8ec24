"""lstm and svdf against TFLite Micro's interpreter, which keeps their states between inferences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_models import cells, integers, lstm_file, svdf_file, svdfs
from tflm import Tflm

from edgekit.graph import Graph
from edgekit.reference import run

FEW = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)


def assert_same(graph: Graph, file: bytes, seed: int, n: int = 4) -> None:
    """`n` inferences one after the other."""
    oracle = Tflm(file)
    value = graph.values["x"]
    x = integers(np.random.default_rng(seed), (n, *value.shape[1:]), value.dtype)
    ours = run(graph, {"x": x})["y"]
    for i in range(n):
        want = oracle.run(x[i : i + 1])
        np.testing.assert_array_equal(ours[i], want.reshape(ours[i].shape), err_msg=f"{i}")


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_lstm(dtype: str) -> None:
    @FEW
    @given(cells("lstm", dtype, tflite=True), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assert_same(graph, lstm_file(graph), seed)

    check()


@pytest.mark.parametrize("memory", ["int8", "int16"])
def test_svdf(memory: str) -> None:
    @FEW
    @given(svdfs(memory), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        assert_same(graph, svdf_file(graph), seed)

    check()
