"""Questions that passes ask about expressions."""

from __future__ import annotations

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.passes.edit import is_float


def made_by(graph: Graph, name: str, op: str, **attrs: object) -> Node | None:
    """The float node that makes `name`, where it is an `op` with these attributes and no clamp."""
    node = graph.producer(name)
    if node is None or node.op != op or not is_float(graph, name) or node.attrs.get("clamp"):
        return None
    return node if all(node.attrs.get(k) == v for k, v in attrs.items()) else None


def unary_of(graph: Graph, name: str, function: str) -> str | None:
    """The x of ``name = function(x)``."""
    node = made_by(graph, name, "unary", function=function)
    return node.inputs[0] if node else None


def number(graph: Graph, name: str) -> float | None:
    """The value of a float constant whose elements are all equal."""
    data = graph.constants.get(name)
    if data is None or not is_float(graph, name) or not np.all(data == data.reshape(-1)[0]):
        return None
    return float(data.reshape(-1)[0])


def with_number(graph: Graph, name: str, op: str) -> tuple[str, float] | None:
    """(x, c) of ``name = x op c``, op being add or mul, whose result has the shape of x."""
    node = made_by(graph, name, op)
    if node is None:
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        c = number(graph, other)
        same = graph.values[x].shape == graph.values[name].shape
        if c is not None and same and not graph.is_constant(x):
            return x, c
    return None


def squared(graph: Graph, name: str) -> str | None:
    """The x of ``name = x * x`` in any of its forms."""
    x = unary_of(graph, name, "square")
    if x is not None:
        return x
    power = made_by(graph, name, "unary", function="pow", exponent=2.0)
    if power is not None:
        return power.inputs[0]
    product = made_by(graph, name, "mul")
    if product is not None and product.inputs[0] == product.inputs[1]:
        return product.inputs[0]
    return None


def reduced(graph: Graph, name: str, kind: str) -> tuple[str, tuple[int, ...]] | None:
    """(x, axes) of a reduction that keeps its axes."""
    node = made_by(graph, name, "reduce", kind=kind)
    if node is None or len(graph.values[name].shape) != len(graph.values[node.inputs[0]].shape):
        return None
    return node.inputs[0], tuple(sorted(node.attrs["axes"]))
