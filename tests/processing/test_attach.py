"""Steps in front of graphs and behind them: shapes, grids, what the network then computes."""

from __future__ import annotations

from typing import Any

import audio
import numpy as np
import pytest
from quantizer_small import Builder

from edgekit import data, reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.ops import operator
from edgekit.ops.audio import floats
from edgekit.ops.convert import dequantize
from edgekit.ops.rescale import PIXELS
from edgekit.processing import (
    Audio,
    Classify,
    Detect,
    Image,
    Processing,
    attach_input,
    attach_output,
)
from quantizer import quantize

SMALL = Audio(window_ms=16, hop_ms=10, mels=12, high_hz=4000)


def sounds(count: int, samples: int) -> np.ndarray:
    """int16 [count, samples] of different loudness."""
    gains = np.geomspace(0.01, 1, count)
    return np.concatenate(
        [audio.speech(samples / audio.RATE, g, i)[:, :samples] for i, g in enumerate(gains)]
    )


def network(*shape: int, pads: int = 1, classes: int = 4, softmax: bool = True) -> Graph:
    """A convolution, a pool over everything, classes."""
    b = Builder(3)
    x = b.input("x", *shape)
    window = {"strides": [1, 1], "dilations": [1, 1], "pads": [pads] * 4, "groups": 1}
    x = b.node("conv2d", x, b.constant("w", 6, 3, 3, shape[3]), b.constant("b", 6),
               clamp=[0, None], **window)  # fmt: skip
    h, w = b.graph.values[x].shape[1:3]
    x = b.node("average_pool2d", x, kernel=[h, w], strides=[1, 1], pads=[0, 0, 0, 0])
    x = b.node("reshape", x, shape=[1, 6])
    x = b.node("fully_connected", x, b.constant("v", classes, 6), b.constant("c", classes))
    return b.done(b.node("softmax", x, beta=1.0) if softmax else x)


def relay(*shape: int) -> Graph:
    """A network that gives what it reads."""
    b = Builder(0)
    return b.done(b.node("clip", b.input("x", *shape), clamp=[None, None]))


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((1, 7, 12), "auto"), ((1, 7, 12, 1), "auto"), ((1, 1, 7, 12), "auto"), ((1, 84), "auto"),
     ((1, 12, 7), "auto"), ((1, 12, 7, 1), "bands_first"), ((1, 84), "bands_first")],
)  # fmt: skip
def test_features_arrive_in_the_order_of_the_input(shape: tuple[int, ...], layout: str) -> None:
    step = Audio(window_ms=16, hop_ms=10, mels=12, high_hz=4000, layout=layout)
    graph = attach_input(relay(*shape), Processing(step))
    assert graph.inputs == ["audio"] and graph.values["audio"].shape == (1, 256 + 6 * 160)
    x = sounds(2, 1216)
    feeds = data.prepare(graph, {"audio": x})
    assert feeds["audio"].dtype == np.float32 and np.abs(feeds["audio"]).max() <= 1
    # Passes may leave an output channels last, and note that the model file has it otherwise.
    output = graph.outputs[0]
    y = data.to_declared_layout(graph, output, reference.run(graph, feeds)[output])
    want = floats.features(step.settings, x / 32768)
    if layout == "bands_first" or shape == (1, 12, 7):
        want = want.transpose(0, 2, 1)
    np.testing.assert_allclose(y.reshape(2, -1), want.reshape(2, -1), atol=1e-4)


def test_audio_in_front_of_a_float_network() -> None:
    graph = attach_input(network(1, 9, 12, 1), Processing(SMALL))
    x = sounds(12, 256 + 8 * 160)
    done = quantize(graph, {"audio": x})
    value = done.graph.values["audio"]
    assert (value.dtype, float(value.quant.scale[0])) == ("int16", 2.0**-15)  # type: ignore[union-attr]
    features = next(n for n in done.graph.nodes if n.op == "audio_features")
    assert done.graph.values[features.output].dtype == "int8"
    assert done.tensors[features.output].sqnr_db > 30
    raw = data.quantize_inputs(done.graph, data.prepare(done.graph, {"audio": x}))
    np.testing.assert_array_equal(raw["audio"], x)


def test_wide_activations_do_not_change_the_samples() -> None:
    graph = attach_input(network(1, 9, 12, 1), Processing(SMALL))
    done = quantize(graph, {"audio": sounds(9, 256 + 8 * 160)}, activation_bits=16)
    features = next(n for n in done.graph.nodes if n.op == "audio_features")
    assert done.graph.values[features.output].dtype == "int16"
    assert done.tensors[features.output].sqnr_db > 50
    pixels = attach_input(network(1, 6, 6, 1), Processing(Image(mean=128, std=64)))
    r = np.random.default_rng(0)
    wide = quantize(pixels, {"image": r.integers(0, 256, (9, 6, 6, 1))}, activation_bits=16)
    assert wide.graph.values["image"].dtype == "int8"


def quantized(graph: Graph, x: np.ndarray) -> Graph:
    return quantize(graph, {graph.inputs[0]: x}).graph


def test_audio_in_front_of_a_quantized_network() -> None:
    """Calibrated on features: the network's own grid is what the last step writes."""
    x = sounds(12, 256 + 8 * 160)
    features = floats.features(SMALL.settings, x / 32768).astype(np.float32)
    inner = quantized(network(1, 9, 12, 1), features[..., None])
    graph = attach_input(inner, Processing(SMALL, calibrate="features"))
    assert graph.values["x"] == inner.values["x"]
    kept = reference.run(graph, {"audio": x}, keep={"x"})
    real = dequantize(graph.values["x"], kept["x"])
    assert audio.sqnr(features[..., None], real) > 35
    direct = reference.run(inner, {"x": kept["x"]})[inner.outputs[0]]
    np.testing.assert_array_equal(kept[graph.outputs[0]], direct)


@pytest.mark.parametrize("mean, std", [(0, 255), (128, 64), (127.5, 127.5), (103.9, 58.4)])
@pytest.mark.parametrize("pads", [0, 1])
def test_normalisation_costs_no_layer(mean: float, std: float, pads: int) -> None:
    original = network(1, 8, 8, 3, pads=pads)
    graph = attach_input(original, Processing(Image(mean=mean, std=std)))
    r = np.random.default_rng(0)
    x = r.integers(0, 256, (16, 8, 8, 3), dtype=np.uint8)
    y = reference.run(graph, data.prepare(graph, {"image": x.astype(np.float32)}))
    normal = ((x - np.float32(mean)) / np.float32(std)).astype(np.float32)
    want = reference.run(original, {"x": normal})
    # Where a convolution pads, a mean between two pixel values becomes the nearer one.
    exact = pads == 0 or mean == int(mean)
    np.testing.assert_allclose(
        y[graph.outputs[0]], want[original.outputs[0]], atol=1e-5 if exact else 2e-2
    )
    done = quantize(graph, {"image": x})
    assert [n.op for n in done.graph.nodes][:2] == ["rescale", "conv2d"]
    raw = data.quantize_inputs(done.graph, data.prepare(done.graph, {"image": x}))["image"]
    np.testing.assert_array_equal(raw, (x.astype(np.int16) - 128).astype(np.int8))
    kept = reference.run(done.graph, {"image": raw}, keep="all")
    np.testing.assert_array_equal(kept[done.graph.nodes[0].output], raw)
    assert done.logits_sqnr_db > 25


def test_normalisation_by_channel_is_folded_or_one_layer() -> None:
    step = Image(mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))
    original = network(1, 8, 8, 3, pads=0)
    graph = attach_input(original, Processing(step))
    assert graph.nodes[0].op == "conv2d"
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(np.float32)
    want = reference.run(original, {"x": ((x - step.mean) / step.std).astype(np.float32)})
    y = reference.run(graph, {"image": x})
    np.testing.assert_allclose(y[graph.outputs[0]], want[original.outputs[0]], atol=1e-4)
    padded = attach_input(network(1, 8, 8, 3, pads=1), Processing(step))
    assert [n.op for n in padded.nodes][:2] == ["depthwise_conv2d", "conv2d"]


def test_crop_resize_and_colours() -> None:
    original = relay(1, 4, 4, 3)
    step = Image(height=12, width=10, crop=(2, 1, 8, 8), resize="nearest", source="bgr")
    graph = attach_input(original, Processing(step))
    x = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3)).astype(np.float32)
    y = reference.run(graph, {"image": x})[graph.outputs[0]]
    cropped = x[:, 2:10, 1:9, ::-1]
    rows = np.array([1, 3, 5, 7])  # half_pixel, ties to even or down: 0.5, 2.5, 4.5, 6.5
    found = [rows - d for d in (0, 1)]
    assert any(np.array_equal(y, cropped[:, f][:, :, f]) for f in found)
    square = attach_input(relay(1, 6, 6, 1), Processing(Image(height=6, width=10, crop="square")))
    x = x[:, :6, :10, :1]
    y = reference.run(square, {"image": x})[square.outputs[0]]
    np.testing.assert_array_equal(y, x[:, :, 2:8])


def test_gray() -> None:
    graph = attach_input(relay(1, 4, 4, 1), Processing(Image(source="rgb", mean=100, std=50)))
    x = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.float32)
    want = (x @ np.float32([0.299, 0.587, 0.114]) - 100) / 50
    y = reference.run(graph, {"image": x})[graph.outputs[0]]
    np.testing.assert_allclose(y[..., 0], want, atol=1e-4)


def test_an_image_in_front_of_a_quantized_network() -> None:
    r = np.random.default_rng(0)
    x = r.integers(0, 256, (16, 6, 6, 3))
    inner = quantized(network(1, 6, 6, 3), ((x - 127.5) / 127.5).astype(np.float32))
    # As TensorFlow Lite's converter has it: 1/127.5 and -1.
    same = attach_input(inner, Processing(Image(mean=127.5, std=127.5)))
    assert same.nodes[0].op == "rescale"
    other = attach_input(inner, Processing(Image(mean=110, std=100)))
    assert [n.op for n in other.nodes][:2] == ["rescale", "clip"]
    raw = (x - 128).astype(np.int8)
    kept = reference.run(other, {"image": raw}, keep={"x"})["x"]
    real = np.clip((x - 110) / 100, -127 / 127.5, 128 / 127.5)
    assert np.abs(dequantize(other.values["x"], kept) - real).max() < 0.01


def scores(rows: int = 3, classes: int = 5, dtype: str = "int8") -> Graph:
    """An integer graph whose output is its input."""
    quant = Quant.make(0.25, 3) if dtype == "int8" else Quant.make(0.001)
    g = Graph("scores", ["x"], ["y"])
    g.add_value(Value("x", (1, rows, classes), dtype, quant))
    g.add_value(Value("y", (1, rows, classes), dtype, quant))
    g.nodes.append(Node("clip", ("x",), ("y",), {"clamp": [None, None]}, "y"))
    return g.verify()


def test_threshold() -> None:
    graph = attach_output(scores(), Processing(after=Classify(threshold=0.3, scores=True)))
    assert graph.outputs == ["class", "y"]
    x = np.random.default_rng(0).integers(-128, 128, (20, 3, 5)).astype(np.int8)
    x[0] = 3
    x[1, 0] = [3, 4, 4, 3, 5]
    real = (x.astype(int) - 3) * 0.25
    want = np.where(real.max(-1) >= 0.3, real.argmax(-1), -1)
    np.testing.assert_array_equal(reference.run(graph, {"x": x})["class"], want)
    assert want[0].max() == -1 and want[1, 0] == 4


def test_the_best_classes() -> None:
    inner = quantized(network(1, 6, 6, 1), np.random.default_rng(0).normal(size=(9, 6, 6, 1)))
    x = np.random.default_rng(1).integers(-128, 128, (30, 6, 6, 1)).astype(np.int8)
    one = attach_output(inner, Processing(after=Classify()))
    assert [n.op for n in one.nodes][-2:] == ["fully_connected", "arg"]
    logits = reference.run(inner, {"x": x}, keep="all")[inner.nodes[-2].output]
    np.testing.assert_array_equal(reference.run(one, {"x": x})["class"], logits.argmax(1))
    two = attach_output(inner, Processing(after=Classify(top=2)))
    y = reference.run(two, {"x": x})
    order = np.argsort(-logits.astype(int), axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(y["classes"], order)
    np.testing.assert_array_equal(y["top_scores"], np.take_along_axis(logits, order, 1))


def plain_nms(boxes: np.ndarray, scores: np.ndarray, most: int, iou: float, least: float) -> list:
    """Sorted by score, a box stays where no better one of its class covers it."""
    kept: list[tuple[int, int]] = []
    classes = scores.argmax(1)
    for i in np.argsort(-scores.max(1), kind="stable"):
        if scores[i].max() < least:
            continue
        covered = False
        for j, _ in kept:
            if classes[j] == classes[i]:
                low = np.maximum(boxes[i, :2], boxes[j, :2])
                high = np.minimum(boxes[i, 2:], boxes[j, 2:])
                inner = np.prod(np.maximum(high - low, 0))
                whole = sum(np.prod(np.maximum(boxes[k, 2:] - boxes[k, :2], 0)) for k in (i, j))
                covered |= inner > iou * (whole - inner)
        if not covered:
            kept.append((int(i), int(classes[i])))
    rows = kept[:most]
    return rows + [(-1, -1)] * (most - len(rows))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_boxes(dtype: str) -> None:
    g = Graph("boxes", ["b", "s"], ["boxes", "scores"])
    grids = {"b": Quant.make(0.01, 5 if dtype == "int8" else 0), "s": Quant.make(1 / 256, -128)}
    shapes = {"b": (1, 24, 4), "s": (1, 24, 3)}
    for (name, shape), out in zip(shapes.items(), g.outputs, strict=True):
        kind = dtype if name == "b" else "int8"
        g.add_value(Value(name, shape, kind, grids[name]))
        g.add_value(Value(out, shape, kind, grids[name]))
        g.nodes.append(Node("clip", (name,), (out,), {"clamp": [None, None]}, out))
    step = Detect("boxes", "scores", most=6, iou=0.25, threshold=0.5)
    graph = attach_output(g.verify(), Processing(after=step))
    assert graph.outputs == ["detections", "boxes", "scores"]
    r = np.random.default_rng(0)
    info = np.iinfo(dtype)
    corner = r.integers(info.min, 0, (40, 24, 2))
    boxes = np.concatenate([corner, corner + r.integers(0, info.max, (40, 24, 2))], 2).astype(dtype)
    s = r.integers(-128, 128, (40, 24, 3)).astype(np.int8)
    s[:, ::3] = 100  # ties
    y = reference.run(graph, {"b": boxes, "s": s})["detections"]
    for i in range(40):
        want = plain_nms(boxes[i].astype(np.int64), (s[i] + 128.0) / 256, 6, 0.25, 0.5)
        np.testing.assert_array_equal(y[i], want)


@pytest.mark.parametrize(
    ("graph", "processing", "code", "words"),
    [
        (relay(1, 7, 12), Processing(Audio(mels=10)), "E183", ["10 features", "[1, 7, 12]"]),
        (relay(1, 7, 12), Processing(Audio(mels=12, clip_ms=100)), "E183", ["4", "7", "2400"]),
        (relay(1, 7, 12), Processing(Audio(mels=12), at="y"), "E186", ["'y'"]),
        (relay(1, 7, 12), Processing(Image()), "E183", ["no image"]),
        (relay(1, 7, 7, 3), Processing(Image(model="gray")), "E183", ["3 channels", "gray"]),
        (relay(1, 7, 7, 3), Processing(Image(mean=(1, 2))), "E183", ["2 numbers", "3 channels"]),
        (relay(1, 7, 7, 3), Processing(Image(height=5, width=9, crop=(0, 0, 6, 6))), "E183",
         ["row 6", "5 x 9"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_in_front(
    graph: Graph, processing: Processing, code: str, words: list[str]
) -> None:
    with pytest.raises(EdgekitError) as caught:
        attach_input(graph, processing)
    assert caught.value.code == code
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("step", "code", "words"),
    [
        (Classify(output="z"), "E186", ["'z'"]),
        (Classify(top=6), "E183", ["top 6", "5"]),
        (Detect("y", "q"), "E186", ["'q'"]),
        (Detect("y", "y"), "E183", ["boxes [1, N, 4]"]),
    ],
)
def test_what_does_not_fit_behind(step: Any, code: str, words: list[str]) -> None:
    with pytest.raises(EdgekitError) as caught:
        attach_output(scores(), Processing(after=step))
    assert caught.value.code == code
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(EdgekitError, match="threshold"):
        attach_output(scores(classes=1), Processing(after=Classify()))


def test_pixels_pass_as_they_are() -> None:
    rescale = operator("rescale")
    node = Node("rescale", ("x",), ("y",), {"mean": 120, "std": 50.0})
    assert rescale.fixed_quant(node, "int8") == Quant.make(np.float32(1 / 50), -8)
    assert rescale.checked(node, [Value("x", (1, 2), "int8", PIXELS)]) == [((1, 2), "int8")]
