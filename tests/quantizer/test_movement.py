"""Networks with movement, reduction and window operators: quantized, built, run; close to reals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from built import M4, run_host, run_m4
from pace import every
from quantizer_small import Builder

from codegen import memory_check
from codegen.lower import build_program
from edgekit import reference
from edgekit.data import quantize_input
from edgekit.graph import Graph
from edgekit.ops.convert import dequantize
from quantizer.ptq import quantize

WINDOW = {"strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]}


def conv(b: Builder, x: str, channels: int, **attrs: object) -> str:
    n, depth = len(b.graph.nodes), b.graph.values[x].shape[3]
    w, bias = b.constant(f"w{n}", channels, 3, 3, depth), b.constant(f"b{n}", channels)
    return b.node("conv2d", x, w, bias, **{**WINDOW, "clamp": [0, None], **attrs})


def encoder(b: Builder, x: str) -> str:
    """A U-Net in small: down, up by a transposed convolution, and what was before beside it."""
    before = conv(b, x, 6)
    small = conv(b, b.node("max_pool2d", before, kernel=[2, 2], strides=[2, 2]), 8)
    w, bias = b.constant("wt", 6, 2, 2, 8), b.constant("bt", 6)
    up = b.node("conv_transpose2d", small, w, bias, strides=[2, 2], clamp=[0, None])
    return conv(b, b.node("concat", up, before, axis=3), 3, clamp=None)


def pyramid(b: Builder, x: str) -> str:
    """Two sizes of one image, brought together by interpolation."""
    y = conv(b, x, 6)
    small = conv(b, b.node("average_pool2d", y, kernel=[2, 2], strides=[2, 2]), 6)
    size = list(b.graph.values[y].shape)
    linear = b.node("resize", small, size=size, mode="linear", coordinates="half_pixel")
    near = b.node("resize", small, size=size, mode="nearest", coordinates="asymmetric",
                  nearest_mode="floor")  # fmt: skip
    cubic = b.node("resize", small, size=size, mode="cubic", coordinates="half_pixel")
    return b.node("add", b.node("add", linear, near), b.node("add", y, cubic))


def shuffle(b: Builder, x: str) -> str:
    """Channels in halves, in another order, around a constant border."""
    y = conv(b, x, 8)
    left, right = (
        b.node("slice", y, starts=[0, 0, 0, at], stops=[None, None, None, at + 4], steps=[1] * 4)
        for at in (0, 4)
    )
    joined = b.node("concat", right, conv(b, left, 4), axis=3)
    framed = b.node("pad", joined, pads=[0, 1, 1, 0, 0, 1, 1, 0], mode="constant", value=0.5)
    turned = b.node("transpose", framed, perm=[0, 2, 1, 3])
    return b.node("tile", turned, repeats=[1, 1, 2, 1])


def statistics(b: Builder, x: str) -> str:
    y = conv(b, x, 8)
    parts = [
        b.node("reduce", y, kind=kind, axes=[1, 2], keepdims=False)
        for kind in ("sum", "mean", "max", "min")
    ]
    running = b.node("cumsum", y, axis=2)
    parts.append(b.node("reduce", running, kind="mean", axes=[1, 2], keepdims=False))
    return b.node("concat", *parts, axis=1)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("network", every(2, [encoder, pyramid, shuffle, statistics]))
def test_networks(network: Callable[[Builder, str], str], bits: int, tmp_path: Path) -> None:
    b = Builder(3)
    graph: Graph = b.done(network(b, b.input("x", 1, 6, 8, 3)))
    data = {"x": np.random.default_rng(0).normal(0, 1, (24, 6, 8, 3)).astype(np.float32)}
    integer = quantize(graph, data, activation_bits=bits).graph
    (output,) = integer.outputs
    feeds = {"x": quantize_input(integer, "x", data["x"])}
    got = reference.run(integer, feeds)[output]
    real, want = dequantize(integer.values[output], got), reference.run(graph, data)[output]
    noise = float(((real - want) ** 2).sum() / (want**2).sum())
    assert -10 * np.log10(noise) > (20 if bits == 8 else 35)
    program = build_program(integer, M4.target)
    memory_check.check(program)
    one = {"x": feeds["x"][:1]}
    np.testing.assert_array_equal(run_host(program, tmp_path, one)[0], got[:1])
    np.testing.assert_array_equal(run_m4(program, tmp_path, one)[0][0], got[:1])


def test_places_of_a_network(tmp_path: Path) -> None:
    """Indices are outputs too: the best channel, the best three, and one-hot of it."""
    b = Builder(4)
    x = b.input("x", 1, 6, 8, 3)
    scores = b.node("reduce", conv(b, x, 9), kind="mean", axes=[1, 2], keepdims=False)
    best = b.node("arg", scores, kind="max", axis=1, keepdims=False)
    hot = b.node("one_hot", best, depth=9, axis=1)
    graph = b.done(b.node("mul", hot, scores))
    graph.outputs.append(best)
    data = {"x": np.random.default_rng(0).normal(0, 1, (24, 6, 8, 3)).astype(np.float32)}
    integer = quantize(graph.verify(), data).graph
    feeds = {"x": quantize_input(integer, "x", data["x"])}
    got = reference.run(integer, feeds)
    same = (got[best] == reference.run(graph, data)[best]).mean()
    assert same > 0.9
    program = build_program(integer, M4.target)
    one = {"x": feeds["x"][:1]}
    for name, host in zip(integer.outputs, run_host(program, tmp_path, one), strict=True):
        np.testing.assert_array_equal(host, got[name][:1])
