"""Layers run stripe by stripe: the same integers, on the reference, the host and the virtual M4."""

from __future__ import annotations

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from integer_graphs import extremes, integer_graphs
from quantizer_small import Builder
from shared import SHARED, needs_shared

from codegen import memory_check
from codegen.lower import build_program, reduced
from codegen.program import Program
from codegen.stripes import NotStripable, recomputed, stripe
from codegen.thrift import thrifty
from edgekit import importers, reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from quantizer import quantize

SETTINGS = settings(
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@st.composite
def striped(draw: st.DrawFn) -> tuple[Graph, Graph]:
    """A random network, and the same with one of its chains in stripes."""
    graph = draw(integer_graphs())
    bands = draw(st.integers(2, 4))
    found = []
    for first in range(len(graph.nodes)):
        for last in range(first, len(graph.nodes)):
            try:
                found.append(stripe(graph, first, last, bands))
            except NotStripable:
                break
    assume(found)
    return graph, draw(st.sampled_from(found[-3:]))


@settings(SETTINGS, max_examples=30)
@given(pair=striped(), seed=st.integers(0, 1000))
def test_the_reference_gives_the_same(pair: tuple[Graph, Graph], seed: int) -> None:
    graph, changed = pair
    feeds = extremes(graph, seed, n=8)
    want, found = reference.run(graph, feeds), reference.run(changed, feeds)
    for name in graph.outputs:
        np.testing.assert_array_equal(found[name], want[name])


@settings(SETTINGS, max_examples=1)
@given(pairs=st.lists(striped(), min_size=5, max_size=5), seed=st.integers(0, 1000))
def test_kernels_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[Graph, Graph]], seed: int
) -> None:
    assume(seed > 0)  # the first example is the simplest of all
    buildable = []
    for _, changed in pairs:
        try:
            build_program(changed, M4.target)
            buildable.append(changed)
        except EdgekitError as refused:
            assert refused.code == "E310", refused
    assume(buildable)
    graph = merged(buildable)
    program = build_program(graph, M4.target)
    memory_check.check(program)
    feeds = {name: x[:1] for name, x in extremes(graph, seed).items()}
    want = reference.run(graph, feeds)
    folder = tmp_path_factory.mktemp("stripes")
    _compare(program, run_host(program, folder, feeds), want)
    _compare(program, run_m4(program, folder, feeds)[0], want)


def _compare(program: Program, found: list[np.ndarray], want: dict[str, np.ndarray]) -> None:
    for tensor, y in zip(program.outputs, found, strict=True):
        np.testing.assert_array_equal(y, want[tensor.name])


def gates(rows: int = 1) -> Graph:
    """A residual block with hard_swish, a slope and a constant of one or all rows, quantized."""
    b = Builder()
    same = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}
    x = b.input("x", 1, 8, 8, 3)
    first = b.node("conv2d", x, b.constant("w0", 6, 3, 3, 3), b.constant("b0", 6), **same)
    y = b.node("unary", first, function="hard_swish")
    y = b.node("conv2d", y, b.constant("w1", 6, 3, 3, 6), b.constant("b1", 6), **same)
    y = b.node("sub", b.node("prelu", y, b.constant("slope", 1, 1, 1, 6)), first)
    y = b.node("maximum", y, b.constant("least", 1, rows, 1, 6))
    y = b.node("conv2d", y, b.constant("w2", 2, 3, 3, 6), b.constant("b2", 2), **same)
    data = {"x": np.random.default_rng(0).normal(0, 1, (16, 8, 8, 3)).astype(np.float32)}
    return quantize(b.done(y), data).graph


def test_elementwise_operators_in_stripes() -> None:
    graph = gates()
    changed = stripe(graph, 0, len(graph.nodes) - 1, 2)
    assert len(changed.nodes) > 2 * len(graph.nodes)
    feeds = extremes(graph, 3, n=8)
    want, found = reference.run(graph, feeds), reference.run(changed, feeds)
    np.testing.assert_array_equal(found[graph.outputs[0]], want[graph.outputs[0]])
    with pytest.raises(NotStripable, match="every row"):
        stripe(gates(rows=8), 0, len(graph.nodes) - 1, 2)


@needs_shared
def test_keyword_spotting_in_two_stripes() -> None:
    graph = importers.load(SHARED / "models" / "kws_ref_model.tflite")
    changed = stripe(graph, 0, 9, 2)
    assert recomputed(graph, 0, 9, 2) == [33, 31, 31, 29, 29, 27, 27, 25, 25]
    assert [n.op for n in changed.nodes].count("sum_rows") == 2
    # The pool's input is never whole.
    assert max(v.nbytes for v in changed.values.values() if v.dtype == "int8") < 25 * 5 * 64
    with pytest.raises(NotStripable, match="bands"):
        stripe(graph, 0, 9, 26)
    with pytest.raises(NotStripable, match="whole image"):
        stripe(graph, 8, 10, 2)


@needs_shared
@pytest.mark.parametrize(
    ("name", "least"), [("kws_ref_model", 8_000), ("str_ww_ref_model", 6_500), ("ad01_int8", 900)]
)
def test_the_ram_build(name: str, least: int) -> None:
    graph = importers.load(SHARED / "models" / f"{name}.tflite")
    program = build_program(graph, M4.target, optimize="ram")
    memory_check.check(program)
    assert program.arena_bytes <= least


@needs_shared
def test_a_change_that_saves_nothing_is_not_made() -> None:
    graph, _ = reduced(importers.load(SHARED / "models" / "str_ww_ref_model.tflite"))
    assert thrifty(graph, lambda g: (1000, 1), 1) is graph
