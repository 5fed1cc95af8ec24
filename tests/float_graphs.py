"""Random canonical float graphs for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st
from quantizer_small import Builder

from edgekit.graph import Graph

CLAMPS = [None, [0, None], [0, 6], [-1, 1]]


@st.composite
def float_graphs(draw: st.DrawFn, layers: int = 7) -> Graph:
    """Convolutions, depthwise ones, residual adds, constants, pools; flattened into one or two
    fully connected layers, or images to the end."""
    b = Builder(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(2, 6))
    images = [b.input("x", 1, size, size, draw(st.integers(1, 4)))]
    for _ in range(draw(st.integers(1, layers))):
        images.append(_layer(draw, b, images))
    if draw(st.integers(0, 3)) == 0:
        return b.done(images[-1])
    x = images[-1]
    if draw(st.booleans()):
        h, w = b.graph.values[x].shape[1:3]
        x = b.node("average_pool2d", x, kernel=[h, w], strides=[h, w], pads=[0, 0, 0, 0])
    x = b.node("reshape", x, shape=[1, b.graph.values[x].size])
    for _ in range(draw(st.integers(1, 2))):
        x = _dense(b, x, draw(st.integers(2, 7)), clamp=draw(st.sampled_from(CLAMPS)))
    if draw(st.booleans()):
        x = b.node("softmax", x, beta=draw(st.sampled_from([1.0, 0.5])))
    return b.done(x)


def _dense(b: Builder, x: str, units: int, **attrs: object) -> str:
    n = len(b.graph.nodes)
    w = b.constant(f"w{n}", units, b.graph.values[x].shape[1])
    return b.node("fully_connected", x, w, b.constant(f"b{n}", units), **attrs)


def _layer(draw: st.DrawFn, b: Builder, images: list[str]) -> str:
    x, n = images[-1], len(b.graph.nodes)
    _, h, w, c = b.graph.values[x].shape
    clamp = draw(st.sampled_from(CLAMPS))
    same = [m for m in images[1:-1] if b.graph.values[m].shape == (1, h, w, c)]
    kind = draw(st.sampled_from(["conv2d", "conv2d", "depthwise", "add", "constant", "pool"]))
    if kind == "add" and same:
        return b.node("add", x, draw(st.sampled_from(same)), clamp=clamp)
    if kind == "constant":
        op = draw(st.sampled_from(["mul", "add"]))
        shape = draw(st.sampled_from([(c,), (1, 1, 1, c), (1,)]))
        return b.node(op, x, b.constant(f"c{n}", *shape), clamp=clamp)
    if kind == "pool" and min(h, w) >= 2:
        op = draw(st.sampled_from(["max_pool2d", "average_pool2d"]))
        return b.node(op, x, kernel=[2, 2], strides=[1, 1], pads=draw(
            st.sampled_from([[0, 0, 0, 0], [0, 0, 1, 1]])), clamp=clamp)  # fmt: skip
    k = draw(st.sampled_from([1, 3]))
    window = {"strides": [1, 1], "dilations": [1, 1], "pads": [k // 2] * 4, "clamp": clamp}
    if kind == "depthwise":
        out = c * draw(st.integers(1, 2))
        weights = b.constant(f"w{n}", k, k, out)
        return b.node("depthwise_conv2d", x, weights, b.constant(f"b{n}", out), **window)
    groups = draw(st.sampled_from([1, 1, 2])) if c % 2 == 0 and c > 2 else 1
    out = groups * draw(st.integers(1, 4))
    weights = b.constant(f"w{n}", out, k, k, c // groups)
    attrs = {**window, "groups": groups}
    return b.node("conv2d", x, weights, b.constant(f"b{n}", out), **attrs)
