"""Dependency groups: which channels go together, and that removing unread ones changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from float_graphs import float_graphs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quantizer_small import Builder, network

from edgekit.graph import Graph
from edgekit.reference import run
from pruner.groups import Channels, remove, trace

SAME = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}


def conv(b: Builder, x: str, out: int, **attrs: Any) -> str:
    n, channels = len(b.graph.nodes), b.graph.values[x].shape[3]
    per_group = channels // attrs.get("groups", 1)
    w = b.constant(f"w{n}", out, 3, 3, per_group)
    return b.node("conv2d", x, w, b.constant(f"b{n}", out), **SAME, **attrs)


def dense(b: Builder, x: str, out: int) -> str:
    n = len(b.graph.nodes)
    w = b.constant(f"w{n}", out, b.graph.values[x].shape[1])
    return b.node("fully_connected", x, w, b.constant(f"b{n}", out))


def sizes(channels: Channels) -> dict[str, tuple[int, int]]:
    """First layer of each family: (layers that make its channels, groups)."""
    return {f.name: (len(f.producers), len(f.groups)) for f in channels.families}


def test_residual_adds_tie_their_operands() -> None:
    b = Builder()
    x = b.input("x", 1, 4, 4, 3)
    trunk = conv(b, x, 6)
    inner = conv(b, trunk, 5)
    other = conv(b, inner, 6)
    end = conv(b, b.node("add", trunk, other), 2)
    found = trace(b.done(end))
    assert sizes(found) == {trunk: (2, 6), inner: (1, 5)}
    np.testing.assert_array_equal(found.of[trunk], found.of[other])
    assert "output" in found.kept[end]


def test_depthwise_pools_constants_and_flattening_follow() -> None:
    b = Builder()
    x = b.input("x", 1, 4, 4, 2)
    first = conv(b, x, 4)
    deep = b.node("depthwise_conv2d", first, b.constant("wd", 3, 3, 8), b.constant("bd", 8), **SAME)
    gain = b.node("mul", deep, b.constant("gain", 1, 1, 1, 8))
    clipped = b.node("clip", gain, clamp=[-1, 1])
    pooled = b.node("max_pool2d", clipped, kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    flat = b.node("reshape", pooled, shape=[1, 32])
    graph = b.done(dense(b, flat, 3))
    found = trace(graph)
    assert sizes(found) == {first: (1, 4)}
    groups = found.of[first]
    np.testing.assert_array_equal(found.of[pooled], np.repeat(groups, 2))
    np.testing.assert_array_equal(found.of[flat], np.tile(np.repeat(groups, 2), 4))
    small = remove(graph, found, {int(groups[1])})
    shapes = {n.op: small.values[n.inputs[1]].shape for n in small.nodes if len(n.inputs) > 1}
    assert shapes == {
        "conv2d": (3, 3, 3, 2),
        "depthwise_conv2d": (3, 3, 6),
        "mul": (1, 1, 1, 6),
        "fully_connected": (3, 24),
    }
    kept = np.delete(graph.constants["wd"], [2, 3], axis=2)
    np.testing.assert_array_equal(small.constants["wd"], kept)


def test_functions_and_slopes_hand_channels_on() -> None:
    """Removed channels leave them as well, and the constants that they meet."""
    b = Builder()
    x = b.input("x", 1, 4, 4, 2)
    first = conv(b, x, 5)
    gate = b.node("unary", first, function="hard_swish")
    bent = b.node("prelu", gate, b.constant("slope", 1, 1, 1, 5))
    other = conv(b, x, 5)
    graph = b.done(conv(b, b.node("sub", bent, b.node("maximum", other, bent)), 2))
    found = trace(graph)
    assert sizes(found) == {first: (2, 5)}
    small = remove(graph, found, {int(found.of[first][1]), int(found.of[first][4])})
    assert small.values[bent].shape == (1, 4, 4, 3)
    np.testing.assert_array_equal(
        small.constants["slope"], graph.constants["slope"][..., [0, 2, 3]]
    )


def test_what_stays_says_why() -> None:
    b = Builder()
    x = b.input("x", 1, 4, 4, 4)
    first = conv(b, x, 4)
    grouped = conv(b, first, 4, groups=2)
    mixed = b.node("transpose", conv(b, grouped, 4), perm=[0, 3, 1, 2])
    last = b.node("softmax", conv(b, mixed, 3), beta=1.0)
    found = trace(b.done(last))
    assert not found.families and found.count == 0
    assert "grouped" in found.kept[first] and "grouped" in found.kept[grouped]
    assert "other axes" in found.kept["conv2d_2"]
    assert "softmax" in found.kept["conv2d_4"]


def test_a_constant_of_two_layers_is_cut_for_each() -> None:
    b = Builder()
    x = b.input("x", 1, 4, 4, 4)
    shared = b.constant("w", 4, 3, 3, 4)
    first = b.node("conv2d", x, shared, b.constant("b0", 4), **SAME)
    last = b.node("conv2d", first, shared, b.constant("b1", 4), **SAME)
    graph = b.done(last)
    found = trace(graph)
    small = remove(graph, found, {int(found.of[first][0])})
    w0, w1 = (small.constants[n.inputs[1]] for n in small.nodes)
    assert (w0.shape, w1.shape) == ((3, 3, 3, 4), (4, 3, 3, 3))


def unread(graph: Graph, found: Channels, gone: list[int]) -> Graph:
    """The graph with zeros for the removed channels in every layer that reads them."""
    out = graph.copy()
    for i, node in enumerate(graph.nodes):
        if node.op in ("conv2d", "fully_connected") and node.attrs.get("groups", 1) == 1:
            w = graph.constants[node.inputs[1]].copy()
            w[..., np.isin(found.of[node.inputs[0]], gone)] = 0
            name = out.add_constant(node.inputs[1], w)
            out.nodes[i] = replace(node, inputs=(node.inputs[0], name, node.inputs[2]))
    return out.verify()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=float_graphs(), data=st.data())
def test_removing_channels_that_nobody_reads_changes_nothing(
    graph: Graph, data: st.DataObject
) -> None:
    found = trace(graph)
    gone: list[int] = []
    for family in found.families:
        some = data.draw(st.sets(st.sampled_from(family.groups.tolist())))
        gone += sorted(some)[: len(family.groups) - 1]
    quiet = unread(graph, found, gone)
    small = remove(quiet, found, gone)
    assert sum(c.size for c in small.constants.values()) <= sum(
        c.size for c in quiet.constants.values()
    )
    for family in found.families:
        left = len(family.groups) - int(np.isin(family.groups, gone).sum())
        for name in family.producers:
            before = np.isin(found.of[name], family.groups).sum()
            assert small.values[name].shape[-1] == left * before // len(family.groups)
    rng = np.random.default_rng(0)
    feeds = {n: rng.standard_normal((2, *graph.values[n].shape[1:])).astype(np.float32)
             for n in graph.inputs}  # fmt: skip
    want, have = run(quiet, feeds), run(small, feeds)
    for name in graph.outputs:
        np.testing.assert_allclose(have[name], want[name], rtol=1e-4, atol=1e-5)


def test_the_small_network() -> None:
    found = trace(network())
    assert sizes(found) == {"conv2d_0": (1, 6)}


@pytest.mark.parametrize("op", ["add", "mul"])
def test_one_number_per_pixel_is_not_tied(op: str) -> None:
    b = Builder()
    x = b.input("x", 1, 4, 4, 2)
    wide, narrow = conv(b, x, 5), conv(b, x, 1)
    found = trace(b.done(conv(b, b.node(op, wide, narrow), 2)))
    assert sizes(found) == {wide: (1, 5)}
    assert "over many" in found.kept[narrow]
