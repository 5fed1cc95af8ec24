"""A stream gives what the network gives on the window that ends with the newest step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_nets import GRID, Net, hops, recording

from edgekit.build import build
from edgekit.devices.find import find_board, find_target
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.graph import Graph, Value
from edgekit.output import write_output
from edgekit.reference import run
from edgekit.streaming import Hop, parse_hop, stream


def assert_equals_windows(graph: Graph, hop: int, axis: int = 1, extra: int = 4) -> Graph:
    """Every call once the window is full, against the network on that window."""
    streamed = stream(graph, Hop(axis, hop))
    window = graph.values["x"].shape[axis]
    x = recording(graph, -(-window // hop) * hop + extra * hop, axis)
    found = run(streamed, {"x": hops(x, hop, axis)})[streamed.outputs[0]]
    for call in range(-(-window // hop), x.shape[axis - 1] // hop):
        end = (call + 1) * hop
        at = [slice(None)] * x.ndim
        at[axis - 1] = slice(end - window, end)
        want = run(graph, {"x": x[tuple(at)][None]})[graph.outputs[0]][0]
        have = found[call]
        if have.shape != want.shape:  # the newest steps of a result that goes on in time
            want = want[-have.shape[0] :]
        np.testing.assert_array_equal(have, want)
    return streamed


@given(
    st.integers(0, 2**16), st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 2),
    st.sampled_from(["pool", "dense", "steps"]),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_equals_the_network_on_the_window(
    seed: int, hop: int, kernel: int, dilation: int, end: str
) -> None:
    net = Net((1, 24, 5, 2), seed)
    stride = 2 if hop % 2 == 0 else 1
    net.conv(4, (3, 3), strides=[stride, 1]).depthwise((kernel, 1), dilations=[dilation, 1])
    net.conv(4, (1, 1)).op("max_pool2d", kernel=[2, 1], strides=[1, 1], pads=[0, 0, 0, 0])
    if end == "pool":
        size = list(net.value(net.at).shape[1:3])
        net.op("average_pool2d", kernel=size, strides=[1, 1], pads=[0, 0, 0, 0]).dense(3)
    elif end == "dense":
        net.dense(3)
    assert_equals_windows(net.done(), hop)


def test_branches_of_different_reach() -> None:
    net = Net((1, 16, 4, 4))
    net.conv(4, (3, 1))
    before = net.at
    net.depthwise((3, 1))
    shape = net.value(before).shape
    short = net.emit("slice", [before], {"starts": [0, 2, 0, 0], "stops": list(shape),
                                         "steps": [1] * 4}, node="crop", quant=GRID)  # fmt: skip
    graph = net.op("add", short).op("clip", clamp=[0, None]).done()
    streamed = assert_equals_windows(graph, 2)
    assert max(streamed.values[s.name].shape[1] for s in streamed.states) == 2


def test_time_along_the_second_axis() -> None:
    assert_equals_windows(Net((1, 5, 12, 2)).conv(3, (1, 3)).dense(2).done(), 2, axis=2)


def test_a_causal_network_is_streamed_from_the_start() -> None:
    net = Net((1, 12, 3, 2)).conv(4, (3, 1), pads=[2, 0, 0, 0])
    graph = net.depthwise((2, 1), dilations=[2, 1], pads=[2, 0, 0, 0]).done()
    streamed = stream(graph, Hop(1, 2))
    x = recording(graph, 12)
    found = run(streamed, {"x": hops(x, 2)})[streamed.outputs[0]]
    want = run(graph, {"x": x[None]})[graph.outputs[0]][0]
    np.testing.assert_array_equal(np.concatenate(list(found)), want)


def test_work_is_not_done_twice() -> None:
    net = Net((1, 30, 8, 4)).conv(8, (3, 3)).conv(8, (3, 3))
    graph = net.dense(2).done()
    streamed = stream(graph, Hop(1, 1))
    convs = [n for n in streamed.nodes if n.op == "conv2d"]
    assert [streamed.values[n.output].shape[1] for n in convs] == [1, 1]


@pytest.mark.parametrize(
    ("net", "hop", "code", "word"),
    [
        (Net((1, 12, 3, 2)).conv(4, (3, 1), pads=[1, 0, 1, 0]), Hop(1, 1), "E191", "pads"),
        (Net((1, 9, 3, 2)).conv(4, (3, 1), pads=[2, 0, 0, 0]).dense(2), Hop(1, 1), "E191", "whole"),
        (Net((1, 12, 3, 2)).conv(4, (3, 1), strides=[2, 1]), Hop(1, 1), "E191", "stride 2"),
        (Net((1, 12, 3, 2)).conv(4, (3, 1)), Hop(4, 1), "E190", "axis=4"),
        (Net((1, 12, 3, 2)).conv(4, (3, 1)), Hop(1, 13), "E190", "12"),
    ],
)  # fmt: skip
def test_refusals(net: Net, hop: Hop, code: str, word: str) -> None:
    with pytest.raises(EdgekitError) as caught:
        stream(net.done(), hop)
    assert caught.value.code == code
    assert word in f"{caught.value} {caught.value.details}"


def test_options() -> None:
    assert parse_hop(("hop=3", "axis=2")) == Hop(2, 3)
    for wrong in (("axis=1", "axis=1"), ("axis=1", "hop=0"), ("axis=x", "hop=1")):
        with pytest.raises(EdgekitError, match="E190"):
            parse_hop(wrong)


def test_a_stream_on_a_board(tmp_path: Path) -> None:
    net = Net((1, 16, 4, 2)).conv(8, (3, 3)).depthwise((3, 1))
    graph = stream(net.dense(3).done(), Hop(1, 1))
    target = find_target("cortex-m4")
    built = build(graph, None, target=target, board=find_board(target.default_board),
                  compiler="zig", say=lambda stage, share: None)  # fmt: skip
    folder = write_output(tmp_path / "out", built.files, built.description("net", "zig"))
    x = hops(recording(graph, 20), 1)
    want = run(graph, {"x": x})[graph.outputs[0]]
    for where in ("host", "virtual-cortex-m4"):
        np.testing.assert_array_equal(execute(folder, {"x": x}, where)[graph.outputs[0]], want)


def test_values_have_the_window(tmp_path: Path) -> None:
    graph = Net((1, 6, 1, 1)).op("reshape", shape=[1, 6]).done()
    streamed = stream(graph, Hop(1, 2))
    assert streamed.values["x"] == Value("x", (1, 2, 1, 1), "int8", GRID)
