"""What the quantizer refuses, by name and with numbers, and what it takes in its stride."""

from __future__ import annotations

import numpy as np
import pytest
from quantizer_small import Builder, network, samples

from edgekit.data import dequantize_output, quantize_inputs
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.reference import run
from quantizer import quantize
from quantizer.ranges import Observer, Ranges, range_of


def refused(code: str, match: str, graph: Graph, data: dict[str, np.ndarray]) -> None:
    with pytest.raises(EdgekitError, match=match) as caught:
        quantize(graph, data)
    assert caught.value.code == code and caught.value.help


def test_too_few_samples() -> None:
    refused("E205", "3 samples, at least 8 different ones are needed: ranges", network(),
            samples(3))  # fmt: skip


def test_constant_samples() -> None:
    data = {"image": np.full((16, 8, 8, 2), 5.0, np.float32)}
    refused("E205", "16 samples, all of them the same, at least 8", network(), data)


def test_a_few_samples_repeated() -> None:
    data = {"image": np.tile(samples(4)["image"], (8, 1, 1, 1))}
    refused("E205", "32 samples, 4 of them different, at least 8", network(), data)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "layer"), [("w0", "conv2d_0"), ("b1", "depthwise_conv2d_1"), ("gain", "mul_4")]
)
def test_weights_that_are_no_numbers(name: str, layer: str, bad: float) -> None:
    graph = network()
    graph.constants[name] = graph.constants[name].copy()
    graph.constants[name].flat[1] = bad
    refused("E213", f"'{layer}'.*1 of the .*'{name}'.*the first at", graph, samples())


def test_activations_that_overflow_name_the_layer() -> None:
    graph = network()
    graph.constants["w1"] = graph.constants["w1"] * np.float32(1e38)
    graph.constants["w0"] = graph.constants["w0"] * np.float32(1e10)
    with np.errstate(all="ignore"):
        refused("E208", r"depthwise_conv2d_1.*sample 0", graph, samples())


def test_samples_that_are_no_numbers() -> None:
    data = samples()
    data["image"][3, 0, 0, 0] = np.nan
    refused("E204", "image", network(), data)


def test_an_accumulator_that_could_overflow() -> None:
    """70 000 products of 255 x 127 exceed 2**31: refused by name, never wrapped."""
    b = Builder()
    k = 70_000
    w = b.graph.add_constant("w", np.ones((2, k), np.float32))
    bias = b.graph.add_constant("bias", np.zeros(2, np.float32))
    graph = b.done(b.node("fully_connected", b.input("x", 1, k), w, bias))
    data = {"x": np.random.default_rng(0).uniform(0, 1, (8, k)).astype(np.float32)}
    refused("E209", r"'fully_connected_0'.*channel 0: sums reach \d+, an int32", graph, data)
    with pytest.raises(EdgekitError, match="70000 products per result, GPTQ takes up to 4096") as e:
        quantize(graph, data, rounding="gptq")
    assert e.value.code == "E214"


def test_below_that_it_cannot_overflow() -> None:
    """Weights at their largest, operands at their largest, a bias: the floor of scales holds."""
    b = Builder()
    k = 60_000
    w = b.graph.add_constant("w", np.ones((1, k), np.float32))
    bias = b.graph.add_constant("bias", np.full(1, 3e5, np.float32))
    graph = b.done(b.node("fully_connected", b.input("x", 1, k), w, bias))
    data = {"x": np.random.default_rng(0).uniform(0, 1, (8, k)).astype(np.float32)}
    result = quantize(graph, data, rounding="nearest")
    ones = {"x": np.ones((1, k), np.float32)}
    have = run(result.graph, quantize_inputs(result.graph, ones))[graph.outputs[0]]
    # Far beyond what calibration saw: saturated at the top, not wrapped to the bottom.
    assert have.item() == 127


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
@pytest.mark.parametrize("bits", [8, 4])
def test_dead_channels(bits: int, rounding: str) -> None:
    """Channels with no weights, with no input, and that never pass their ReLU."""
    graph = network()
    w, b = graph.constants["w0"].copy(), graph.constants["b0"].copy()
    w[0], b[0] = 0, 0.3
    w[1], b[1] = 0, 0
    b[2] = -1e3
    graph.constants |= {"w0": w, "b0": b}
    data = samples()
    data["image"][..., 1] = 0
    result = quantize(graph, data, weight_bits=bits, rounding=rounding)  # type: ignore[arg-type]
    name = graph.outputs[0]
    want = run(graph, data)[name]
    have = run(result.graph, quantize_inputs(result.graph, data))[name]
    assert np.abs(dequantize_output(result.graph, name, have) - want).max() < 0.15
    assert all(np.isfinite(v.quant.scale).all() for v in result.graph.values.values() if v.quant)


@pytest.mark.parametrize("ranges", ["mse", "minmax", "percentile", "kl"])
@pytest.mark.parametrize("value", [0.0, 3.5, -2.0, 1e-30])
def test_ranges_of_zero_width(value: float, ranges: Ranges) -> None:
    observer = Observer()
    x = np.full((4, 10), value, np.float32)
    observer.see_extremes(x)
    observer.see_histogram(x)
    low, high = range_of(observer, ranges)
    assert low <= min(value, 0) and high >= max(value, 0) - 1e-6 and high - low > 1e-12
