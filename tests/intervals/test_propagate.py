"""No value and no accumulator ever leaves its interval, and intervals are as narrow as they say."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import batch, graphs_of, one_node
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_graphs import extremes, integer_graphs

from edgekit import reference
from edgekit.graph import Graph, Quant, Value
from edgekit.intervals import intervals
from edgekit.ops.accumulators import accumulators, inputs_of, taps_of
from edgekit.ops.interval import Interval, full
from edgekit.ops.requant import tensor_quant

OPERATORS = [
    *("conv2d", "depthwise_conv2d", "fully_connected", "add", "mul", "clip", "average_pool2d"),
    *("max_pool2d", "softmax", "transpose", "conv2d int16", "depthwise_conv2d int16>int8"),
    *("fully_connected int8>int16", "add int16", "add int16 mixed", "mul int16>int8 mixed"),
    *("clip int8>int16", "clip int16>int8", "softmax int16", "average_pool2d int16"),
    *("conv2d float int8", "add float int8", "mul float int16>int8"),
]


def check_contained(graph: Graph, feeds: dict[str, np.ndarray]) -> None:
    found = intervals(graph)
    seen = reference.run(graph, feeds, keep="all")
    for name in [*graph.inputs, *(n.output for n in graph.nodes)]:
        if graph.values[name].dtype == "float32":
            assert name not in found.values
            continue
        interval = found.values[name]
        assert interval.lo.shape == interval.hi.shape == (graph.values[name].shape[-1],)
        assert (seen[name] >= interval.lo).all() and (seen[name] <= interval.hi).all(), name


@pytest.mark.parametrize("op", OPERATORS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_operator_stays_inside(op: str, data: st.DataObject) -> None:
    graph = data.draw(graphs_of(op))
    check_contained(graph, batch(graph, data.draw(st.integers(0, 1000)), n=4))


@settings(max_examples=40, deadline=None)
@given(graph=integer_graphs(), seed=st.integers(0, 1000))
def test_networks_stay_inside(graph: Graph, seed: int) -> None:
    check_contained(graph, extremes(graph, seed))


def within(rng: np.random.Generator, interval: Interval, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(interval.lo, interval.hi + 1, shape)


@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d", "fully_connected", "conv2d int16"])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_sums_of_narrower_operands(op: str, data: st.DataObject) -> None:
    """The final accumulator and every partial sum of a kernel, in a random order of taps."""
    graph = data.draw(graphs_of(op))
    (node,) = graph.nodes
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    x, out = graph.values["x"], graph.values["y"]
    everything = full(x)
    ends = np.sort(within(rng, everything, (2, x.shape[-1])), axis=0)
    of_x = Interval(ends[0], ends[1])
    taps, bias = taps_of(node.op, graph.constants["w"]), graph.constants["b"].astype(np.int64)
    sums = accumulators(node, x, taps, bias, of_x)
    _, zx = tensor_quant(x)

    feeds = within(rng, of_x, (4, *x.shape[1:])).astype(x.dtype)
    feeds[0], feeds[1] = of_x.lo, of_x.hi
    # The reference wraps; what is tested is the sum before that.
    small = np.zeros(len(bias), np.int32)
    from edgekit.ops import operator

    acc = operator(node.op).accumulate(node, feeds, graph.constants["w"], small, zx) + bias  # type: ignore[attr-defined]
    assert (acc >= sums.final.lo).all() and (acc <= sums.final.hi).all()

    o = int(rng.integers(out.shape[-1]))
    w = taps[o].astype(np.int64)
    reads = inputs_of(len(taps), taps.shape[3], x.shape[-1])[o]
    raw = within(rng, of_x, (50, *w.shape[:2], x.shape[-1]))[..., reads]
    order = rng.permutation(w.size)
    terms = (raw * w).reshape(50, -1)[:, order]
    partial = bias[o] - zx * w.sum() + np.cumsum(terms, axis=1)
    assert (np.abs(partial) <= sums.partial[o]).all()


def test_both_ends_of_a_fully_connected_sum_occur() -> None:
    rng = np.random.default_rng(0)
    w = rng.integers(-128, 128, (5, 12)).astype(np.int8)
    lo = rng.integers(-128, 100, 12)
    of_x = Interval(lo, lo + rng.integers(0, 27, 12))
    graph = dense(w, np.arange(5), zero_point=7)
    sums = accumulators(graph.nodes[0], graph.values["x"], taps_of("fully_connected", w),
                        np.arange(5), of_x)  # fmt: skip
    wide = w.astype(np.int64)
    least = (wide * (np.where(wide > 0, of_x.lo, of_x.hi) - 7)).sum(1) + np.arange(5)
    most = (wide * (np.where(wide > 0, of_x.hi, of_x.lo) - 7)).sum(1) + np.arange(5)
    np.testing.assert_array_equal(sums.final.lo, least)
    np.testing.assert_array_equal(sums.final.hi, most)


def dense(w: np.ndarray, bias: np.ndarray, zero_point: int) -> Graph:
    quant = Quant.make(np.full(len(w), 0.01), 0, 0)
    x = Quant.make(0.1, zero_point)
    return one_node(
        "fully_connected",
        [Value("x", (1, w.shape[1]), "int8", x), Value("w", w.shape, "int8", quant),
         Value("b", (len(w),), "int32", Quant.make(0.1 * quant.scale, 0, 0))],
        Value("y", (1, len(w)), "int8", x),
        {"w": w, "b": bias.astype(np.int32)},
    )  # fmt: skip


@pytest.mark.parametrize(("size", "centre_only"), [(1, True), (2, False)])
def test_taps_that_are_never_inside_do_not_count(size: int, centre_only: bool) -> None:
    """3x3 with padding on one pixel reads that pixel; on 2x2 other taps are read."""
    w = np.full((3, 3, 1), 100, np.int8)
    w[1, 1] = 0
    quant = Quant.make(0.1, 0)
    graph = one_node(
        "depthwise_conv2d",
        [Value("x", (1, size, size, 1), "int8", quant),
         Value("w", w.shape, "int8", Quant.make([0.01], 0, 2)),
         Value("b", (1,), "int32", Quant.make([0.001], 0, 0))],
        Value("y", (1, size, size, 1), "int8", quant),
        {"w": w, "b": np.array([500], np.int32)},
        pads=[1, 1, 1, 1],
    )  # fmt: skip
    found = intervals(graph)
    assert bool(found.values["y"].constant[0]) == centre_only
    if not centre_only:  # Three neighbours at once, never all eight.
        assert int(found.sums["y"].final.hi[0]) == 500 + 3 * 100 * 127


def test_sums_that_wrap_can_be_anything() -> None:
    graph = dense(np.full((1, 4), 127, np.int8), np.array([2**31 - 1000]), zero_point=0)
    y = intervals(graph).values["y"]
    assert (y.lo, y.hi) == (-128, 127)
    feeds = {"x": np.array([[-128] * 4, [127] * 4], np.int8)}
    assert reference.run(graph, feeds)["y"].reshape(-1).tolist() == [127, -128], "it does wrap"
