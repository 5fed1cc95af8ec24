"""One layer of each kind with random shapes, and the reasons of those that stay on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import conv_graphs, one_node, pool_graphs, quants
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from codegen.npu.layers.pooling import divisor, parts_of
from edgekit.graph import Graph, Quant, Value
from targets.npu.config import Accelerator

from .configurations import NPU64, TINY
from .exact import assert_exact, program_of
from .models import FUNCTIONS, Net, conv, depthwise, flat, pool, reduction

CHECKED = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
GRAPHS = {
    "conv2d": conv_graphs("conv2d"),
    "depthwise_conv2d": conv_graphs("depthwise_conv2d"),
    "fully_connected": conv_graphs("fully_connected"),
    "average_pool2d": pool_graphs("average_pool2d"),
    "max_pool2d": pool_graphs("max_pool2d"),
}


@pytest.mark.parametrize("op", GRAPHS)
@CHECKED
@given(data=st.data())
def test_window(op: str, data: st.DataObject) -> None:
    graph = data.draw(GRAPHS[op])
    assume(graph.nodes[0].attrs.get("groups", 1) == 1)
    config = data.draw(st.sampled_from([NPU64, *TINY]))
    _check(graph, config)


@CHECKED
@given(st.integers(0, 2**32 - 1), st.sampled_from([NPU64, *TINY[:3]]))
def test_many_channels(seed: int, config: object) -> None:
    """More channels than a block has, so that lanes and blocks are there in full and in part."""
    net = Net(seed, cpu=0)
    shape = (1, net.integer(1, 8), net.integer(1, 8), net.integer(9, 70))
    x = net.input(*shape)
    make = [conv, depthwise, pool][net.integer(0, 2)]
    _check(net.done(make(net, x)), config)


@CHECKED
@given(st.integers(0, 2**32 - 1), st.data())
def test_sum_of_two_tensors(seed: int, data: st.DataObject) -> None:
    net = Net(seed)
    shape = (1, net.integer(1, 9), net.integer(1, 9), net.integer(1, 30))
    values = [Value(n, shape, "int8", data.draw(quants())) for n in ("a", "b", "y")]
    op = data.draw(st.sampled_from(["add", "sub"]))
    graph = one_node(op, values[:2], values[2], {}, clamp=net.choice(None, [0, None], [-1, 1]))
    _check(graph, data.draw(st.sampled_from([NPU64, *TINY[:3]])), accelerated=True)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_function_of_a_byte(function: str) -> None:
    every = Value("x", (1, 16, 16), "int8", Quant.make(0.05, -7))
    graph = one_node("unary", [every], Value("y", (1, 16, 16), "int8", Quant.make(0.03, 11)), {},
                     function=function)  # fmt: skip
    _check(graph, NPU64, accelerated=True)


@pytest.mark.parametrize("op", ["mul", "add", "sub", "minimum", "maximum"])
def test_one_constant(op: str) -> None:
    x = Value("x", (1, 4, 64), "int8", Quant.make(0.05, -7))
    c = Value("c", (1,), "int8", Quant.make(0.02, 3))
    y = Value("y", (1, 4, 64), "int8", Quant.make(0.03, 11))
    _check(one_node(op, [x, c], y, {"c": np.array([77], np.int8)}), NPU64, accelerated=True)


def test_flattened_images() -> None:
    """The kernel of a fully connected layer is the image in front of it."""
    for seed in range(8):
        net = Net(seed, cpu=0)
        x = conv(net, net.input(1, net.integer(2, 7), net.integer(2, 7), net.integer(1, 20)))
        units = net.integer(1, 20)
        y = net.weighted("fully_connected", flat(net, x), (units, net.graph.values[x].size), 0,
                         (1, units))  # fmt: skip
        _check(net.done(y), NPU64, accelerated=True)


def test_reductions() -> None:
    for seed in range(12):
        net = Net(seed)
        shape = (1, net.integer(1, 9), net.integer(1, 9), net.integer(1, 20))
        y = reduction(net, net.input(*shape))
        config = [NPU64, *TINY][seed % 5]
        _check(net.done(y), config, accelerated=config is NPU64)


@pytest.mark.parametrize("op", ["average_pool2d", "max_pool2d"])
def test_pools_need_no_weight_memory(op: str) -> None:
    """A window of more steps than the weight memory has words: nothing of it is a weight."""
    narrow = Accelerator("narrow", 1, 1, 1 << 11, 16, 32, tables=False)
    x = Value("x", (1, 14, 5, 20), "int8", Quant.make(0.05, -7))
    y = Value("y", (1, 2, 1, 20), "int8", Quant.make(0.05, -7))
    graph = one_node(op, [x], y, {}, kernel=[12, 5], strides=[2, 1], pads=[0, 0, 0, 0])
    _check(graph, narrow, accelerated=True)


def test_divisors_are_exact() -> None:
    """SPEC's mean of every sum of n bytes, for windows of all sizes below 200 and a few more."""
    for n in (*range(1, 200), 1024, 9216, 16384):
        found = divisor(n)
        assert found is not None
        multiplier, left, right = found
        sums = np.arange(-128 * n, 127 * n + 1, dtype=np.int64)
        h = ((sums << left) * multiplier + 2**30) >> 31
        mean = h if right == 0 else (h + (1 << (right - 1)) - (h < 0)) >> right
        truth = np.trunc((sums + np.where(sums > 0, n // 2, -(n // 2))) / n)
        assert abs(128 * n << left) < 2**31
        np.testing.assert_array_equal(mean, truth)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_parts_leave_each_pixel_its_divisor(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (rng.integers(1, 4, rng.integers(1, 7)) for _ in range(2))
    counts = rows[:, None] * columns[None, :]
    found = np.zeros_like(counts)
    for top, bottom, width, count in parts_of(counts):
        assert bottom == top + 1 or width == counts.shape[1]
        found[top:bottom, :width] = count
    np.testing.assert_array_equal(found, counts)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (lambda: _with_groups(), "a convolution must have one group"),
        (lambda: _multiplier(), "a depthwise layer must have one input channel"),
        (lambda: _broadcast(), "operands must be two tensors of one shape"),
        (lambda: _wide(), "operands and result must be int8"),
        (lambda: _wide_row(), "a row of the result must fit the activation memory"),
        (lambda: _tall_kernel(), "weights of 8 output channels"),
        (lambda: _far(), "sizes, strides, dilations and padding must fit the fields"),
    ],
)
def test_reasons(graph: object, reason: str) -> None:
    built = graph()  # type: ignore[operator]
    program = program_of(built, NPU64)
    assert program is not None
    (call,) = program.calls
    assert call.kernel.spec.family == "c99"
    assert f"on the CPU: {reason}" in call.note


def _check(graph: Graph, config: object, accelerated: bool = False) -> None:
    program = program_of(graph, config)  # type: ignore[arg-type]
    if program is None:
        return
    for call in program.calls:
        assert call.kernel.spec.family == "npu" or "on the CPU: " in call.note
        assert call.kernel.spec.family == "npu" or not accelerated, call.note
    assert_exact(graph, program, config)  # type: ignore[arg-type]


def _conv(
    shape: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...], **attrs: object
) -> Graph:
    net = Net(1)
    window = {"strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4, "groups": 1, **attrs}
    return net.done(net.weighted("conv2d", net.input(*shape), w, 0, out, **window))


def _with_groups() -> Graph:
    return _conv((1, 4, 4, 4), (4, 1, 1, 2), (1, 4, 4, 4), groups=2)


def _multiplier() -> Graph:
    net = Net(1)
    window = {"strides": [1, 1], "dilations": [1, 1], "pads": [0] * 4}
    x = net.input(1, 4, 4, 2)
    return net.done(net.weighted("depthwise_conv2d", x, (1, 1, 4), 2, (1, 4, 4, 4), **window))


def _broadcast() -> Graph:
    net = Net(1)
    a, b = net.input(1, 4, 4, 2), net.input(1, 1, 1, 2)
    return net.done(net.node("add", (a, b), (1, 4, 4, 2), net.quant()))


def _wide() -> Graph:
    x = Value("x", (1, 4), "int16", Quant.make(0.01))
    return one_node("unary", [x], Value("y", (1, 4), "int16", Quant.make(0.01)), {},
                    function="abs")  # fmt: skip


def _wide_row() -> Graph:
    return _conv((1, 1, 2000, 64), (64, 1, 1, 64), (1, 1, 2000, 64))


def _tall_kernel() -> Graph:
    return _conv((1, 7, 7, 256), (8, 7, 7, 256), (1, 1, 1, 8))


def _far() -> Graph:
    return _conv((1, 200, 1, 1), (1, 2, 1, 1), (1, 136, 1, 1), dilations=[64, 1])
