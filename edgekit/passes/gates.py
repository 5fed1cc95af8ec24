"""Undo how exporters take GELU and its relatives apart.

Float graphs only. A gate g is erf, tanh, sigmoid or a clip of a polynomial of x. Products and sums
around it are polynomials in x and g, in whatever order an exporter writes them.

1. 0.5 x (1 + erf(x / sqrt 2)): unary gelu.
2. 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))): unary gelu, approximate "tanh".
3. x sigmoid(x): unary silu.
4. x hard_sigmoid(x) with slope 1/6, or x clip(x + 3, 0, 6) / 6: unary hard_swish.
5. x tanh(softplus(x)): unary mish.
6. clip(x + 3, 0, 6) / 6: unary hard_sigmoid with slope 1/6.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.passes.edit import is_float, replace_node, until_settled
from edgekit.passes.match import number

#: Coefficients by the powers of (x, g).
Polynomial = dict[tuple[int, int], float]
#: Operators that a polynomial may be made of, and how deep they may be nested.
DEPTH = 8
#: Coefficients of exported float32 or float16 numbers differ from the real ones by less than this.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Gate:
    """`op` with `attrs` of the polynomial `inner`; `outer` then is `function`."""

    op: str
    attrs: dict[str, Any]
    inner: Polynomial
    outer: Polynomial
    function: str
    result: dict[str, Any] = field(default_factory=dict)


_X: Polynomial = {(1, 0): 1.0}
_XG: Polynomial = {(1, 1): 1.0}
_HALVES: Polynomial = {(1, 0): 0.5, (1, 1): 0.5}
_ROOT = math.sqrt(2 / math.pi)
_SIXTH = {"alpha": 1 / 6, "beta": 0.5}
_CLIP = {"clamp": [0.0, 6.0]}
GATES = (
    Gate("unary", {"function": "erf"}, {(1, 0): math.sqrt(0.5)}, _HALVES, "gelu",
         {"approximate": "none"}),
    Gate("unary", {"function": "tanh"}, {(1, 0): _ROOT, (3, 0): 0.044715 * _ROOT}, _HALVES, "gelu",
         {"approximate": "tanh"}),
    Gate("unary", {"function": "sigmoid"}, _X, _XG, "silu"),
    Gate("unary", {"function": "hard_sigmoid", **_SIXTH}, _X, _XG, "hard_swish"),
    Gate("clip", _CLIP, {(1, 0): 1.0, (0, 0): 3.0}, {(1, 1): 1 / 6}, "hard_swish"),
    Gate("clip", _CLIP, {(1, 0): 1.0, (0, 0): 3.0}, {(0, 1): 1 / 6}, "hard_sigmoid", _SIXTH),
)  # fmt: skip


def gates(graph: Graph) -> bool:
    """Apply the rules until nothing changes; returns whether anything did."""
    return until_settled(graph, (_once,))


def _once(graph: Graph, node: Node) -> bool:
    if not is_float(graph, node.output):
        return False
    if node.op == "unary" and node.attrs["function"] == "tanh":
        inner = graph.producer(node.inputs[0])
        if inner is not None and inner.op == "unary" and inner.attrs["function"] == "softplus":
            mish = Gate("unary", {}, _X, _XG, "mish")
            return _replace_outer(graph, node, inner.inputs[0], mish)
    for gate in GATES:
        if node.op != gate.op or not _has(node, gate.attrs):
            continue
        for x in _inside(graph, node.inputs[0]):
            if _close(polynomial(graph, node.inputs[0], {x: _X}), gate.inner):
                if _replace_outer(graph, node, x, gate):
                    return True
                break
    return False


def _has(node: Node, attrs: dict[str, Any]) -> bool:
    """Whether the node has these attributes, numbers up to rounding."""
    for key, want in attrs.items():
        got = node.attrs.get(key)
        if isinstance(want, str):
            if got != want:
                return False
            continue
        if got is None or any(v is None for v in np.atleast_1d(np.array(got, object))):
            return False
        if not np.allclose(np.array(got, float), np.array(want), rtol=TOLERANCE, atol=0):
            return False
    return True


def _replace_outer(graph: Graph, node: Node, x: str, gate: Gate) -> bool:
    """Find the product that `gate` ends with behind the gate's `node`, and replace it."""
    known: dict[str, Polynomial] = {node.output: {(0, 1): 1.0}, x: _X}
    shape = graph.values[node.output].shape
    for root in _outside(graph, node.output):
        if graph.values[root.output].shape != shape or graph.values[x].shape != shape:
            continue
        if _close(polynomial(graph, root.output, known), gate.outer):
            attrs = {"function": gate.function, **gate.result}
            if root.attrs.get("clamp"):
                return False
            replace_node(graph, root, replace(root, op="unary", inputs=(x,), attrs=attrs))
            return True
    return False


def _inside(graph: Graph, name: str) -> Iterator[str]:
    """Tensors that the polynomial `name` may be of, the nearest first."""
    level = [name]
    for _ in range(DEPTH):
        yield from level
        nodes = [graph.producer(n) for n in level]
        level = list(dict.fromkeys(
            i for n in nodes if n is not None and _is_term(n) for i in n.inputs
            if not graph.is_constant(i)
        ))  # fmt: skip


def _outside(graph: Graph, name: str) -> list[Node]:
    """Sums and products that read `name` or one another, the farthest first."""
    found: list[Node] = []
    level = [name]
    for _ in range(4):
        readers = [n for source in level for n in graph.consumers(source) if _is_term(n)]
        found += [n for n in readers if n not in found]
        level = [n.output for n in readers]
    return found[::-1]


def _is_term(node: Node) -> bool:
    if node.attrs.get("clamp"):
        return False
    return node.op in ("add", "sub", "mul") or (
        node.op == "unary" and node.attrs["function"] in ("square", "neg", "pow")
    )


def polynomial(
    graph: Graph, name: str, known: dict[str, Polynomial], depth: int = DEPTH
) -> Polynomial | None:
    """`name` as a polynomial of the tensors in `known`; None where it is no polynomial of them."""
    if name in known:
        return known[name]
    constant = number(graph, name)
    if constant is not None:
        return {(0, 0): constant}
    node = graph.producer(name)
    if node is None or depth == 0 or not _is_term(node) or not is_float(graph, name):
        return None
    terms = [polynomial(graph, i, known, depth - 1) for i in node.inputs]
    first = terms[0]
    if first is None:
        return None
    if node.op == "unary":
        if node.attrs["function"] == "neg":
            return {power: -c for power, c in first.items()}
        exponent = 2 if node.attrs["function"] == "square" else node.attrs.get("exponent")
        if exponent not in (2, 3):
            return None
        square = _times(first, first)
        return square if exponent == 2 else _times(square, first)
    second = terms[1]
    if second is None:
        return None
    if node.op == "mul":
        return _times(first, second)
    sign = 1.0 if node.op == "add" else -1.0
    total = dict(first)
    for power, c in second.items():
        total[power] = total.get(power, 0.0) + sign * c
    return total


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    product: Polynomial = {}
    for (i, j), c in a.items():
        for (k, m), d in b.items():
            product[i + k, j + m] = product.get((i + k, j + m), 0.0) + c * d
    return product


def _close(found: Polynomial | None, wanted: Polynomial) -> bool:
    if found is None:
        return False
    scale = max(map(abs, wanted.values()))
    return all(
        abs(found.get(p, 0.0) - wanted.get(p, 0.0)) <= TOLERANCE * abs(wanted.get(p, scale * 1e-3))
        for p in {*found, *wanted}
    )
