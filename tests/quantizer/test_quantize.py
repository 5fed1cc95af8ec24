"""The quantizer on small graphs: TFLite's rules, degenerate tensors, errors, the report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quantizer_small import Builder, network, samples, wide_network
from tflm import run_graph

from edgekit.data import dequantize_output, quantize_inputs
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant
from edgekit.reference import run
from quantizer import quantize
from quantizer.ranges import Observer, activation_quant, range_of
from quantizer.weights import bias_scale, quantize_bias, quantize_weights


@pytest.fixture(scope="module")
def result() -> Any:
    return quantize(network(), samples())


def test_follows_tflites_specification(result: Any) -> None:
    graph: Graph = result.graph
    assert all(graph.values[n.output].dtype == "int8" for n in graph.nodes)
    for node in graph.nodes:
        out = graph.values[node.output].quant
        assert out is not None and not out.per_channel
        if node.op in ("average_pool2d", "max_pool2d", "reshape"):
            assert out == graph.values[node.inputs[0]].quant
        if node.op == "softmax":
            assert (out.scale[0], out.zero_point[0]) == (np.float32(1 / 256), -128)
        if node.op in ("conv2d", "depthwise_conv2d", "fully_connected"):
            w, b = (graph.values[i] for i in node.inputs[1:])
            assert w.quant is not None and b.quant is not None
            assert w.dtype == "int8" and b.dtype == "int32"
            assert w.quant.axis == (2 if node.op == "depthwise_conv2d" else 0)
            assert np.abs(graph.constants[w.name].astype(int)).max() == 127
        if node.attrs.get("clamp", [None])[0] == 0:
            assert out.zero_point[0] == -128


def test_is_close_to_the_float_network(result: Any) -> None:
    data = samples(64, seed=9)
    want = run(result.float_graph, data)[result.float_graph.outputs[0]]
    have = run(result.graph, quantize_inputs(result.graph, data))[result.graph.outputs[0]]
    real = dequantize_output(result.graph, result.graph.outputs[0], have)
    assert np.abs(real - want).max() < 0.1
    assert (real.argmax(1) == want.argmax(1)).mean() > 0.9


def test_same_bytes_as_tflm() -> None:
    """The graph without its (non-TFLite) -1..6 clamp, in TFLM's interpreter."""
    graph = network()
    graph.nodes = [
        replace(n, attrs={**n.attrs, "clamp": [0, 6]}) if n.op == "mul" else n for n in graph.nodes
    ]
    integer = quantize(graph, samples()).graph
    feeds = quantize_inputs(integer, samples(8, seed=3))
    np.testing.assert_array_equal(
        run(integer, feeds)[integer.outputs[0]], run_graph(integer, feeds)
    )


def test_report(result: Any) -> None:
    assert result.samples == 32
    assert set(result.sqnr_db) == {n.output for n in result.float_graph.nodes[-2:]}
    assert result.logits_sqnr_db > 25
    tensor = result.tensors["image"]
    assert tensor.lo < 0 < tensor.hi
    assert tensor.range_hi == pytest.approx((127 - tensor.zero_point) * tensor.scale)
    assert tensor.sqnr_db > 30


@pytest.mark.parametrize(
    "options",
    [
        *({"ranges": r} for r in ("mse", "minmax", "percentile", "kl")),
        *({"bias_correction": b} for b in ("empirical", "analytic", "none")),
        *({"weights": w} for w in ("per-channel", "per-tensor")),
        {"rounding": "gptq"},
    ],
    ids=str,
)
def test_options(options: dict[str, Any]) -> None:
    stages = []
    result = quantize(
        network(3),
        samples(),
        progress=lambda stage, fraction: stages.append((stage, fraction)),
        **options,
    )
    assert result.logits_sqnr_db > (15 if "kl" in options.values() else 20)
    assert stages[-1][1] == 1.0
    assert all(0 <= fraction <= 1 for _, fraction in stages)


def test_bias_correction_brings_the_means_together() -> None:
    def error(correct: str) -> float:
        result = quantize(network(5), samples(64), bias_correction=correct)
        name = result.float_graph.nodes[-2].output
        want = run(result.float_graph, samples(64), keep={name})[name]
        have = run(result.graph, quantize_inputs(result.graph, samples(64)), keep={name})
        real = dequantize_output(result.graph, name, have[name])
        return float(np.abs((want - real).mean(axis=0)).max())

    assert error("empirical") < error("none")


def degenerate(kind: str) -> Graph:
    graph = network()
    if kind == "zero channel":
        graph.constants["w0"] = graph.constants["w0"].copy()
        graph.constants["w0"][2] = 0
    elif kind == "zero layer":
        graph.constants["w1"] = np.zeros_like(graph.constants["w1"])
        graph.constants["b1"] = np.zeros_like(graph.constants["b1"])
    elif kind == "all dead":
        graph.constants["b0"] = np.full_like(graph.constants["b0"], -1e6)
    elif kind == "huge bias, tiny weights":
        graph.constants["w0"] = graph.constants["w0"] * np.float32(1e-9)
        graph.constants["b0"] = np.full_like(graph.constants["b0"], 3e4)
    elif kind == "tiny numbers":
        graph.constants["w0"] = graph.constants["w0"] * np.float32(1e-20)
        graph.constants["b0"] = graph.constants["b0"] * np.float32(1e-20)
    elif kind == "tiny scores":
        graph.constants["w2"] = graph.constants["w2"] * np.float32(1e-12)
        graph.constants["b2"] = graph.constants["b2"] * np.float32(1e-12)
    elif kind == "zero gain":
        graph.constants["gain"] = np.zeros_like(graph.constants["gain"])
    return graph


@pytest.mark.parametrize(
    "kind",
    [
        "zero channel",
        "zero layer",
        "all dead",
        "huge bias, tiny weights",
        "tiny numbers",
        "tiny scores",
        "zero gain",
    ],
)
def test_degenerate_layers(kind: str) -> None:
    result = quantize(degenerate(kind), samples())
    have = run(result.graph, quantize_inputs(result.graph, samples()))
    want = run(result.float_graph, samples())
    name = result.graph.outputs[0]
    real = dequantize_output(result.graph, name, have[name])
    assert np.abs(real - want[name]).max() < 0.15


def test_what_cancels_stays_zero() -> None:
    """a + (-a) of large numbers: the sum's scale may not fall below what addition can express."""
    b = Builder()
    x = b.input("x", 1, 8)
    minus = b.graph.add_constant("minus", np.full((1, 8), -1, np.float32))
    graph = b.done(b.node("add", x, b.node("mul", x, minus)))
    data = {"x": np.random.default_rng(0).normal(0, 1e7, (16, 8))}
    integer = quantize(graph, data).graph
    feeds = quantize_inputs(integer, data)
    have = run(integer, feeds)[integer.outputs[0]]
    np.testing.assert_array_equal(have, run_graph(integer, feeds))
    assert np.abs(dequantize_output(integer, integer.outputs[0], have)).max() < 4e5


def test_a_large_dead_layer_stays_dead() -> None:
    """Accumulators of 2**31 output steps would wrap in the left shift."""
    b = Builder()
    w = b.graph.add_constant("w", np.full((3, 4), 1e9, np.float32))
    bias = b.graph.add_constant("bias", np.full(3, -1e12, np.float32))
    graph = b.done(b.node("fully_connected", b.input("x", 1, 4), w, bias, clamp=[0, None]))
    data = {"x": np.random.default_rng(0).uniform(0, 1, (16, 4))}
    integer = quantize(graph, data).graph
    have = run(integer, quantize_inputs(integer, data))[integer.outputs[0]]
    assert (have == -128).all()


def test_dead_nodes_are_dropped() -> None:
    graph = network()
    used = graph.nodes[-2].output
    graph.outputs = [used]
    assert len(quantize(graph, samples()).graph.nodes) == len(graph.nodes) - 1


def test_an_input_channel_that_never_varies() -> None:
    data = samples()
    data["image"][..., 1] = -2.0
    assert quantize(network(), data).logits_sqnr_db > 20


def weights_of(graph: Graph) -> dict[str, np.ndarray]:
    return {n.name: graph.constants[n.inputs[1]] for n in graph.nodes if "weight_bits" in n.attrs}


def test_four_bits_leave_first_last_and_depthwise_alone() -> None:
    result = quantize(wide_network(), samples(), weight_bits=4)
    assert list(result.formats.weight_bits.values()) == [8, 8, 4, 8]
    ((_, w),) = weights_of(result.graph).items()
    assert abs(w).max() == 7


def test_bits_by_layer() -> None:
    names = [n.name for n in wide_network().nodes if len(n.inputs) == 3]
    result = quantize(wide_network(), samples(), weight_bits={names[0]: 4, names[1]: 4})
    assert [result.formats.weight_bits[n] for n in names] == [4, 4, 8, 8]
    assert set(weights_of(result.graph)) == set(names[:2])
    for bad in ({"nowhere": 4}, {names[0]: 5}, 3):
        with pytest.raises(EdgekitError) as caught:
            quantize(wide_network(), samples(), weight_bits=bad)  # type: ignore[arg-type]
        assert caught.value.code == "E211"
    with pytest.raises(EdgekitError) as caught:
        quantize(wide_network(), samples(), ranges="mode")  # type: ignore[arg-type]
    assert caught.value.code == "E212"


def test_gptq_is_better_than_the_nearest_integer() -> None:
    found = [
        quantize(wide_network(s), samples(64), weight_bits=4, rounding=r).logits_sqnr_db
        for r in ("nearest", "gptq")
        for s in range(3)
    ]
    assert sum(found[3:]) > sum(found[:3]) + 3  # dB over three networks; measured +14


def test_per_tensor_weights_have_one_scale() -> None:
    graph = quantize(network(), samples(), weights="per-tensor").graph
    for node in graph.nodes:
        if len(node.inputs) == 3:
            quant = graph.values[node.inputs[1]].quant
            assert quant is not None and len(set(quant.scale.tolist())) == 1


def test_uint8_calibration_is_real_values() -> None:
    rng = np.random.default_rng(0)
    data = {"image": rng.integers(0, 256, (16, 8, 8, 2)).astype(np.uint8)}
    data["image"][0, 0, 0] = (0, 255)
    quant = quantize(network(), data).graph.values["image"].quant
    assert quant is not None
    assert (quant.scale[0], quant.zero_point[0]) == (1.0, -128)


def test_two_inputs_and_names() -> None:
    b = Builder()
    x, y = b.input("left", 1, 4), b.input("right", 1, 4)
    graph = b.done(b.node("add", x, y))
    rng = np.random.default_rng(0)
    data = {"left": rng.normal(size=(9, 4)), "right": rng.normal(size=(9, 4)) * 10}
    assert quantize(graph, data).logits_sqnr_db > 35


def test_already_quantized(result: Any) -> None:
    with pytest.raises(EdgekitError) as error:
        quantize(result.graph, samples())
    assert error.value.code == "E206"


def observed(x: np.ndarray) -> Observer:
    o = Observer()
    o.see_extremes(x)
    o.see_histogram(x)
    return o


def test_mse_range_cuts_outliers_and_beats_the_extremes() -> None:
    rng = np.random.default_rng(0)
    x = np.append(rng.normal(0, 1, 1_000_000), [40.0, -9.0]).astype(np.float32)
    low, high = range_of(observed(x), "mse")
    assert -9 <= low < -3 and 3 < high < 20

    def error(lo: float, hi: float) -> float:
        quant = activation_quant(lo, hi)
        s, z = quant.scale[0], quant.zero_point[0]
        return float(((((np.clip(np.rint(x / s) + z, -128, 127)) - z) * s - x) ** 2).mean())

    assert error(low, high) < error(-9, 40) / 2


def test_ranges_hold_zero() -> None:
    rng = np.random.default_rng(0)
    for shift in (-50.0, 50.0):
        low, high = range_of(observed(rng.normal(shift, 1, 1000).astype(np.float32)), "mse")
        assert low <= 0 <= high
        assert activation_quant(low, high).zero_point[0] in (-128, 127)


def test_sixteen_bits_beat_eight() -> None:
    wide = quantize(network(), samples(), activation_bits=16)
    assert wide.logits_sqnr_db > quantize(network(), samples()).logits_sqnr_db + 6
    assert set(wide.formats.dtypes.values()) == {"int16"}
    assert all(q is None or not q.zero_point.any() for q in activations_of(wide.graph))


def activations_of(graph: Graph) -> list[Quant | None]:
    return [v.quant for n, v in graph.values.items() if n not in graph.constants]


def test_bits_of_one_tensor() -> None:
    """A pool that is named names its operand; a softmax has the width of its scores."""
    graph = network()
    by_op = {n.op: n for n in graph.nodes}
    pool, dense = by_op["max_pool2d"], by_op["fully_connected"]
    result = quantize(graph, samples(), activation_bits={pool.name: 16, dense.name: 16})
    wide = {name for name, dtype in result.formats.dtypes.items() if dtype == "int16"}
    softmax = by_op["softmax"]
    assert wide == {pool.inputs[0], pool.output, dense.output, softmax.output}
    for bad in ({"nowhere": 16}, {pool.name: 12}, 4):
        with pytest.raises(EdgekitError) as caught:
            quantize(graph, samples(), activation_bits=bad)  # type: ignore[arg-type]
        assert caught.value.code == "E280"


def test_float_layers_keep_their_weights_and_what_lies_between_them() -> None:
    graph = network()
    conv, depthwise, add = graph.nodes[:3]
    result = quantize(graph, samples(), float_layers=[conv.name, depthwise.name, add.name])
    values = result.graph.values
    assert values[conv.output].dtype == values[depthwise.output].dtype == "float32"
    assert values[add.output].dtype == "int8" and values[graph.inputs[0]].dtype == "int8"
    assert values[conv.inputs[1]].dtype == "float32"
    for bad, message in (("nowhere", "no layer"), (graph.nodes[-1].name, "softmax")):
        with pytest.raises(EdgekitError, match=message) as caught:
            quantize(graph, samples(), float_layers=[bad])
        assert caught.value.code == "E281"
    with pytest.raises(EdgekitError) as caught:
        quantize(graph, samples(), float_layers=[conv.name], weight_bits={conv.name: 4})
    assert caught.value.code == "E281"


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**32 - 1))
def test_int16_sums_fit(fan_in: int, seed: int) -> None:
    """With 16-bit activations the scales leave room for every sum in 2**30."""
    r = np.random.default_rng(seed)
    w = r.normal(0, 1, (2, fan_in)).astype(np.float32) * r.choice([1e-6, 1.0, 1e3])
    bias = r.normal(0, 1, 2) * r.choice([0, 1, 1e5])
    node = Node("fully_connected", ("x", "w", "b"), ("y",), {}, "n")
    q, quant = quantize_weights(node, w, bias, 1e-4, dtype="int16")
    scale = bias_scale(1e-4, quant)
    reach = 32768 * np.abs(q.astype(np.int64)).sum(axis=1) + np.abs(quantize_bias(bias, scale))
    assert (reach < 2**30 + 2**20).all()
