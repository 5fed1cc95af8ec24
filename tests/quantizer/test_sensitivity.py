"""Sensitivities: their sum predicts what a mixture really costs."""

from __future__ import annotations

import numpy as np
import pytest
from quantizer_small import Builder, network, samples

from edgekit.graph import Graph
from quantizer import quantize
from quantizer.sensitivity import Sensitivity, sensitivity
from quantizer.widths import layer_name


@pytest.fixture(scope="module")
def found() -> Sensitivity:
    return sensitivity(network(), samples(64))


def test_names_and_widths(found: Sensitivity) -> None:
    graph = network()
    layers = [layer_name(n) for n in graph.nodes if len(n.inputs) == 3]
    assert list(found.weights) == layers
    # first, depthwise and last layers keep eight bits
    assert all(set(by_bits) == {8} for by_bits in found.weights.values())
    tensors = {t for group in found.members.values() for t in group}
    assert tensors == {*graph.inputs, *(n.output for n in graph.nodes)}
    assert all(by_bits[16] < by_bits[8] / 10 for by_bits in found.tensors.values() if by_bits[8])


@pytest.mark.parametrize("bits", [8, 16])
def test_the_sum_predicts_the_network(found: Sensitivity, bits: int) -> None:
    predicted = found.sqnr_db({}, dict.fromkeys(found.tensors, bits))
    real = quantize(network(), samples(64), activation_bits=bits).logits_sqnr_db
    assert abs(predicted - real) < 6  # dB, of 30 to 65


def test_four_bits_cost_more() -> None:
    b = Builder(3)
    x = b.input("image", 1, 8, 8, 2)
    one = {"strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "clamp": [0, None]}
    y = b.node("conv2d", x, b.constant("w0", 8, 1, 1, 2), b.constant("b0", 8), **one)
    y = b.node("conv2d", y, b.constant("w1", 8, 3, 3, 8), b.constant("b1", 8), **one)
    y = b.node("conv2d", y, b.constant("w2", 4, 1, 1, 8), b.constant("b2", 4), **one)
    graph: Graph = b.done(y)
    middle = layer_name(graph.nodes[1])
    found = sensitivity(graph, samples(64))
    assert found.weights[middle][4] > 10 * found.weights[middle][8]
    predicted = found.sqnr_db({middle: 4}, {})
    real = quantize(graph, samples(64), weight_bits={middle: 4}).logits_sqnr_db
    assert abs(predicted - real) < 4


def test_what_reaches_no_score_has_no_noise() -> None:
    b = Builder()
    x = b.input("image", 1, 8, 8, 2)
    pool = {"kernel": [8, 8], "strides": [1, 1], "pads": [0, 0, 0, 0]}
    first, second = b.node("max_pool2d", x, **pool), b.node("average_pool2d", x, **pool)
    found = sensitivity(b.done(first, second), samples())
    assert np.isfinite(found.signal) and list(found.tensors) == ["image"]
