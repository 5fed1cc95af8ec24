"""Layers that are no convolutions on a GPU: random ones, every variant, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from elementwise_graphs import binary_graphs, integers, unary_graphs
from exactness import CHECKED
from gpu_device import check_graph, device
from graphs import quants
from hypothesis import given, settings
from hypothesis import strategies as st
from movement_graphs import concat_graphs, node_graph, pad_graphs, slice_graphs, tile_graphs

from codegen.gpu.layers import variants
from codegen.kernel import NotApplicable
from codegen.lower import layer_of
from edgekit.graph import Graph, Quant, Value
from edgekit.ops.functions import FUNCTIONS

MOST = 128


def check(graph: Graph, seed: int = 3) -> None:
    feeds = {name: integers(seed, graph.values[name]) for name in graph.inputs}
    assert all(check_graph(graph, feeds, device()).values())


@st.composite
def pools(draw: st.DrawFn, op: str) -> Graph:
    h, w, c = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    quant = draw(quants())
    x = [Value("x", (1, h, w, c), "int8", quant)]
    if draw(st.integers(0, 2)) == 0:  # the whole image at once
        h, w = draw(st.integers(4, 11)), draw(st.integers(8, 11))
        x = [Value("x", (1, h, w, c), "int8", quant)]
        return node_graph(op, x, None, quant, kernel=[h, w], strides=[h, w], pads=[0] * 4)
    kernel = [draw(st.integers(1, min(3, h))), draw(st.integers(1, min(3, w)))]
    attrs = {
        "kernel": kernel,
        "strides": [draw(st.integers(1, 3)), draw(st.integers(1, 3))],
        "pads": [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)],
        "clamp": draw(st.sampled_from([None, [0, None], [-1, 1]])),
    }
    if op == "average_pool2d" and draw(st.booleans()):
        attrs["count_include_pad"] = True
    return node_graph(op, x, None, quant, **attrs)


@st.composite
def softmaxes(draw: st.DrawFn) -> Graph:
    shape = (1, *draw(st.lists(st.integers(1, 4), max_size=2)), draw(st.integers(1, 40)))
    x = Value("x", shape, "int8", draw(quants(1e-2, 1.0)))
    beta = draw(st.sampled_from([1.0, 0.5]))
    return node_graph("softmax", [x], None, Quant.make(1 / 256, -128), beta=beta)


@st.composite
def reshapes(draw: st.DrawFn) -> Graph:
    shape = (1, *(draw(st.integers(1, 5)) for _ in range(3)))
    x = Value("x", shape, "int8", Quant.make(0.1, 3))
    if draw(st.booleans()):
        order = draw(st.permutations([1, 2, 3]))
        return node_graph("transpose", [x], None, x.quant, perm=[0, *order])
    to = draw(st.sampled_from([(1, x.size), (1, shape[1] * shape[2], shape[3])]))
    return node_graph("reshape", [x], None, x.quant, shape=list(to))


CASES = {
    "add": binary_graphs("add"),
    "mul": binary_graphs("mul"),
    "sub": binary_graphs("sub"),
    "extremes": st.sampled_from(["minimum", "maximum"]).flatmap(binary_graphs),
    "unary": st.sampled_from(sorted(FUNCTIONS)).flatmap(unary_graphs),
    "average": pools("average_pool2d"),
    "max": pools("max_pool2d"),
    "softmax": softmaxes(),
    "concat": concat_graphs("int8", same=True),
    "slice": slice_graphs("int8"),
    "pad": pad_graphs("int8"),
    "tile": tile_graphs("int8"),
    "reshape": reshapes(),
}


def applies(graph: Graph) -> bool:
    """Not those that are left to the CPU, with a reason."""
    try:
        return bool(variants(layer_of(graph, graph.nodes[0])))
    except NotApplicable as reason:
        assert str(reason)
        return False


def few(graph: Graph) -> bool:
    return max(v.size for v in graph.values.values()) <= MOST * 16


@pytest.mark.parametrize("case", CASES)
@settings(CHECKED, max_examples=2)
@given(st.data())
def test_random_layers(case: str, data: st.DataObject) -> None:
    check(data.draw(CASES[case].filter(few).filter(applies)), data.draw(st.integers(0, 1000)))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@settings(CHECKED, max_examples=8)
@given(st.data())
def test_more_random_layers(case: str, data: st.DataObject) -> None:
    check(data.draw(CASES[case].filter(few).filter(applies)), data.draw(st.integers(0, 1000)))


def test_a_layer_without_variants_says_why() -> None:
    a, b = (Value(n, (1, 2, 3), "int16", Quant.make(0.1)) for n in "ab")
    graph = node_graph("add", [a, b], None, Quant.make(0.1))
    with pytest.raises(NotApplicable, match="int16, not int8 or float32 or float16"):
        variants(layer_of(graph, graph.nodes[0]))
    x = [Value(n, (1, 2, 3), "int8", Quant.make(s)) for n, s in (("a", 0.1), ("b", 0.2))]
    graph = node_graph("concat", x, None, Quant.make(0.1), axis=2)
    with pytest.raises(NotApplicable, match="an operand has another scale than the result"):
        variants(layer_of(graph, graph.nodes[0]))


def test_the_gap_of_a_block_is_written() -> None:
    """`check_graph` compares it; here that it does: five channels leave three lanes."""
    graph = node_graph("clip", [Value("x", (1, 2, 5), "int8", Quant.make(0.1, 7))], None,
                       Quant.make(0.1, 7), clamp=[-1, 1])  # fmt: skip
    check(graph)
    (variant,) = (v for v in variants(layer_of(graph, graph.nodes[0])) if v.name == "direct")
    x = np.zeros(16, np.int8)
    (found,) = device().run(variant, [x], [16])
    assert found.view(np.int8).reshape(2, 2, 4)[1, :, 1:].tolist() == [[0, 0, 0], [0, 0, 0]]
