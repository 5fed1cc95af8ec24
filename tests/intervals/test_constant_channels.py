"""Graphs without their constant channels give the same bytes for every input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built import M4, merged, run_host
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from integer_graphs import extremes, integer_graphs, macs
from shared import SHARED, needs_shared

from codegen import memory_check
from codegen.lower import build_program
from edgekit import importers, reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.intervals import intervals, remove_constant_channels
from edgekit.ops import operator

HIGH, LOW = 2**24, -(2**24)


class Builder:
    """A small int8 network by hand: every scale 0.1, weights 0.01, random weights."""

    def __init__(self, *shape: int, zero_point: int = 0) -> None:
        self.rng = np.random.default_rng(0)
        self.quant = Quant.make(0.1, zero_point)
        self.graph = Graph("by hand", inputs=["x"])
        self.graph.add_value(Value("x", shape, "int8", self.quant))

    def node(self, op: str, *inputs: str, **attrs: Any) -> str:
        name = f"y{len(self.graph.nodes)}"
        node = Node(op, inputs, (name,), attrs, name)
        [(shape, dtype)] = operator(op).infer(node, [self.graph.values[i] for i in inputs])
        self.graph.add_value(Value(name, shape, dtype, self.quant))
        self.graph.nodes.append(node)
        return name

    def layer(
        self, op: str, x: str, shape: tuple[int, ...], fixed: Mapping[int, int], **attrs: Any
    ) -> str:
        """`fixed` gives biases of channels; with HIGH or LOW the channel is constant."""
        axis = 2 if op == "depthwise_conv2d" else 0
        bias = self.rng.integers(-2000, 2000, shape[axis])
        for channel, value in fixed.items():
            bias[channel] = value
        w = self.rng.integers(-128, 128, shape).astype(np.int8)
        scale = np.full(shape[axis], 0.01)
        names = (
            self.graph.add_constant("w", w, Quant.make(scale, 0, axis)),
            self.graph.add_constant("b", bias.astype(np.int32), Quant.make(0.1 * scale, 0, 0)),
        )
        return self.node(op, x, *names, **attrs)

    def done(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        return self.graph.verify()


def channels(graph: Graph) -> list[int]:
    return [graph.values[n.output].shape[-1] for n in graph.nodes]


def check_equal(graph: Graph, multiple_of: int, seed: int = 0) -> Graph:
    """The smaller graph, after both ran on `extremes`; the first one is not changed."""
    values, constants = dict(graph.values), dict(graph.constants)
    smaller = remove_constant_channels(graph, multiple_of)
    assert graph.values == values and graph.constants.keys() == constants.keys()
    feeds = extremes(graph, seed)
    want, found = reference.run(graph, feeds), reference.run(smaller, feeds)
    for name in graph.outputs:
        np.testing.assert_array_equal(found[name], want[name])
        assert smaller.values[name] == graph.values[name]
    assert smaller.inputs == graph.inputs and smaller.outputs == graph.outputs
    assert [n.name for n in smaller.nodes] == [n.name for n in graph.nodes]
    assert macs(smaller) <= macs(graph)
    return smaller


@settings(max_examples=50, deadline=None)
@given(graph=integer_graphs(), multiple_of=st.sampled_from([1, 1, 2, 4]), seed=st.integers(0, 1000))
def test_random_networks_keep_their_bytes(graph: Graph, multiple_of: int, seed: int) -> None:
    smaller = check_equal(graph, multiple_of, seed)
    again = remove_constant_channels(smaller, multiple_of)
    assert channels(again) == channels(smaller)


def test_random_networks_do_lose_channels() -> None:
    """The test above would be empty if they did not."""
    lost = []

    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(graph=integer_graphs())
    def count(graph: Graph) -> None:
        lost.append(_loses(graph))

    count()
    assert sum(lost) >= 10


ELEMENTWISE = ("sub", "div", "pow", "mod", "squared_difference", "prelu", "minimum", "maximum")


@pytest.mark.parametrize("op", ["unary", *ELEMENTWISE])
def test_elementwise_operators_lose_channels(op: str) -> None:
    """Constant channels in front of one are cut out of its operands, a constant one too."""
    b = Builder(1, 3, 3, 2)
    ends = {0: LOW, 3: HIGH, 4: HIGH, 5: HIGH}
    x = b.layer("conv2d", "x", (8, 1, 1, 2), ends)
    if op == "unary":
        x = b.node("unary", x, function="hard_swish")
    else:
        data = b.rng.integers(-128, 128, (1, 1, 1, 8)).astype(np.int8)
        x = b.node(op, x, b.graph.add_constant("c", data, b.quant))
    y = b.layer("conv2d", x, (4, 1, 1, 8), {})
    smaller = check_equal(b.done(y), 1)
    assert channels(smaller) == [4, 4, 4]


def _loses(graph: Graph) -> bool:
    return channels(remove_constant_channels(graph, 1)) != channels(graph)


def _buildable(graph: Graph) -> bool:
    try:
        build_program(graph, M4.target)
    except EdgekitError as refused:
        # An accumulator that can overflow is refused by name, which is the promise.
        assert refused.code == "E310", refused
        return False
    return True


# The same graphs each time, so that their kernels are in the cache.
@settings(max_examples=1, deadline=None, derandomize=True, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))  # fmt: skip
@given(graphs=st.lists(integer_graphs(3).filter(_loses), min_size=4, max_size=4))
def test_kernels_of_smaller_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graphs: list[Graph]
) -> None:
    """Programs on this machine against the reference of the graphs as they were."""
    monkeypatch.setattr("codegen.lower.CHANNEL_MULTIPLE", 1)
    graph = merged([g for g in graphs if _buildable(g)])
    program = build_program(graph, M4.target)
    memory_check.check(program)
    assert any("channels kept" in call.note for call in program.calls)
    feeds = {name: x[3:4] for name, x in extremes(graph, 0).items()}
    want = reference.run(graph, feeds)
    for tensor, found in zip(program.outputs, run_host(program, tmp_path, feeds), strict=True):
        np.testing.assert_array_equal(found, want[tensor.name])


@pytest.mark.parametrize(("multiple_of", "kept"), [(1, 5), (2, 6), (4, 8), (16, 12)])
def test_a_separable_block_is_cut_as_one(multiple_of: int, kept: int) -> None:
    """Pointwise, depthwise, pointwise; seven of twelve are constant behind the depthwise layer."""
    b = Builder(1, 5, 5, 3)
    one = b.layer("conv2d", "x", (12, 1, 1, 3), {0: LOW, 5: HIGH})
    dw = b.layer("depthwise_conv2d", one, (3, 3, 12), dict.fromkeys(range(7), HIGH),
                 pads=[1, 1, 1, 1])  # fmt: skip
    two = b.layer("conv2d", dw, (6, 1, 1, 12), {})
    smaller = check_equal(b.done(two), multiple_of)
    assert channels(smaller) == [kept, kept, 6]


def test_padding_keeps_a_channel_that_is_not_the_zero_point() -> None:
    """Where the border reads the zero point, only a channel of zero points can be folded."""
    b = Builder(1, 5, 5, 3, zero_point=-128)
    one = b.layer("conv2d", "x", (6, 1, 1, 3), {0: LOW, 1: HIGH, 2: HIGH}, clamp=[0, None])
    two = b.layer("conv2d", one, (4, 3, 3, 6), {}, pads=[1, 1, 1, 1])
    graph = b.done(two)
    assert intervals(graph).values[one].lo[:3].tolist() == [-128, 127, 127]
    assert channels(check_equal(graph, 1)) == [5, 4]


def test_a_residual_loses_what_is_constant_in_the_sum() -> None:
    """Channel 0 is constant in both operands; channel 1 in one of them, so that it stays."""
    b = Builder(1, 4, 4, 3)
    one = b.layer("conv2d", "x", (5, 1, 1, 3), {0: LOW, 1: LOW})
    two = b.layer("conv2d", one, (5, 1, 1, 5), {0: HIGH})
    added = b.node("add", one, two)
    shifted = b.node("add", added, b.graph.add_constant(
        "c", np.arange(5, dtype=np.int8), Quant.make(0.1, 0)))  # fmt: skip
    three = b.layer("conv2d", shifted, (4, 1, 1, 5), {})
    smaller = check_equal(b.done(three), 1)
    assert channels(smaller) == [4, 4, 4, 4, 4]


def test_a_flattened_image_loses_columns() -> None:
    b = Builder(1, 3, 3, 2)
    one = b.layer("conv2d", "x", (5, 1, 1, 2), {1: LOW, 3: HIGH})
    pooled = b.node("max_pool2d", one, kernel=[2, 2], strides=[1, 1])
    flat = b.node("reshape", pooled, shape=[1, 20])
    two = b.layer("fully_connected", flat, (4, 20), {})
    smaller = check_equal(b.done(two), 1)
    assert channels(smaller) == [3, 3, 12, 4]


def test_what_only_constant_channels_read_goes_too() -> None:
    """Weights of zero for a channel mean that nobody reads it, whatever it holds."""
    b = Builder(1, 1, 1, 3)
    one = b.layer("conv2d", "x", (6, 1, 1, 3), {})
    two = b.layer("conv2d", one, (8, 1, 1, 6), dict.fromkeys(range(4), HIGH))
    graph = b.done(b.layer("conv2d", two, (4, 1, 1, 8), {}))
    w = graph.constants[graph.nodes[1].inputs[1]].copy()
    w[4:, :, :, :2] = 0  # The first two channels are read by constant rows only.
    graph.constants[graph.nodes[1].inputs[1]] = w
    assert channels(check_equal(graph, 1)) == [4, 4, 4]


def test_inputs_and_outputs_stay() -> None:
    b = Builder(1, 1, 1, 3)
    one = b.layer("conv2d", "x", (6, 1, 1, 3), {0: LOW})
    two = b.layer("conv2d", one, (4, 1, 1, 6), dict.fromkeys(range(4), HIGH))
    assert channels(check_equal(b.done(one, two), 1)) == [6, 4]
    b = Builder(1, 1, 1, 3)
    one = b.layer("conv2d", "x", (6, 1, 1, 3), {})
    two = b.layer("conv2d", one, (4, 1, 1, 6), dict.fromkeys(range(4), HIGH))
    assert channels(check_equal(b.done(two), 1)) == [1, 4], "a constant output needs no input"


def test_biases_that_would_leave_32_bits_are_not_folded() -> None:
    """A bias near the edge of int32 that a constant would push over it."""
    b = Builder(1, 1, 1, 2)
    one = b.layer("conv2d", "x", (3, 1, 1, 2), {0: HIGH})
    graph = b.done(b.layer("conv2d", one, (2, 1, 1, 3), {0: 2**31 - 100}))
    w = np.full((2, 1, 1, 3), 127, np.int8)
    graph.constants[graph.nodes[1].inputs[1]] = w
    smaller = check_equal(graph, 1)
    assert channels(smaller) == [3, 2]
    assert channels(check_equal(_with_bias(graph, 0), 1)) == [2, 2]


def _with_bias(graph: Graph, bias: int) -> Graph:
    graph = graph.copy()
    graph.constants[graph.nodes[1].inputs[2]] = np.full(2, bias, np.int32)
    return graph


def test_nothing_to_do_gives_the_graph_itself() -> None:
    b = Builder(1, 3, 3, 2)
    one = b.layer("conv2d", "x", (5, 1, 1, 2), {})
    graph = b.done(b.layer("conv2d", one, (4, 1, 1, 5), {}))
    assert remove_constant_channels(graph, 4) is graph


@needs_shared
@pytest.mark.parametrize(("multiple_of", "most"), [(1, 3_730_000), (4, 3_770_000)])
def test_person_detection_halves(multiple_of: int, most: int) -> None:
    graph = importers.load(SHARED / "models" / "vww_96_int8.tflite")
    assert macs(graph) == 7_489_664
    smaller = check_equal(graph, multiple_of)
    assert macs(smaller) <= most


@needs_shared
def test_person_detection_program() -> None:
    """What runs is smaller, and says so."""
    graph = importers.load(SHARED / "models" / "vww_96_int8.tflite")
    program = build_program(graph, M4.target)
    assert sum(call.macs for call in program.calls) <= 3_770_000
    assert program.model_macs == 7_489_664
    notes = [call.note for call in program.calls]
    assert any("60 of 128 channels kept" in note for note in notes), notes
    assert [call.layer for call in program.calls] == [
        n.name or n.output for n in graph.nodes if n.op != "reshape"
    ]
