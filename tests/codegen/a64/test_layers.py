"""Depthwise convolutions, fully connected layers, sums and pools for AArch64, in qemu-user."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from a64_guarded import CHECKED, exact
from a64_layers import scaled_layers
from a64_programs import A53, A76, check_costs, run
from built import merged
from graphs import batch, one_node, pool_graphs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mve_layers import layer_of_shape, pair_layers, pool_layers
from tools import need

from codegen.lower import build_program
from edgekit import reference
from edgekit.graph import Graph, Quant, Value
from targets import Board

pytestmark = pytest.mark.apt

BOARDS = pytest.mark.parametrize("on", [A53, A76], ids=lambda b: b.name)


def some(strategy: st.SearchStrategy[Graph], count: int) -> st.SearchStrategy[list[Graph]]:
    return st.lists(strategy, min_size=count, max_size=count)


LAYERS = st.tuples(
    some(scaled_layers("depthwise_conv2d"), 12),
    some(scaled_layers("fully_connected"), 4),
    some(pair_layers("add"), 4),
    some(pool_layers(), 3),
    some(pool_graphs("max_pool2d"), 3),
    some(pool_graphs("average_pool2d"), 3),
).map(lambda kinds: [graph for kind in kinds for graph in kind])


@BOARDS
@CHECKED
@given(graphs=LAYERS, seed=st.integers(0, 1000), extreme=st.sampled_from([None, -128, 127]))
def test_exact_in_parts(
    on: Board, graphs: list[Graph], seed: int, extreme: int | None, tmp_path: Path
) -> None:
    assume(seed > 0)  # the first example is the simplest of all
    exact(graphs, on, seed, extreme, tmp_path, share=0.2)


@pytest.mark.slow
@BOARDS
@settings(CHECKED, max_examples=8)
@given(graphs=LAYERS, seed=st.integers(0, 1000), extreme=st.sampled_from([None, -128, 127]))
def test_exact_in_parts_more(
    on: Board, graphs: list[Graph], seed: int, extreme: int | None, tmp_path: Path
) -> None:
    assume(seed > 0)
    exact(graphs, on, seed, extreme, tmp_path, share=0.2)


def rows_of(inputs: int, outputs: int) -> Graph:
    """A fully connected layer of a given shape."""
    r = np.random.default_rng(0)
    x = Quant.make(0.02, -3)
    scale = r.uniform(0.001, 0.01, outputs)
    return one_node(
        "fully_connected",
        [
            Value("x", (1, inputs), "int8", x),
            Value("w", (outputs, inputs), "int8", Quant.make(scale, 0, 0)),
            Value("b", (outputs,), "int32", Quant.make(0.02 * scale, 0, 0)),
        ],
        Value("y", (1, outputs), "int8", Quant.make(0.1, 5)),
        {
            "w": r.integers(-127, 128, (outputs, inputs)).astype(np.int8),
            "b": r.integers(-3000, 3000, outputs).astype(np.int32),
        },
        clamp=None,
    )


def sum_of(count: int) -> Graph:
    quants = {"a": (0.02, -128), "b": (0.031, 4), "y": (0.04, -128)}
    a, b, y = (Value(name, (1, count), "int8", Quant.make(*q)) for name, q in quants.items())
    return one_node("add", [a, b], y, {}, clamp=[0, None])


def mean_of(shape: tuple[int, int, int], kernel: list[int]) -> Graph:
    quant = Quant.make(0.02, -128)
    out = tuple((s - k) // k + 1 for s, k in zip(shape, kernel, strict=False))
    return one_node(
        "average_pool2d",
        [Value("x", (1, *shape), "int8", quant)],
        Value("y", (1, *out, shape[2]), "int8", quant),
        {}, kernel=kernel, strides=kernel, pads=[0, 0, 0, 0], clamp=None,
    )  # fmt: skip


#: depthwise_conv2d by shape of x, kernel, channels, strides, pads: of the models, and odd ones.
DEPTHWISE = [
    ((25, 5, 64), (3, 3), 64, [1, 1], [1, 1, 1, 1]),
    ((48, 48, 8), (3, 3), 8, [1, 1], [1, 1, 1, 1]),
    ((24, 24, 32), (3, 3), 32, [2, 2], [0, 0, 1, 1]),
    ((24, 1, 128), (10, 1), 128, [1, 1], [0, 0, 0, 0]),
    ((15, 1, 128), (15, 1), 128, [1, 1], [0, 0, 0, 0]),
    ((10, 10, 120), (5, 5), 120, [1, 1], [2, 2, 2, 2]),
    ((20, 20, 48), (7, 7), 48, [2, 2], [3, 3, 3, 3]),
    ((9, 7, 44), (2, 3), 44, [1, 2], [1, 0, 0, 1]),
]
COUNTED = [
    *(layer_of_shape("depthwise_conv2d", *case) for case in DEPTHWISE),
    *(rows_of(*case) for case in ((640, 128), (128, 8), (8, 128), (100, 37))),
    *(sum_of(count) for count in (16384, 1000)),
    *(mean_of(*case) for case in (((25, 5, 64), [25, 5]), ((12, 12, 72), [4, 4]))),
]


@pytest.mark.parametrize(("on", "compiler"), [(A53, "gcc"), (A76, "zig")])
def test_costs_are_what_runs(on: Board, compiler: str, tmp_path: Path) -> None:
    """Candidates' costs, which choose kernels, against counted instructions."""
    need("qemu-aarch64", *([str(on.target.gcc_command)] if compiler == "gcc" else []))
    graph = merged(COUNTED)
    program = build_program(graph, on.target, optimize="speed")
    feeds = {name: x[:1] for name, x in batch(graph, 0, n=2).items()}
    found, counts = run(program, tmp_path, feeds, compiler)
    want = reference.run(graph, feeds)
    for tensor, array in zip(program.outputs, found, strict=True):
        np.testing.assert_array_equal(array, want[tensor.name])
    # A call of a few hundred instructions differs by what the C around takes.
    check_costs(graph, program, counts, rel=0.02, abs=12)


def test_weights_of_minus_128_are_summed_alone(tmp_path: Path) -> None:
    """Two products of -128 by -128 would leave 16 bits."""
    graph = layer_of_shape("depthwise_conv2d", (6, 6, 16), (3, 3), 16, [1, 1], [1, 1, 1, 1])
    graph.constants["w"] = np.full((3, 3, 16), -128, np.int8)
    call = build_program(graph, A53.target).calls[0]
    assert [len(g) for g in call.kernel.spec.params["groups"]] == [1] * 9
    exact([graph], A53, 1, -128, tmp_path)


def test_sums_in_place_in_parts_that_may_be_empty(tmp_path: Path) -> None:
    exact(
        [sum_of(n) for n in (5, 17, 33, 40, 1000, 1030, 2050, 31, 47, 64)], A53, 1, None, tmp_path
    )


def test_sums_with_roundings_of_their_own_fall_back() -> None:
    """Scales so far apart that no formula with factors of 32 bits is exact for all pairs."""
    graph = sum_of(64)
    y = graph.values["y"]
    graph.values["y"] = replace(y, quant=Quant.make(1e-7, 0))
    call = build_program(graph, A53.target).calls[0]
    assert not call.kernel.spec.family.startswith("a64")
    assert "a64: " in call.note
