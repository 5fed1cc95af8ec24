"""Movement, reduction and window operators against TFLite Micro's interpreter: no byte differs."""

from __future__ import annotations

from functools import partial

import movement_graphs as mg
import numpy as np
import pytest
from graphs import batch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tflm import run_graph

from edgekit.graph import Graph
from edgekit.reference import run

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.generate])
BOTH = ("int8", "int16")

CASES = {
    "concat": (partial(mg.concat_graphs, same=True), (*BOTH, "int32")),
    "slice": (partial(mg.slice_graphs, steps=False), (*BOTH, "int32")),
    "strided slice": (partial(mg.slice_graphs, rank=4), (*BOTH, "int32")),
    "pad": (partial(mg.pad_graphs, modes=("constant",)), BOTH),
    "mirror pad": (partial(mg.pad_graphs, modes=("reflect", "symmetric")), ("int8",)),
    "gather": (partial(mg.gather_graphs, tflite=True), ("int8",)),
    "gather_nd": (partial(mg.gather_nd_graphs, tflite=True), ("int8",)),
    "expand": (mg.expand_graphs, ("int8", "int16")),
    "resize nearest": (partial(mg.resize_graphs, tflite=True), BOTH),
    "resize bilinear": (partial(mg.resize_graphs, mode="linear", tflite=True), ("int8",)),
    "sum": (partial(mg.reduce_graphs, kind="sum"), BOTH),
    "mean": (partial(mg.reduce_graphs, kind="mean"), BOTH),
    "reduce max": (partial(mg.reduce_graphs, kind="max"), ("int8",)),
    "reduce min": (partial(mg.reduce_graphs, kind="min"), ("int8",)),
    "arg": (partial(mg.arg_graphs, kinds=False), ("int8",)),
    "cumsum": (partial(mg.cumsum_graphs, tflite=True), ("int8",)),
    "conv_transpose2d": (lambda d: mg.conv_transpose_graphs(d, d, tflite=True), BOTH),
}


@pytest.mark.parametrize(
    ("case", "dtype"), [(case, dtype) for case, (_, dtypes) in CASES.items() for dtype in dtypes]
)
def test_same_bytes(case: str, dtype: str) -> None:
    @FEW
    @given(CASES[case][0](dtype), SEEDS)
    def check(graph: Graph, seed: int) -> None:
        feeds = batch(graph, seed, 3)
        ours = run(graph, feeds)[graph.outputs[0]]
        np.testing.assert_array_equal(ours, run_graph(graph, feeds))

    check()
