"""Shape rules, batches, float meaning and cost of the canonical operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tflm import run_graph

import edgekit.ops
from edgekit.graph import Graph, GraphError, Node, Quant, Value
from edgekit.ops import operator, operators
from edgekit.ops.base import sentence
from edgekit.ops.requant import softmax_params
from edgekit.reference import run


def test_table_is_derived() -> None:
    folder = Path(edgekit.ops.__file__).parent
    table = operators()
    assert len(table) >= 50
    for name, op in table.items():
        assert (folder / f"{name}.py").is_file() and op.name == name
        assert op.summary.endswith(".")
        assert all(sentence(rule) and rule.__doc__ for rule in op.rules)
        assert op.rules, f"{name} states no rule"


def f32(*shape: int) -> Value:
    return Value("v", shape)


WINDOW = {"strides": [1, 1], "pads": [0, 0, 0, 0]}


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "message"),
    [
        ("conv2d", [f32(1, 4, 4, 3), f32(2, 3, 3, 2), f32(2)], WINDOW, "groups"),
        ("conv2d", [f32(1, 4, 4, 3), f32(2, 3, 3, 3), f32(3)], WINDOW, "bias"),
        ("conv2d", [f32(1, 4, 4, 3), f32(2, 5, 5, 3), f32(2)], WINDOW, "fit"),
        ("conv2d", [f32(1, 4, 4, 3), f32(2, 3, 3, 3), f32(2)], {"strides": [0, 1]}, "strides"),
        ("conv2d", [f32(1, 4, 4, 3), f32(2, 3, 3, 3), f32(2)], {"pads": [1, 1]}, "pads"),
        ("conv2d", [f32(1, 4, 4, 3), f32(2, 3, 3, 3), f32(2)], {"groups": 3}, "groups"),
        ("depthwise_conv2d", [f32(1, 4, 4, 3), f32(3, 3, 4), f32(4)], WINDOW, "multiple"),
        ("fully_connected", [f32(1, 4), f32(2, 3), f32(2)], {}, r"\[O, K\]"),
        ("add", [f32(1, 4), f32(1, 3)], {}, "broadcast"),
        ("add", [f32(1, 4), Value("q", (1, 4), "int8")], {}, "int8"),
        ("max_pool2d", [f32(1, 4, 4, 3)], {"kernel": [2, 2], "pads": [2, 0, 0, 0]}, "pads"),
        ("average_pool2d", [f32(1, 4, 4, 3)], WINDOW, "kernel"),
        ("softmax", [Value("q", (1, 5000), "int8")], {}, "4095"),
        ("reshape", [f32(1, 4)], {"shape": [1, 5]}, "elements"),
        ("reshape", [f32(1, 4)], {"shape": [1, -1]}, "positive"),
        ("transpose", [f32(1, 4)], {"perm": [0, 0]}, "permutation"),
        ("clip", [f32(1, 4)], {}, "clamp"),
    ],
)
def test_illegal_operands(
    op: str, inputs: list[Value], attrs: dict[str, Any], message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        operator(op).checked(Node(op, (), ("y",), attrs, "n"), inputs)


@settings(max_examples=30, deadline=None)
@given(graphs.conv_graphs("conv2d"), st.integers(0, 99))
def test_a_batch_is_its_samples(graph: Graph, seed: int) -> None:
    feeds = graphs.batch(graph, seed, 4)
    whole = run(graph, feeds)["y"]
    parts = [run(graph, {"x": feeds["x"][i : i + 1]})["y"] for i in range(4)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["conv2d", "depthwise_conv2d", "fully_connected"]).flatmap(graphs.conv_graphs),
    st.integers(0, 99),
)
def test_float_agrees_with_the_integers(graph: Graph, seed: int) -> None:
    """The same layer on dequantized operands is the integer accumulator times its scale."""
    node, feeds = graph.nodes[0], graphs.batch(graph, seed)
    x_quant, w_quant = graph.values["x"].quant, graph.values["w"].quant
    assert x_quant is not None and w_quant is not None
    shape = [1] * graph.constants["w"].ndim
    if w_quant.axis is not None:
        shape[w_quant.axis] = -1
    zero_point = int(x_quant.zero_point[0])
    x = (feeds["x"].astype(np.float64) - zero_point) * x_quant.scale[0]
    w = graph.constants["w"] * w_quant.scale.astype(np.float64).reshape(shape)
    op: Any = operator(node.op)
    zero = np.zeros_like(graph.constants["b"])
    plain = Node(node.op, node.inputs, node.outputs, {**node.attrs, "clamp": None})
    y = op.reference_float(plain, [x.astype("f4"), w.astype("f4"), zero.astype("f4")])
    acc = op.accumulate(node, feeds["x"], graph.constants["w"], zero, zero_point)
    want = acc * (x_quant.scale[0].astype(np.float64) * w_quant.scale.astype(np.float64))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-4 * max(1.0, np.abs(want).max()))


def test_padding_is_not_averaged_and_never_wins() -> None:
    x = np.full((1, 2, 2, 1), -3.0, np.float32)
    node = Node("", ("x",), ("y",), {"kernel": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]})
    for op in ("average_pool2d", "max_pool2d"):
        np.testing.assert_array_equal(operator(op).reference_float(node, [x]), x)


def test_clip_takes_the_quotient_of_scales_in_double() -> None:
    """Scales at which a float32 quotient gives another byte for x = 103."""
    rng = np.random.default_rng(0)
    s_in = np.exp(rng.uniform(-6, 0, 200_000)).astype(np.float32)
    s_out = (s_in * np.exp(rng.uniform(-1, 1, s_in.size))).astype(np.float32)
    level = np.arange(1, 256)[:, None]
    wide, narrow = s_in.astype(np.float64) / s_out, (s_in / s_out).astype(np.float64)
    wide_y, narrow_y = np.floor(level * wide + 0.5), np.floor(level * narrow + 0.5)
    cases = np.unique(np.argwhere((wide_y != narrow_y) & (wide_y < 256))[:, 1])[:8]
    assert len(cases)
    for i in cases:
        graph = graphs.one_node(
            "clip",
            [Value("x", (1, 256), "int8", Quant.make(s_in[i], -128))],
            Value("y", (1, 256), "int8", Quant.make(s_out[i], -128)),
            {},
            clamp=[0, None],
        )
        feeds = {"x": np.arange(-128, 128).astype(np.int8)[None]}
        np.testing.assert_array_equal(run(graph, feeds)["y"], run_graph(graph, feeds))


def test_softmax_of_many_equal_channels_is_zero() -> None:
    """From a sum of 512 on every result rounds to 0; TFLM's shift would exceed 31 bits there."""
    graph = graphs.one_node(
        "softmax",
        [Value("x", (1, 1000), "int8", Quant.make(0.01, 0))],
        Value("y", (1, 1000), "int8", graphs.SOFTMAX_QUANT),
        {},
        beta=1.0,
    )
    assert (run(graph, {"x": np.zeros((2, 1000), np.int8)})["y"] == -128).all()


def test_softmax_table() -> None:
    x = Value("x", (1, 10), "int8", Quant.make(0.25, 3))
    y = Value("y", (1, 10), "int8", graphs.SOFTMAX_QUANT)
    p = softmax_params(Node("softmax", ("x",), ("y",), {"beta": 1.0}), [x], y)
    d = np.arange(256)
    want = np.where(-d >= p.diff_min, np.exp(-0.25 * d), 0.0)
    np.testing.assert_allclose(p.exp_table / 2**31, want, atol=4e-7)
    assert p.exp_table.dtype == np.int32 and p.exp_table[0] == 2**31 - 1


def test_macs() -> None:
    y = f32(1, 5, 4, 6)
    conv = Node("conv2d", (), ("y",), {})
    assert operator("conv2d").macs(conv, [f32(1, 5, 4, 2), f32(6, 3, 3, 2)], y) == 120 * 18
    assert operator("depthwise_conv2d").macs(conv, [f32(1, 5, 4, 6), f32(3, 3, 6)], y) == 1080
    assert operator("fully_connected").macs(conv, [f32(1, 7), f32(3, 7)], f32(1, 3)) == 21
