"""Random convolutions and fully connected layers that the a64 families take, all of their forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from graphs import one_node
from hypothesis import strategies as st
from mve_layers import conv_layers

from edgekit.graph import Graph, Quant, Value


@st.composite
def scaled_layers(draw: st.DrawFn, op: str) -> Graph:
    """Those of `mve_layers`, with weights in several ranges, and shifts to the left."""
    graph = draw(conv_layers(op))
    kind = draw(st.sampled_from(["all", "symmetric", "symmetric", "small"]))
    weights = graph.constants["w"]
    if kind == "symmetric":
        graph.constants["w"] = np.maximum(weights, -127)
    elif kind == "small":
        graph.constants["w"] = weights >> 2
    finer = draw(st.sampled_from([1, 1, 1, 2, 16, 300]))
    y = graph.values["y"]
    assert y.quant is not None
    quant = Quant.make(np.float32(y.quant.scale / finer), y.quant.zero_point)
    graph.values["y"] = replace(y, quant=quant)
    return graph.verify()


@st.composite
def plain_layers(draw: st.DrawFn) -> Graph:
    """conv2d whose input is read where it lies, mostly; with a largest factor of requantization."""
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    h, w = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    kernel = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 1), (3, 3)]))
    kernel = (min(kernel[0], h), min(kernel[1], w))
    strides = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    out = [(s - k) // n + 1 for s, k, n in zip((h, w), kernel, strides, strict=True)]
    c = draw(st.sampled_from([4, 8, 12, 16, 24, 32, 48, 64, 100, 128, 5]))
    channels = draw(st.one_of(st.integers(1, 40), st.sampled_from([32, 64, 72, 129])))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    channels *= groups
    factor = draw(st.sampled_from([0.9, 0.6, 0.3, 0.01, 0.001, 5.0]))
    w_scale = r.uniform(0.0005, 0.001, channels)
    x_quant = Quant.make(0.02, draw(st.integers(-128, 127)))
    y_scale = np.float32(0.02 * w_scale.max() / factor)
    shape = (channels, *kernel, c)
    lowest = draw(st.sampled_from([-127, -127, -127, -128, -40]))
    if draw(st.sampled_from([False, False, True])):
        weights = r.choice([lowest, min(-lowest, 127)], shape)
    else:
        weights = r.integers(lowest, min(-lowest, 127) + 1, shape)
    return one_node(
        "conv2d",
        [
            Value("x", (1, h, w, c * groups), "int8", x_quant),
            Value("w", shape, "int8", Quant.make(w_scale, 0, 0)),
            Value("b", (channels,), "int32", Quant.make(x_quant.scale[0] * w_scale, 0, 0)),
        ],
        Value("y", (1, *out, channels), "int8",
              Quant.make(y_scale, draw(st.sampled_from([-128, -5, 0, 9])))),
        {
            "w": weights.astype(np.int8),
            "b": r.integers(-100, 101, channels).astype(np.int32),
        },
        strides=strides,
        dilations=[1, 1],
        pads=[0, 0, 0, 0],
        **({} if groups == 1 else {"groups": groups}),
        clamp=draw(st.sampled_from([None, None, [0, None]])),
    )  # fmt: skip
