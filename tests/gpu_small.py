"""Small layers that between them have every variant of every maker, in integers and in float."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from movement_graphs import node_graph
from quantizer_small import Builder

from codegen.gpu.layout import blocked, pack
from codegen.gpu.precision import in_precision
from codegen.kernel import Layer
from codegen.lower import layer_of
from edgekit import reference
from edgekit.floating import left_in_float
from edgekit.graph import Graph, Quant, Value

Q, PROBABILITIES = Quant.make(0.1, 5), Quant.make(1 / 256, -128)


def _x(*shape: int, name: str = "x") -> Value:
    return Value(name, (1, *shape), "int8", Q)


def _conv(op: str, x: tuple[int, ...], w: tuple[int, ...], **attrs: Any) -> Graph:
    r = np.random.default_rng(7)
    out = w[2] if op == "depthwise_conv2d" else w[0]
    axis = 2 if op == "depthwise_conv2d" else 0
    scales = r.uniform(0.01, 0.02, out).astype(np.float32)
    values = [
        _x(*x),
        Value("w", w, "int8", Quant.make(scales, 0, axis)),
        Value("b", (out,), "int32", Quant.make(scales * np.float32(0.1), 0, 0)),
    ]
    constants = {
        "w": r.integers(-127, 128, w).astype(np.int8),
        "b": r.integers(-500, 500, out).astype(np.int32),
    }
    return node_graph(op, values, constants, Quant.make(0.5, -3), **attrs)


def _window(**attrs: Any) -> dict[str, Any]:
    return {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], **attrs}


@cache
def integer_layers() -> dict[str, Graph]:
    """int8 layers by a name; gaps of three channels, padding and odd sizes among them."""
    pool = {"kernel": [2, 3], "strides": [1, 2], "pads": [1, 1, 0, 1]}
    whole = {"kernel": [6, 7], "strides": [6, 7], "pads": [0, 0, 0, 0]}
    two = [_x(3, 2, 5, name="a"), _x(3, 2, 5, name="b")]
    found = {
        "conv2d 3x3": _conv("conv2d", (5, 6, 5), (6, 3, 3, 5), **_window(pads=[1] * 4)),
        "conv2d 1x1": _conv("conv2d", (4, 5, 8), (8, 1, 1, 8), **_window()),
        "conv2d groups": _conv("conv2d", (4, 5, 8), (8, 2, 2, 4), groups=2, **_window()),
        "conv2d strides": _conv("conv2d", (5, 7, 3), (4, 2, 2, 3), **_window(strides=[2, 2])),
        "depthwise_conv2d 3x3": _conv(
            "depthwise_conv2d", (5, 6, 5), (3, 3, 5), **_window(pads=[1] * 4)
        ),
        "depthwise_conv2d twice": _conv("depthwise_conv2d", (4, 4, 3), (2, 2, 6), **_window()),
        "fully_connected": _conv("fully_connected", (21,), (7, 21)),
        "fully_connected deep": _conv("fully_connected", (70,), (7, 70)),
        "fully_connected rows": _conv("fully_connected", (3, 34), (5, 34)),
        "average_pool2d": node_graph("average_pool2d", [_x(4, 6, 5)], None, Q, **pool),
        "average_pool2d counted": node_graph(
            "average_pool2d", [_x(4, 6, 5)], None, Q, count_include_pad=True, **pool
        ),
        "average_pool2d whole": node_graph("average_pool2d", [_x(6, 7, 6)], None, Q, **whole),
        "max_pool2d": node_graph("max_pool2d", [_x(4, 6, 5)], None, Q, **pool),
        "max_pool2d whole": node_graph("max_pool2d", [_x(6, 7, 6)], None, Q, **whole),
        "softmax": node_graph("softmax", [_x(2, 10)], None, PROBABILITIES, beta=1.0),
        "clip": node_graph("clip", [_x(3, 2, 5)], None, Q, clamp=[0, 6]),
        "unary": node_graph("unary", [_x(3, 2, 5)], None, Q, function="hard_swish"),
        "reshape": node_graph("reshape", [_x(3, 2, 5)], None, Q, shape=[1, 5, 6]),
        "transpose": node_graph("transpose", [_x(4, 3, 6)], None, Q, perm=[0, 2, 1, 3]),
        "pad": node_graph("pad", [_x(3, 2, 5)], None, Q, pads=[0, 1, 0, 0, 0, 0, 2, 0]),
        "pad channels": node_graph("pad", [_x(3, 2, 5)], None, Q, pads=[0, 0, 0, 1, 0, 0, 0, 2]),
        "concat": node_graph("concat", two, None, Q, axis=1),
        "concat channels": node_graph("concat", two, None, Q, axis=3),
        "slice": node_graph(
            "slice", [_x(4, 4, 6)], None, Q, starts=[0, 1, 0, 0], stops=[1, 4, 4, 6],
            steps=[1, 1, 2, 1],
        ),
    }  # fmt: skip
    for kind in ("sum", "mean", "max", "min"):
        quant = Q if kind in ("max", "min") else Quant.make(0.3, 4)
        found[f"reduce {kind}"] = node_graph(
            "reduce", [_x(4, 3, 5)], None, quant, kind=kind, axes=[2], keepdims=True
        )
    for op in ("add", "sub", "mul", "minimum", "maximum"):
        found[op] = node_graph(op, two, None, Quant.make(0.15, -7))
        by_channel = [_x(3, 2, 5, name="a"), Value("b", (1, 1, 1, 5), "int8", Q)]
        found[f"{op} by channel"] = node_graph(op, by_channel, None, Quant.make(0.15, -7))
    return found


@cache
def float_layers() -> dict[str, Graph]:
    """Float layers by a name; `layers` makes float32 and half of them."""
    found: dict[str, Graph] = {}

    def add(
        name: str, op: str, shape: tuple[int, ...], *weights: tuple[int, ...], **a: Any
    ) -> None:
        b = Builder(5)
        x = b.input("x", 1, *shape)
        constants = [b.constant(f"c{i}", *w) for i, w in enumerate(weights)]
        found[f"{op} {name}"] = left_in_float(b.done(b.node(op, x, *constants, **a)))

    add("3x3", "conv2d", (5, 6, 5), (6, 3, 3, 5), (6,), **_window(pads=[1] * 4), clamp=[0, 6])
    add("1x1", "conv2d", (3, 5, 8), (8, 1, 1, 8), (8,), **_window())
    add("3x3", "depthwise_conv2d", (5, 6, 5), (3, 3, 5), (5,), **_window(pads=[1] * 4))
    add("row", "fully_connected", (21,), (7, 21), (7,))
    for op in ("add", "sub", "mul", "minimum", "maximum"):
        add("by channel", op, (3, 2, 5), (5,))
    pool = {"kernel": [2, 3], "strides": [1, 2], "pads": [1, 1, 0, 1]}
    add("padded", "average_pool2d", (4, 6, 5), **pool)
    add("padded", "max_pool2d", (4, 6, 5), **pool)
    add("row", "softmax", (2, 10), beta=1.0)
    add("both sides", "clip", (3, 2, 5), clamp=[-0.5, 0.5])
    add("hard_swish", "unary", (3, 2, 5), function="hard_swish")
    add("sigmoid", "unary", (3, 2, 5), function="sigmoid")
    add("rows", "pad", (3, 2, 5), pads=[0, 1, 0, 0, 0, 0, 2, 0], value=0.25)
    add("channels", "pad", (3, 2, 5), pads=[0, 0, 0, 1, 0, 0, 0, 2])
    return found


def layers() -> Iterator[tuple[str, Graph, Layer]]:
    """Every small layer, float ones once for each precision."""
    for name, graph in integer_layers().items():
        yield name, graph, layer_of(graph, graph.nodes[0])
    for name, graph in float_layers().items():
        for precision in ("fp32", "fp16"):
            layer = in_precision(layer_of(graph, graph.nodes[0]), precision)
            yield f"{name} {precision}", graph, layer


def operands(graph: Graph, layer: Layer, seed: int = 1) -> tuple[list[np.ndarray], np.ndarray]:
    """Packed random inputs of a small layer, and its packed result."""
    r = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        value = graph.values[name]
        if value.dtype == "float32":
            feeds[name] = r.standard_normal(value.shape).astype(np.float32)
        else:
            feeds[name] = r.integers(-128, 128, value.shape).astype(np.int8)
    result = reference.run(graph, feeds)[graph.outputs[0]]
    inputs = [_packed(feeds[v.name], v) for v in layer.inputs if v.name in feeds]
    return inputs, _packed(result, layer.output)


def _packed(array: np.ndarray, value: Value) -> np.ndarray:
    return pack(array.astype(value.dtype), blocked(value.shape, value.dtype))
