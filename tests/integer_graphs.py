"""Random integer networks for hypothesis, with many channels that can only have one value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from float_graphs import float_graphs
from graphs import SOFTMAX16_QUANT, SOFTMAX_QUANT
from hypothesis import strategies as st

from edgekit.graph import Graph, Node, Quant
from edgekit.ops.base import node_macs
from edgekit.ops.requant import CHANNEL_AXIS

KEEP_QUANT = ("average_pool2d", "max_pool2d", "reshape", "transpose")


@st.composite
def integer_graphs(draw: st.DrawFn, layers: int = 7) -> Graph:
    """The networks of `float_graphs` with random integers: int8, or int8 and int16 mixed.

    Rows of weights are ordinary, zero, or have a bias that sends the result to one of its clamps
    for every input (or for nearly every one).
    """
    graph = draw(float_graphs(layers)).copy()
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wide = draw(st.sampled_from([0.0, 0.0, 0.3]))
    for name in graph.inputs:
        _quantize(graph, rng, name, _dtype(rng, wide))
    for i, node in enumerate(graph.nodes):
        x = graph.values[node.inputs[0]]
        if node.op in KEEP_QUANT or node.op == "softmax":
            quant = x.quant if node.op in KEEP_QUANT else None
            quant = quant or (SOFTMAX_QUANT if x.dtype == "int8" else SOFTMAX16_QUANT)
            out = replace(graph.values[node.output], dtype=x.dtype, quant=quant)
            graph.values[node.output] = out
            continue
        dtype = _dtype(rng, wide)
        _quantize(graph, rng, node.output, dtype)
        node = replace(node, attrs={**node.attrs, "out_dtype": dtype})
        graph.nodes[i] = node
        if node.op in CHANNEL_AXIS:
            _weights(graph, rng, node)
        else:
            for name in set(node.inputs) & set(graph.constants):
                info = np.iinfo("int8")
                shape = graph.values[name].shape
                data = rng.integers(info.min, info.max + 1, shape).astype(np.int8)
                graph.constants[name] = data
                _quantize(graph, rng, name, "int8")
    return graph.verify()


def _dtype(rng: np.random.Generator, wide: float) -> str:
    return "int16" if rng.random() < wide else "int8"


def _quantize(graph: Graph, rng: np.random.Generator, name: str, dtype: str) -> None:
    scale = np.exp(rng.uniform(np.log(0.01), np.log(0.2)))
    zero_point = int(rng.choice([-128, -128, 0, rng.integers(-128, 128)]))
    quant = Quant.make(scale, zero_point) if dtype == "int8" else Quant.make(scale / 256, 0)
    graph.values[name] = replace(graph.values[name], dtype=dtype, quant=quant)


def _weights(graph: Graph, rng: np.random.Generator, node: Node) -> None:
    x, out = graph.values[node.inputs[0]], graph.values[node.output]
    assert x.quant is not None and out.quant is not None
    _, w, b = node.inputs
    shape, axis = graph.values[w].shape, CHANNEL_AXIS[node.op]
    channels = shape[axis]
    taps = int(np.prod(shape)) // channels
    # One step of the output is so much of what the sum of random products spreads over.
    spread = 64.0 * np.sqrt(taps) * (128 if x.dtype == "int8" else 32768)
    steps = np.iinfo(out.dtype).max * rng.uniform(0.2, 3, channels)
    ratio = steps / spread
    w_scale = (ratio * out.quant.scale[0] / x.quant.scale[0]).astype(np.float32)
    data = rng.integers(-128, 128, shape).astype(np.int8)
    kind = rng.choice(["ordinary", "ordinary", "zero", "least", "greatest", "edge"], channels)
    zero = [slice(None)] * len(shape)
    for channel in np.flatnonzero(kind == "zero"):
        zero[axis] = channel
        data[tuple(zero)] = 0
    # Past every sum there can be, both ways; and just about there, so that few inputs differ.
    reach = 128.0 * taps * (256 if x.dtype == "int8" else 65536) + 512 / ratio
    bias = rng.normal(0, spread / 2, channels)
    bias = np.where(kind == "least", -2 * reach, np.where(kind == "greatest", 2 * reach, bias))
    bias = np.where(kind == "edge", rng.choice([-1, 1], channels) * reach * 0.4, bias)
    graph.constants[w] = data
    graph.constants[b] = np.clip(bias, -(2**31), 2**31 - 1).astype(np.int32)
    w_quant = Quant.make(w_scale, 0, axis)
    bias_quant = Quant.make(x.quant.scale[0] * w_scale, 0, 0)
    graph.values[w] = replace(graph.values[w], dtype="int8", quant=w_quant)
    graph.values[b] = replace(graph.values[b], dtype="int32", quant=bias_quant)


def extremes(graph: Graph, seed: int, n: int = 8) -> dict[str, np.ndarray]:
    """Samples of all least values, all greatest, both mixed, one end per channel, and random."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        value = graph.values[name]
        info = np.iinfo(value.dtype)
        x = rng.integers(info.min, info.max + 1, (n, *value.shape[1:])).astype(value.dtype)
        ends = np.array([info.min, info.max], value.dtype)
        x[0], x[1] = info.min, info.max
        x[2:4] = rng.choice(ends, x[2:4].shape)
        x[4:6] = rng.choice(ends, (2, *[1] * (x.ndim - 2), x.shape[-1]))
        feeds[name] = x
    return feeds


def macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference."""
    return sum(node_macs(graph, n) for n in graph.nodes)
