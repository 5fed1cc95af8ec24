"""Random layers that the arm_mve family takes: no left shifts, any number of channels."""

from __future__ import annotations

from typing import Any

import numpy as np
from graphs import one_node, quants
from hypothesis import assume
from hypothesis import strategies as st

from edgekit.graph import Graph, Quant, Value

CHANNELS = st.one_of(st.integers(1, 20), st.sampled_from([16, 24, 32, 33, 40, 64, 130]))
SCALE = 0.02


@st.composite
def conv_layers(draw: st.DrawFn, op: str) -> Graph:
    """conv2d, depthwise_conv2d or fully_connected; a clamp at, above or below the zero point."""
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    attrs: dict[str, Any] = {}
    if op == "fully_connected":
        taps, channels = draw(st.integers(1, 300)), draw(CHANNELS)
        x_shape: tuple[int, ...] = (1, taps)
        w_shape: tuple[int, ...] = (channels, taps)
        out_shape: tuple[int, ...] = (1, channels)
        axis = 0
    else:
        h, w, c = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(CHANNELS)
        kernel = draw(st.sampled_from([(1, 1), (3, 3), (3, 3), (3, 1), (1, 3), (2, 2), (5, 5),
                                       (10, 4), (7, 1), (5, 1)]))  # fmt: skip
        if kernel[1] == 1 and draw(st.booleans()):
            w, h = 1, h + 9  # a series, not an image
        attrs["strides"] = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
        attrs["dilations"] = [draw(st.sampled_from([1, 1, 2])) for _ in range(2)]
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, attrs["dilations"], strict=True)]
        pads = [draw(st.integers(0, min(3, extent[i % 2] - 1))) for i in range(4)]
        for axis_, size in enumerate((h, w)):  # as much padding as leaves a window
            pads[2 + axis_] += max(0, extent[axis_] - size - pads[axis_] - pads[2 + axis_])
        attrs["pads"] = pads
        out = [(s + pads[i] + pads[2 + i] - extent[i]) // attrs["strides"][i] + 1
               for i, s in enumerate((h, w))]  # fmt: skip
        channels = c if op == "depthwise_conv2d" else draw(CHANNELS)
        x_shape, out_shape = (1, h, w, c), (1, *out, channels)
        axis = 2 if op == "depthwise_conv2d" else 0
        w_shape = (*kernel, c) if op == "depthwise_conv2d" else (channels, *kernel, c)
    x_quant = Quant.make(SCALE, draw(st.integers(-128, 127)))
    w_scale = np.exp(r.uniform(np.log(1e-4), np.log(0.1), channels))
    out_scale = float(np.float32(SCALE * w_scale.max() * np.exp(draw(st.floats(0.8, 9.0)))))
    out_quant = Quant.make(out_scale, draw(st.sampled_from([-128, -128, -5, 3, 127])))
    attrs["clamp"] = draw(st.sampled_from([None, [0, None], [0, None], [0, 6], [-1, 1]]))
    spread = draw(st.sampled_from([0, 3_000, 100_000]))
    return one_node(
        op,
        [
            Value("x", x_shape, "int8", x_quant),
            Value("w", w_shape, "int8", Quant.make(w_scale, 0, axis)),
            Value("b", (channels,), "int32", Quant.make(x_quant.scale[0] * w_scale, 0, 0)),
        ],
        Value("y", out_shape, "int8", out_quant),
        {
            "w": r.integers(-128, 128, w_shape).astype(np.int8),
            "b": r.integers(-spread, spread + 1, channels).astype(np.int32),
        },
        **attrs,
    )


def layer_of_shape(
    op: str,
    x: tuple[int, int, int],
    kernel: tuple[int, int],
    channels: int,
    strides: list[int],
    pads: list[int],
) -> Graph:
    """A convolution with ReLU of a given shape."""
    r = np.random.default_rng(0)
    out = [(s + pads[i] + pads[2 + i] - kernel[i]) // strides[i] + 1 for i, s in enumerate(x[:2])]
    depthwise = op == "depthwise_conv2d"
    w_shape = (*kernel, channels) if depthwise else (channels, *kernel, x[2])
    w_scale = r.uniform(0.001, 0.01, channels)
    x_quant = Quant.make(SCALE, -128)
    return one_node(
        op,
        [
            Value("x", (1, *x), "int8", x_quant),
            Value("w", w_shape, "int8", Quant.make(w_scale, 0, 2 if depthwise else 0)),
            Value("b", (channels,), "int32", Quant.make(x_quant.scale[0] * w_scale, 0, 0)),
        ],
        Value("y", (1, *out, channels), "int8", Quant.make(0.05, -128)),
        {
            "w": r.integers(-127, 128, w_shape).astype(np.int8),
            "b": r.integers(-3000, 3000, channels).astype(np.int32),
        },
        strides=strides,
        dilations=[1, 1],
        pads=pads,
        clamp=[0, None],
    )


@st.composite
def pair_layers(draw: st.DrawFn, op: str) -> Graph:
    """add or mul of two tensors of one shape; the second may be constant."""
    shape = (1, draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 9)))
    a, b = draw(quants(1e-3, 0.5)), draw(quants(1e-3, 0.5))
    least = float(a.scale[0] * b.scale[0]) if op == "mul" else float(max(a.scale[0], b.scale[0]))
    out = Quant.make(float(np.float32(least * draw(st.floats(1.1, 9.0)))),
                     draw(st.integers(-128, 127)))  # fmt: skip
    assume(out.scale[0] < 10)
    constants = {}
    if draw(st.booleans()):
        r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        constants["b"] = r.integers(-128, 128, shape).astype(np.int8)
    return one_node(
        op,
        [Value("a", shape, "int8", a), Value("b", shape, "int8", b)],
        Value("y", shape, "int8", out),
        constants,
        clamp=draw(st.sampled_from([None, [0, None], [0, 6]])),
    )


@st.composite
def pool_layers(draw: st.DrawFn) -> Graph:
    """average_pool2d without padding."""
    h, w, c = draw(st.integers(2, 12)), draw(st.integers(1, 12)), draw(CHANNELS)
    kernel = [draw(st.integers(2, h)), draw(st.integers(1, w))]
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    out = [(s - k) // n + 1 for s, k, n in zip((h, w), kernel, strides, strict=True)]
    quant = draw(quants(1e-3, 0.5))
    return one_node(
        "average_pool2d",
        [Value("x", (1, h, w, c), "int8", quant)],
        Value("y", (1, *out, c), "int8", quant),
        {},
        kernel=kernel,
        strides=strides,
        pads=[0, 0, 0, 0],
        clamp=draw(st.sampled_from([None, [0, 6]])),
    )


@st.composite
def layers(draw: st.DrawFn) -> list[Graph]:
    """A few of every operator."""
    found = [draw(conv_layers("conv2d")) for _ in range(4)]
    found += [draw(conv_layers("depthwise_conv2d")) for _ in range(4)]
    found += [draw(conv_layers("fully_connected")), draw(pool_layers())]
    found += [draw(pair_layers(op)) for op in ("add", "mul")]
    return found
