"""Random one-operator integer graphs for hypothesis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from tflm import same_pads

from edgekit.graph import Graph, Node, Quant, Value

CLAMPS = [None, [0, None], [0, 6], [-1, 1]]
SOFTMAX_QUANT = Quant.make(1 / 256, -128)
SOFTMAX16_QUANT = Quant.make(1 / 32768, 0)


def scales(lo: float = 1e-4, hi: float = 1.0) -> st.SearchStrategy[float]:
    """Log-uniform float32 scales."""
    return st.floats(np.log(lo), np.log(hi)).map(lambda v: float(np.float32(np.exp(v))))


def quants(lo: float = 1e-3, hi: float = 1.0, dtype: str = "int8") -> st.SearchStrategy[Quant]:
    """int16 has the same range in 256 times smaller steps, and the zero point 0."""
    if dtype == "int16":
        return st.builds(Quant.make, scales(lo / 256, hi / 256), st.just(0))
    return st.builds(Quant.make, scales(lo, hi), st.integers(-128, 127))


def one_node(
    op: str, inputs: list[Value], out: Value, constants: dict[str, Any], **attrs: Any
) -> Graph:
    """A verified graph of one node; `inputs` whose name is in `constants` are constant."""
    g = Graph(op)
    for v in inputs:
        g.add_value(v)
        if v.name in constants:
            g.constants[v.name] = constants[v.name]
        else:
            g.inputs.append(v.name)
    g.add_value(out)
    g.nodes.append(Node(op, tuple(v.name for v in inputs), (out.name,), attrs, op))
    g.outputs = [out.name]
    return g.verify()


def batch(graph: Graph, seed: int, n: int = 3) -> dict[str, np.ndarray]:
    """Random integer samples of the inputs' dtypes that contain both extremes."""
    r = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        value = graph.values[name]
        if value.dtype == "float32":
            feeds[name] = r.normal(0, 2, (n, *value.shape[1:])).astype(np.float32)
            continue
        if value.dtype == "bool":
            feeds[name] = r.integers(0, 2, (n, *value.shape[1:])).astype(bool)
            continue
        info = np.iinfo(value.dtype)
        x = r.integers(info.min, info.max + 1, (n, *value.shape[1:])).astype(value.dtype)
        x.reshape(-1)[:2] = (info.min, info.max)
        feeds[name] = x
    return feeds


def window_attrs(draw: st.DrawFn, h: int, w: int, kernel: tuple[int, int], dilate: bool) -> dict:
    """Strides, dilations and pads that fit; pooling (not `dilate`) has none or SAME."""
    strides = [draw(st.integers(1, 3)), draw(st.integers(1, 3))]
    dilations = [draw(st.integers(1, 2)) if dilate else 1 for _ in range(2)]
    fits = all((k - 1) * d + 1 <= s for k, d, s in zip(kernel, dilations, (h, w), strict=True))
    pads = [0, 0, 0, 0]
    if dilate and fits and draw(st.booleans()):
        return {
            "strides": strides,
            "dilations": dilations,
            "pads": [draw(st.integers(0, 3)) for _ in range(4)],
        }
    if not fits or draw(st.booleans()):
        top, bottom = same_pads(h, kernel[0], strides[0], dilations[0])
        left, right = same_pads(w, kernel[1], strides[1], dilations[1])
        pads = [top, left, bottom, right]
    return {"strides": strides, "dilations": dilations, "pads": pads}


@st.composite
def conv_graphs(
    draw: st.DrawFn,
    op: str,
    bits: int = 8,
    x_dtype: str = "int8",
    dtype: str = "int8",
    fours: bool = False,
) -> Graph:
    """conv2d, depthwise_conv2d or fully_connected with random everything, weights of `bits`; with
    `fours` channels come in fours, one result for each, and images are wider."""
    r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x_quant, out_quant = draw(quants(1e-3, 0.5, x_dtype)), draw(quants(1e-2, 2.0, dtype))
    attrs: dict[str, Any] = {} if dtype == x_dtype else {"out_dtype": dtype}
    if op == "fully_connected":
        x_shape: tuple[int, ...] = (1, draw(st.integers(1, 40)))
        channels, axis = draw(st.integers(1, 9)), 0
        w_shape: tuple[int, ...] = (channels, x_shape[1])
        out_shape: tuple[int, ...] = (1, channels)
        per_channel = draw(st.booleans())
    else:
        h, w, c = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
        if fours:
            w, c = draw(st.integers(1, 20)), 4 * draw(st.integers(1, 3))
        kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
        attrs |= window_attrs(draw, h, w, kernel, dilate=True)
        x_shape, per_channel = (1, h, w, c), True
        if op == "conv2d":
            attrs["groups"] = draw(st.sampled_from([1, c]))
            channels, axis = attrs["groups"] * draw(st.integers(1, 4)), 0
            if fours:
                attrs["groups"], channels = 1, draw(st.integers(1, 12))
            w_shape = (channels, *kernel, c // attrs["groups"])
        else:
            channels, axis = c * (1 if fours else draw(st.integers(1, 3))), 2
            w_shape = (*kernel, channels)
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, attrs["dilations"], strict=True)]
        pads, strides = attrs["pads"], attrs["strides"]
        out_shape = (
            1,
            (h + pads[0] + pads[2] - extent[0]) // strides[0] + 1,
            (w + pads[1] + pads[3] - extent[1]) // strides[1] + 1,
            channels,
        )
    attrs["clamp"] = draw(st.sampled_from(CLAMPS))
    w_scale = np.exp(r.uniform(np.log(1e-4), np.log(0.1), channels if per_channel else 1))
    w_quant = Quant.make(w_scale, 0, axis if per_channel else None)
    bias_quant = Quant.make(x_quant.scale[0] * w_quant.scale, 0, 0 if per_channel else None)
    spread = draw(st.sampled_from([0, 3_000, 100_000, 2**30]))
    if bits == 4:
        attrs["weight_bits"] = 4
    limit = 2 ** (bits - 1) - 1
    return one_node(
        op,
        [
            Value("x", x_shape, x_dtype, x_quant),
            Value("w", w_shape, "int8", w_quant),
            Value("b", (channels,), "int32", bias_quant),
        ],
        Value("y", out_shape, dtype, out_quant),
        {
            "w": r.integers(-limit, limit + 1, w_shape).astype(np.int8),
            "b": r.integers(-spread, spread + 1, channels).astype(np.int32),
        },
        **attrs,
    )


@st.composite
def elementwise_graphs(
    draw: st.DrawFn, op: str, x_dtype: str = "int8", dtype: str = "int8", mixed: bool = False
) -> Graph:
    """add or mul: equal shapes, or broadcasting in either operand, or a constant operand."""
    full = (1, draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 5)))
    small = draw(st.sampled_from([full, (1, 1, 1, full[3]), (1, full[1], 1, full[3])]))
    shapes = [full, small] if draw(st.booleans()) else [small, full]
    a = Value("a", shapes[0], x_dtype, draw(quants(dtype=x_dtype)))
    b_dtype = "int8" if mixed else x_dtype
    b = Value("b", shapes[1], b_dtype, draw(quants(dtype=b_dtype)))
    constants = {}
    if draw(st.booleans()):
        r = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        info = np.iinfo(b_dtype)
        constants["b"] = r.integers(info.min, info.max + 1, b.shape).astype(b_dtype)
    lo = 1e-3 if op == "add" else 1e-4
    return one_node(
        op,
        [a, b],
        Value("y", full, dtype, draw(quants(lo, 2.0, dtype))),
        constants,
        clamp=draw(st.sampled_from(CLAMPS)),
        **({} if dtype == x_dtype else {"out_dtype": dtype}),
    )


@st.composite
def pool_graphs(draw: st.DrawFn, op: str, dtype: str = "int8") -> Graph:
    h, w, c = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 5))
    kernel = (draw(st.integers(1, min(h, 5))), draw(st.integers(1, min(w, 5))))
    attrs = window_attrs(draw, h, w, kernel, dilate=False)
    del attrs["dilations"]
    pads, strides = attrs["pads"], attrs["strides"]
    out = (
        1,
        (h + pads[0] + pads[2] - kernel[0]) // strides[0] + 1,
        (w + pads[1] + pads[3] - kernel[1]) // strides[1] + 1,
        c,
    )
    quant = draw(quants(1e-3, 0.5, dtype))
    return one_node(
        op,
        [Value("x", (1, h, w, c), dtype, quant)],
        Value("y", out, dtype, quant),
        {},
        kernel=list(kernel),
        clamp=draw(st.sampled_from(CLAMPS)),
        **attrs,
    )


@st.composite
def softmax_graphs(draw: st.DrawFn, dtype: str = "int8") -> Graph:
    shape = (1, draw(st.integers(1, 3)), draw(st.integers(1, 300)))
    return one_node(
        "softmax",
        [Value("x", shape, dtype, draw(quants(1e-5, 20.0, dtype)))],
        Value("y", shape, dtype, SOFTMAX_QUANT if dtype == "int8" else SOFTMAX16_QUANT),
        {},
        beta=draw(st.sampled_from([1.0, 0.5, 0.1, 2.0])),
    )


@st.composite
def clip_graphs(draw: st.DrawFn, x_dtype: str = "int8", dtype: str = "int8") -> Graph:
    shape = (1, draw(st.integers(1, 40)))
    return one_node(
        "clip",
        [Value("x", shape, x_dtype, draw(quants(dtype=x_dtype)))],
        Value("y", shape, dtype, draw(quants(dtype=dtype))),
        {},
        clamp=[0, None] if x_dtype == dtype == "int8" else draw(st.sampled_from(CLAMPS[1:])),
        **({} if dtype == x_dtype else {"out_dtype": dtype}),
    )


@st.composite
def transpose_graphs(draw: st.DrawFn, dtype: str = "int8") -> Graph:
    shape = (1, *(draw(st.integers(1, 6)) for _ in range(3)))
    perm = [0, *draw(st.permutations([1, 2, 3]))]
    quant = draw(quants(dtype=dtype))
    return one_node(
        "transpose",
        [Value("x", shape, dtype, quant)],
        Value("y", tuple(shape[axis] for axis in perm), dtype, quant),
        {},
        perm=perm,
    )


def _real(value: Value) -> Value:
    return Value(value.name, value.shape)


@st.composite
def float_graphs(draw: st.DrawFn, op: str, x_dtype: str, dtype: str) -> Graph:
    """A layer that computes in float32 between tensors of `x_dtype` and `dtype`."""
    integer = conv_graphs if op in ("conv2d", "depthwise_conv2d", "fully_connected") else None
    graph = draw(integer(op) if integer else elementwise_graphs(op))
    node, r = graph.nodes[0], np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = dict.fromkeys(graph.inputs, x_dtype) | {node.output: dtype}
    for name, kind in kinds.items():
        quant = None if kind == "float32" else draw(quants(1e-3, 0.5, kind))
        graph.values[name] = Value(name, graph.values[name].shape, kind, quant)
    for name, data in graph.constants.items():
        graph.values[name] = _real(graph.values[name])
        graph.constants[name] = r.normal(0, 0.3, data.shape).astype(np.float32)
    attrs = {**node.attrs, "float": True, "out_dtype": dtype}
    graph.nodes = [replace(node, attrs=attrs)]
    return graph.verify()


def graphs_of(op: str) -> st.SearchStrategy[Graph]:
    """The strategy for one operator by name, with what it works on where that is not int8.

    ``conv2d int4`` has four-bit weights, ``add int16`` 16-bit activations, ``clip int8>int16``
    reads one width and writes the other, ``add int16 mixed`` has a second operand of 8 bits,
    ``conv2d float int8>float32`` computes in float32, ``conv2d fours`` has channels in fours.
    """
    name, *rest = op.split()
    bits = 4 if "int4" in rest else 8
    types = next((word for word in rest if word not in ("int4", "mixed", "float", "fours")), "int8")
    x_dtype, _, dtype = types.partition(">")
    dtype = dtype or x_dtype
    if "float" in rest:
        return float_graphs(name, x_dtype, dtype)
    if name in ("conv2d", "depthwise_conv2d", "fully_connected"):
        return conv_graphs(name, bits, x_dtype, dtype, "fours" in rest)
    if name in ("add", "mul"):
        return elementwise_graphs(name, x_dtype, dtype, "mixed" in rest)
    if name in ("average_pool2d", "max_pool2d"):
        return pool_graphs(name, dtype)
    if name == "clip":
        return clip_graphs(x_dtype, dtype)
    return {"softmax": softmax_graphs, "transpose": transpose_graphs}[name](dtype)
