"""Pruning whole networks: what is promised holds, and bad input is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from quantizer_small import Builder, network, samples

from edgekit import data, importers
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.reference import run
from pruner import prune_channels, prune_weights
from pruner.obs import follows
from quantizer import quantize
from quantizer.weights import rows
from samples.digits import CALIBRATION, EVALUATION, MODEL


@pytest.fixture(scope="module")
def digits() -> tuple[Graph, dict[str, np.ndarray], data.Samples]:
    graph = importers.load(MODEL)
    return graph, data.load(CALIBRATION, graph).arrays, data.load(EVALUATION, graph)


def accuracy(graph: Graph, judged: data.Samples) -> float:
    feeds = {k: v.astype(np.float32) for k, v in judged.arrays.items()}
    scores = run(graph, feeds)[graph.outputs[0]]
    assert judged.labels is not None
    return float((scores.reshape(len(scores), -1).argmax(1) == judged.labels).mean())


def weights_of(graph: Graph) -> list[tuple[str, np.ndarray]]:
    return [
        (n.op, rows(n, graph.constants[n.inputs[1]])) for n in graph.nodes if len(n.inputs) == 3
    ]


def test_zeros_where_they_are_due(digits: Any) -> None:
    graph, calibration, judged = digits
    done = prune_weights(graph, calibration, sparsity=0.5)
    found = weights_of(done.graph)
    zeros = [float((w == 0).mean()) for _, w in found]
    assert zeros[0] < 0.05 and zeros[-1] < 0.05, "first and last stay dense"
    inner = [(op, z) for (op, _), z in zip(found, zeros, strict=True)][1:-1]
    assert all(abs(z - 0.5) < 0.01 for op, z in inner if op != "depthwise_conv2d")
    assert {n: z for n, (_, z) in done.layers.items()} and all(
        abs(z / size - 0.5) < 0.01 for size, z in done.layers.values()
    )
    assert accuracy(done.graph, judged) > accuracy(graph, judged) - 0.03
    assert [n.name for n in done.graph.nodes] == [n.name for n in graph.nodes]


def test_every_layer_and_patterns(digits: Any) -> None:
    graph, calibration, _ = digits
    done = prune_weights(graph, calibration, pattern=(2, 4), all_layers=True)
    for op, w in weights_of(done.graph):
        assert op == "depthwise_conv2d" or follows(w, (2, 4))


def test_biases_are_corrected() -> None:
    """Each layer's mean per channel, before the activation, is the original's."""
    graph, feeds = network(), samples(64)
    done = prune_weights(graph, feeds, sparsity=0.4, all_layers=True)
    for before, after in zip(graph.nodes, done.graph.nodes, strict=True):
        if len(before.inputs) == 3 and not before.attrs.get("clamp"):
            want = run(graph, feeds, keep={before.output})[before.output]
            have = run(done.graph, feeds, keep={after.output})[after.output]
            axes = tuple(range(want.ndim - 1))
            np.testing.assert_allclose(have.mean(axis=axes), want.mean(axis=axes), atol=1e-4)


def test_fewer_channels(digits: Any) -> None:
    graph, calibration, judged = digits
    done = prune_channels(graph, calibration, 0.2, multiple=1)
    total = sum(before for before, _ in done.channels.values())
    gone = total - sum(after for _, after in done.channels.values())
    assert gone == round(0.2 * total)
    size = sum(w.size for _, w in weights_of(graph))
    assert sum(w.size for _, w in weights_of(done.graph)) < 0.95 * size
    assert accuracy(done.graph, judged) > accuracy(graph, judged) - 0.03


def test_layerwise_takes_the_share_of_each_in_blocks(digits: Any) -> None:
    graph, calibration, _ = digits
    done = prune_channels(graph, calibration, 0.25, ranking="layerwise", multiple=4)
    for before, after in done.channels.values():
        assert (before - after) % 4 == 0
        assert before - after == 4 * int(0.25 * before / 4 + 0.5)


def test_refit_beats_plain_removal() -> None:
    """The same channels removed without refit lose more of the network's results."""
    from pruner.channels import select
    from pruner.groups import remove, trace
    from pruner.ranking import rank

    b = Builder(3)
    x = b.input("image", 1, 8, 8, 2)
    same = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}
    c = b.node("conv2d", x, b.constant("w0", 12, 3, 3, 2), b.constant("b0", 12), **same)
    d = b.node("conv2d", c, b.constant("w1", 6, 3, 3, 12), b.constant("b1", 6), **same)
    graph, feeds = b.done(d), samples(64)
    found = trace(graph)
    orders = rank(graph, found, found.families, feeds, lambda stage, share: None)
    plain = remove(graph, found, select(orders, 0.25, "global", 1))
    want = run(graph, feeds)[d]
    refit = run(prune_channels(graph, feeds, 0.25, multiple=1).graph, feeds)[d]
    assert np.square(refit - want).sum() < 0.5 * np.square(run(plain, feeds)[d] - want).sum()


@pytest.mark.parametrize(
    "options", [{}, {"ranges": "percentile"}, {"rounding": "gptq"}, {"weight_bits": 4},
                {"bias_correction": "analytic"}]
)  # fmt: skip
def test_the_quantizer_keeps_zeros(digits: Any, options: dict[str, Any]) -> None:
    graph, calibration, _ = digits
    pruned = prune_weights(graph, calibration, sparsity=0.5).graph
    integer = quantize(pruned, calibration, **options).graph
    for (_, real), (_, q) in zip(weights_of(pruned), weights_of(integer), strict=True):
        assert (q[real == 0] == 0).all()


def refused(code: str, prune: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    with pytest.raises(EdgekitError) as caught:
        prune(*arguments, **options)
    assert caught.value.code == code, caught.value
    assert caught.value.help
    return str(caught.value)


def test_refusals() -> None:
    graph, feeds = network(), samples()
    for ratio in (0.0, 1.0, -0.5, 1.5, float("nan")):
        assert str(ratio) in refused("E232", prune_channels, graph, feeds, ratio)
        refused("E232", prune_weights, graph, feeds, sparsity=ratio)
    said = refused("E233", prune_channels, graph, feeds, 0.95, multiple=1)
    assert "6 of 6" in said and "conv2d_0" in said
    refused("E233", prune_channels, graph, feeds, 0.95, ranking="layerwise", multiple=1)
    tiny = Builder()
    x = tiny.input("image", 1, 8, 8, 2)
    y = tiny.node("reshape", x, shape=[1, 128])
    for n, (k, o) in enumerate(((128, 2), (2, 1), (1, 2))):
        w = tiny.constant(f"w{n}", o, k)
        y = tiny.node("fully_connected", y, w, tiny.constant(f"b{n}", o))
    said = refused("E233", prune_weights, tiny.done(y), feeds, sparsity=0.9)
    assert "0 of 2" in said and "fully_connected_2" in said
    for pattern in ((4, 4), (0, 4), (5, 4), (2, 64)):
        refused("E235", prune_weights, graph, feeds, pattern=pattern)
    refused("E236", prune_channels, graph, feeds, 0.2, ranking="best")
    refused("E236", prune_channels, graph, feeds, 0.2, multiple=0)
    said = refused("E234", prune_channels, graph, feeds, 0.2)
    assert "one block of 4" in said
    refused("E231", prune_channels, quantize(graph, feeds).graph, feeds, 0.2)
    refused("E205", prune_channels, graph, samples(4), 0.2)
    refused("E205", prune_weights, graph, {"image": np.ones((50, 8, 8, 2), np.float32)},
            sparsity=0.5)  # fmt: skip
    refused("E201", prune_weights, graph, {"picture": feeds["image"]}, sparsity=0.5)


def test_inner_only_keeps_what_adds_tie() -> None:
    b = Builder()
    x = b.input("image", 1, 8, 8, 2)
    same = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}

    def conv(x: str, name: str, out: int) -> str:
        w = b.constant(f"w{name}", out, 3, 3, b.graph.values[x].shape[3])
        return b.node("conv2d", x, w, b.constant(f"b{name}", out), **same)

    trunk = conv(x, "0", 8)
    inner = conv(trunk, "1", 8)
    graph = b.done(conv(b.node("add", trunk, conv(inner, "2", 8)), "3", 3))
    done = prune_channels(graph, samples(), 0.5, inner_only=True)
    assert done.channels == {inner: (8, 4)}
    assert len(prune_channels(graph, samples(), 0.5).channels) == 2


def test_nothing_to_prune() -> None:
    b = Builder()
    x = b.input("image", 1, 8, 8, 2)
    same = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}
    d = b.node("depthwise_conv2d", x, b.constant("w", 3, 3, 2), b.constant("b", 2), **same)
    graph = b.done(d)
    said = refused("E234", prune_weights, graph, samples(), sparsity=0.5, all_layers=True)
    assert "depthwise" in said
    refused("E234", prune_channels, graph, samples(), 0.5)
    assert "--all-layers" in refused("E234", prune_weights, graph, samples(), sparsity=0.5)


def test_nan_in_the_network() -> None:
    graph = network()
    name = graph.nodes[0].inputs[1]
    graph.constants[name] = np.full_like(graph.constants[name], 3e38)
    with np.errstate(all="ignore"):
        said = refused("E208", prune_channels, graph, samples(), 0.2)
        assert "conv2d_0" in said
        said = refused("E208", prune_weights, graph, samples(), sparsity=0.5, all_layers=True)
        assert "conv2d_0" in said
