"""Cross-layer equalization: the same float network, better per-tensor weights, guards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from quantizer_small import Builder, samples

from edgekit.graph import Graph
from edgekit.reference import run
from quantizer import quantize
from quantizer.compare import sqnr_db
from quantizer.equalize import SUFFIX, channel_reach, equalize, pairs

SAME = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}


def uneven(
    seed: int = 0, clamp: tuple[float, float | None] = (0, None), spread: float = 1.5
) -> Graph:
    """conv, depthwise (multiplier 2), grouped conv, pool, fully connected; channels of very
    different reach, as batch normalization leaves them when it is folded."""
    b = Builder(seed)
    act = {"clamp": list(clamp)}
    x = b.input("image", 1, 8, 8, 2)
    c = b.node("conv2d", x, b.constant("w0", 8, 3, 3, 2), b.constant("b0", 8), **SAME, **act)
    d = b.node("depthwise_conv2d", c, b.constant("w1", 3, 3, 16), b.constant("b1", 16), **SAME,
               **act)  # fmt: skip
    g = b.node("conv2d", d, b.constant("w2", 8, 1, 1, 8), b.constant("b2", 8), strides=[1, 1],
               pads=[0, 0, 0, 0], dilations=[1, 1], groups=2, **act)  # fmt: skip
    p = b.node("average_pool2d", g, kernel=[8, 8], strides=[1, 1], pads=[0, 0, 0, 0])
    r = b.node("reshape", p, shape=[1, 8])
    graph = b.done(b.node("fully_connected", r, b.constant("w3", 5, 8), b.constant("b3", 5)))
    factors = np.exp(b.rng.normal(0, spread, 8)).astype(np.float32)
    graph.constants["w0"] = graph.constants["w0"] * factors[:, None, None, None]
    graph.constants["b0"] = graph.constants["b0"] * factors
    graph.constants["w1"] = graph.constants["w1"] / np.repeat(factors, 2)
    return graph


def output(graph: Graph, data: dict[str, np.ndarray]) -> np.ndarray:
    return run(graph, data)[graph.outputs[0]].astype(np.float64)


@pytest.mark.parametrize("seed", range(3))
def test_the_float_network_computes_the_same(seed: int) -> None:
    graph, data = uneven(seed), samples(seed=7)
    out = equalize(graph, samples())
    want, have = output(graph, data), output(out, data)
    assert out is not graph and not np.array_equal(out.constants["w0"], graph.constants["w0"])
    assert sqnr_db((want**2).sum(), ((want - have) ** 2).sum()) > 100


def test_pairs_go_through_what_scales_only() -> None:
    graph = uneven()
    names = [(p.first.op, p.second.op) for p in pairs(graph)]
    assert names == [("conv2d", "depthwise_conv2d"), ("depthwise_conv2d", "conv2d")]
    assert list(pairs(uneven(clamp=(0, 6)))) == []  # ReLU6 would need a bound per channel
    assert equalize(uneven(clamp=(0, 6)), samples()).nodes == uneven(clamp=(0, 6)).nodes
    graph.outputs.append(graph.nodes[0].output)  # what a user reads keeps its numbers
    assert [p.first.op for p in pairs(graph)] == ["depthwise_conv2d"]


def test_per_tensor_weights_gain() -> None:
    gains = []
    for seed in range(3):
        plain, better = (
            quantize(uneven(seed), samples(), weights="per-tensor", equalize=e)
            for e in (False, True)
        )
        assert better.equalized and not plain.equalized
        gains.append(better.logits_sqnr_db - plain.logits_sqnr_db)
    assert min(gains) > 0 and sum(gains) > 6


def test_it_is_undone_where_it_hurts() -> None:
    for seed in range(6):
        plain, kept = (
            quantize(uneven(seed, spread=0), samples(), equalize=e) for e in (False, True)
        )
        assert kept.logits_sqnr_db >= plain.logits_sqnr_db
        if not kept.equalized:
            assert not any(name.endswith(SUFFIX) for name in kept.graph.values)
            return
    pytest.fail("equalization helped all six networks, though their channels are alike")


def test_activations_never_grow_and_dead_channels_stay() -> None:
    graph, data = uneven(), samples()
    w, b = graph.constants["w0"].copy(), graph.constants["b0"].copy()
    w[1], b[1] = 1e-12, -1.0  # never above zero
    w[2], b[2] = 0, 0.5  # no weights
    w[3] *= 1e-4  # nearly dead, but alive
    graph.constants |= {"w0": w, "b0": b}
    names = {p.first.output for p in pairs(graph)}
    before = channel_reach(graph, data, names)
    out = equalize(graph, data)
    after = channel_reach(out, data, {n + SUFFIX for n in names})
    for name in names:
        assert after[name + SUFFIX].max() <= before[name].max() * (1 + 1e-5)
    np.testing.assert_array_equal(out.constants["w0"][1:3], w[1:3])
    np.testing.assert_array_equal(out.constants["b0"][1:3], b[1:3])
    want, have = output(graph, data), output(out, data)
    assert sqnr_db((want**2).sum(), ((want - have) ** 2).sum()) > 100


def test_shared_weights_are_left_alone() -> None:
    """Two layers with one weight array: scaling it for one would change the other."""
    b = Builder()
    x = b.input("x", 1, 4)
    w, bias = b.constant("w", 4, 4), b.constant("b", 4)
    first = b.node("fully_connected", x, w, bias, clamp=[0, None])
    graph = b.done(b.node("fully_connected", first, w, bias))
    assert list(pairs(graph))
    data = {"x": np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)}
    np.testing.assert_array_equal(equalize(graph, data).constants["w"], graph.constants["w"])


def test_layers_keep_the_names_that_options_use() -> None:
    graph = uneven()
    graph.nodes = [replace(n, name="") for n in graph.nodes]
    layer = graph.nodes[0].output
    result = quantize(graph, samples(), weights="per-tensor", weight_bits={layer: 4}, equalize=True)
    assert result.formats.weight_bits[layer] == 4
