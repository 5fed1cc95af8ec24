"""A small float network with every kind of operator the quantizer treats differently."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.graph import Graph, Node, Value


class Builder:
    """Adds float nodes; shapes come from the operators themselves."""

    def __init__(self, seed: int = 0) -> None:
        self.graph, self.rng = Graph("small"), np.random.default_rng(seed)

    def input(self, name: str, *shape: int) -> str:
        self.graph.inputs.append(name)
        return self.graph.add_value(Value(name, shape))

    def constant(self, name: str, *shape: int, spread: float = 0.3) -> str:
        data = self.rng.normal(0, spread, shape).astype(np.float32)
        return self.graph.add_constant(name, data)

    def node(self, op: str, *inputs: str, **attrs: Any) -> str:
        from edgekit.ops import operator

        name = f"{op}_{len(self.graph.nodes)}"
        node = Node(op, inputs, (name,), attrs, name)
        ((shape, dtype),) = operator(op).infer(node, [self.graph.values[i] for i in inputs])
        self.graph.add_value(Value(name, shape, dtype))
        self.graph.nodes.append(node)
        return name

    def done(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        return self.graph.verify()


def network(seed: int = 0) -> Graph:
    """conv, depthwise, residual add, mul by a constant, both pools, fully connected, softmax."""
    b = Builder(seed)
    x = b.input("image", 1, 8, 8, 2)
    same = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1]}
    relu = {"clamp": [0, None]}
    c = b.node("conv2d", x, b.constant("w0", 6, 3, 3, 2), b.constant("b0", 6), **same, **relu)
    d = b.node("depthwise_conv2d", c, b.constant("w1", 3, 3, 6), b.constant("b1", 6), **same)
    s = b.node("add", c, d, **relu)
    m = b.node("max_pool2d", s, kernel=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    k = b.node("mul", m, b.constant("gain", 1, 1, 1, 6), clamp=[-1, 6])
    p = b.node("average_pool2d", k, kernel=[4, 4], strides=[1, 1], pads=[0, 0, 0, 0])
    r = b.node("reshape", p, shape=[1, 6])
    f = b.node("fully_connected", r, b.constant("w2", 5, 6, spread=3), b.constant("b2", 5))
    return b.done(b.node("softmax", f, beta=1.0))


def wide_network(seed: int = 0) -> Graph:
    """Three layers with weights, so that one is neither the first nor the last."""
    b = Builder(seed)
    x = b.input("image", 1, 8, 8, 2)
    same = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "clamp": [0, None]}
    first = b.node("conv2d", x, b.constant("w0", 8, 3, 3, 2), b.constant("b0", 8), **same)
    d = b.node("depthwise_conv2d", first, b.constant("wd", 3, 3, 8), b.constant("bd", 8), **same)
    second = b.node("conv2d", d, b.constant("w1", 8, 3, 3, 8), b.constant("b1", 8), **same)
    p = b.node("average_pool2d", second, kernel=[8, 8], strides=[1, 1], pads=[0, 0, 0, 0])
    r = b.node("reshape", p, shape=[1, 8])
    f = b.node("fully_connected", r, b.constant("w2", 5, 8, spread=3), b.constant("b2", 5))
    return b.done(b.node("softmax", f, beta=1.0))


def samples(n: int = 32, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"image": rng.normal(0.3, 1, (n, 8, 8, 2)).astype(np.float32)}
