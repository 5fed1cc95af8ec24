"""Random layers for the family neon: any shape, weights of -128, left shifts, padded windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from graphs import graphs_of, one_node, quants, window_attrs
from hypothesis import strategies as st
from mve_layers import CHANNELS, conv_layers, pair_layers

from edgekit.graph import Graph, Quant, Value
from edgekit.ops.base import window_out


@st.composite
def lowest_weights(draw: st.DrawFn, op: str) -> Graph:
    """Many weights of -128, so that two of them meet in one sum of 16 bits."""
    graph = draw(conv_layers(op))
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    w = graph.constants["w"].copy()
    w[r.random(w.shape) < draw(st.sampled_from([0.3, 1.0]))] = -128
    graph.constants["w"] = w
    return graph.verify()


@st.composite
def light_weights(draw: st.DrawFn, op: str) -> Graph:
    """Weights of which four have magnitudes of 255 together, or nearly so."""
    graph = draw(conv_layers(op))
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = graph.constants["w"].shape
    w = np.where(r.random(shape) < 0.5, 63, -63) if draw(st.booleans()) else np.full(shape, 63)
    if op != "depthwise_conv2d":
        flat = w.reshape(shape[0], -1)
        eighths = np.arange(flat.shape[1]) // 8
        flat[:, eighths % 4 == draw(st.integers(0, 3))] = 66
        w = flat.reshape(shape)
    graph.constants["w"] = w.astype(np.int8)
    return graph.verify()


@st.composite
def steep_layers(draw: st.DrawFn, op: str) -> Graph:
    """Results in steps so small that shifts are 0 or go to the left."""
    graph = draw(conv_layers(op))
    y, x, w = (graph.values[name] for name in ("y", "x", "w"))
    assert x.quant is not None and w.quant is not None and y.quant is not None
    least = float(x.quant.scale[0]) * float(np.max(w.quant.scale))
    scale = float(np.float32(least * draw(st.floats(0.01, 1.5))))
    graph.values["y"] = replace(y, quant=Quant.make(scale, int(y.quant.zero_point[0])))
    return graph.verify()


@st.composite
def pools(draw: st.DrawFn, op: str) -> Graph:
    """Windows with and without padding over any number of channels."""
    h, w, c = draw(st.integers(1, 12)), draw(st.integers(1, 12)), draw(CHANNELS)
    kernel = (draw(st.integers(1, h)), draw(st.integers(1, w)))
    attrs = window_attrs(draw, h, w, kernel, dilate=False)
    pads, strides = attrs["pads"], attrs["strides"]
    out = [window_out(s, k, n, 1, pads[i], pads[i + 2])
           for i, (s, k, n) in enumerate(zip((h, w), kernel, strides, strict=True))]  # fmt: skip
    quant = draw(quants(1e-3, 0.5))
    return one_node(
        op,
        [Value("x", (1, h, w, c), "int8", quant)],
        Value("y", (1, *out, c), "int8", quant),
        {},
        kernel=list(kernel),
        clamp=draw(st.sampled_from([None, [0, None], [0, 6]])),
        **attrs,
    )


@st.composite
def neon_layers(draw: st.DrawFn) -> list[Graph]:
    """A few of every operator."""
    convs = ("conv2d", "depthwise_conv2d", "fully_connected")
    found = [draw(conv_layers(op)) for op in (*convs, "conv2d", "depthwise_conv2d")]
    found += [draw(lowest_weights(draw(st.sampled_from(convs)))) for _ in range(2)]
    found += [draw(light_weights(draw(st.sampled_from(convs))))]
    found += [draw(steep_layers(draw(st.sampled_from(convs)))) for _ in range(2)]
    found += [draw(pools(op)) for op in ("average_pool2d", "max_pool2d")]
    found += [draw(pair_layers("add")), draw(graphs_of("add"))]
    return [*found, draw(graphs_of(draw(st.sampled_from(convs))))]
