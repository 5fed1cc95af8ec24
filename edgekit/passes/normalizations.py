"""Undo how exporters take normalizations apart.

Float graphs only. Below, mean(x) and sum(x) are reductions that keep their axes, x**2 is a square
in any form, and e is a number.

1. d / sqrt(mean(d**2) + e) with d = x - mean(x) over the same axes: layer_norm over the last axis
   (over several, after a reshape), instance_norm over all but the first and the last or but the
   first two. Division may be a product with a reciprocal, the mean may be of squared differences,
   e may be missing.
2. x / sqrt(mean(x**2) + e) over the last axes: rms_norm.
3. x / max(sqrt(sum(x**2)), e) and x / sqrt(max(sum(x**2), e)) over the last axis: l2_normalize. The
   divisor may be expanded to the shape of x before it divides.
4. A product with gamma and then a sum with beta, vectors along the last axis, behind one of the
   normalizations of rules 1 and 2 that nothing else reads: its gamma and beta.
5. mul(x, k) + (beta - mean(x) * k) with k = gamma / sqrt(variance(x) + e): layer_norm.
6. log(softmax(x)): log_softmax.
7. x [1, C, ...] reshaped to [1, G, L], transposed, instance_norm, and both undone: how PyTorch
   exports GroupNorm. group_norm of x with its channels at the end, between two transposes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.passes.edit import (
    add_constant,
    channel_vector,
    is_float,
    make,
    only_reader,
    replace_node,
    until_settled,
)
from edgekit.passes.match import made_by, number, reduced, squared, unary_of, with_number

AFFINE = {"layer_norm": 2, "instance_norm": 2, "group_norm": 2, "rms_norm": 1}
#: Beyond this an added number is no epsilon.
LARGEST_EPSILON = 1.0


def normalizations(graph: Graph) -> bool:
    """Apply the rules until nothing changes; returns whether anything did."""
    return until_settled(graph, (_quotient, _affine, _folded, _log_softmax, _grouped))


@dataclass(frozen=True)
class Power:
    """``sqrt(kind(x**2) + epsilon)`` over `axes`, or ``max(..., floor)`` of it."""

    x: str
    axes: tuple[int, ...]
    kind: str
    epsilon: float
    floor: float


def _divided(graph: Graph, node: Node) -> tuple[str, str, bool] | None:
    """(x, s, whether s is a root) of ``x / s`` or ``x / sqrt(s)`` written as a product or not."""
    if node.attrs.get("clamp") or not is_float(graph, node.output):
        return None
    if node.op == "div":
        return node.inputs[0], node.inputs[1], True
    if node.op != "mul":
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        other = _unexpanded(graph, other)
        if (s := unary_of(graph, other, "reciprocal")) is not None:
            return x, s, True
        if (v := unary_of(graph, other, "rsqrt")) is not None:
            return x, v, False
        inverse = made_by(graph, other, "div")
        if inverse is not None and number(graph, inverse.inputs[0]) == 1.0:
            return x, inverse.inputs[1], True
    return None


def _unexpanded(graph: Graph, name: str) -> str:
    node = made_by(graph, name, "expand")
    return node.inputs[0] if node else name


def _at_least(graph: Graph, name: str) -> tuple[str, float]:
    """(x, floor) of ``max(x, floor)``; a floor of 0 where there is none."""
    clip = graph.producer(name)
    if clip is not None and clip.op == "clip" and is_float(graph, name):
        low, high = clip.attrs["clamp"]
        if high is None and low is not None and low >= 0:
            return clip.inputs[0], float(low)
    node = made_by(graph, name, "maximum")
    if node is not None:
        for x, other in (node.inputs, node.inputs[::-1]):
            floor = number(graph, other)
            if floor is not None and floor >= 0:
                return x, floor
    return name, 0.0


def _power(graph: Graph, divisor: str, is_root: bool) -> Power | None:
    """What `divisor` is the root mean square or the length of."""
    name, floor = _unexpanded(graph, divisor), 0.0
    if is_root:
        name, floor = _at_least(graph, name)
        root = unary_of(graph, _unexpanded(graph, name), "sqrt")
        if root is None:
            return None
        name = root
    name, inner = _at_least(graph, name)
    floor = max(floor, math.sqrt(inner))
    epsilon = 0.0
    added = with_number(graph, name, "add")
    if added is not None and 0 <= added[1] <= LARGEST_EPSILON:
        name, epsilon = added
    for kind in ("mean", "sum"):
        found = reduced(graph, name, kind)
        if found is None:
            continue
        x = squared(graph, found[0])
        if x is None:
            node = made_by(graph, found[0], "squared_difference")
            x = _difference(graph, node) if node else None
        if x is not None:
            return Power(x, found[1], kind, epsilon, floor)
    return None


def _difference(graph: Graph, node: Node) -> str | None:
    """For ``squared_difference(x, mean(x))``, in either order, a name of ``x - mean(x)``."""
    for x, mean in (node.inputs, node.inputs[::-1]):
        found = reduced(graph, mean, "mean")
        if found is not None and found[0] == x:
            readers = [n for n in graph.consumers(mean) if n.op == "sub"]
            return next((n.output for n in readers if n.inputs == (x, mean)), None)
    return None


def _centre(graph: Graph, name: str) -> tuple[str, tuple[int, ...]] | None:
    """(x, axes) of ``x - mean(x)``."""
    node = made_by(graph, name, "sub")
    found = reduced(graph, node.inputs[1], "mean") if node else None
    return found if node and found and found[0] == node.inputs[0] else None


def _same(graph: Graph, a: str, b: str) -> bool:
    return a == b or (_centre(graph, a) is not None and _centre(graph, a) == _centre(graph, b))


def _quotient(graph: Graph, node: Node) -> bool:
    """Rules 1 to 3."""
    parts = _divided(graph, node)
    power = _power(graph, *parts[1:]) if parts else None
    if parts is None or power is None or not _same(graph, parts[0], power.x):
        return False
    shape = graph.values[node.output].shape
    if graph.values[power.x].shape != shape:
        return False
    rank = len(shape)
    if power.kind == "sum":
        if power.axes != (rank - 1,) or power.epsilon:
            return False
        made = make(graph, "l2_normalize", (power.x,), {"epsilon": power.floor}, node)
        replace_node(graph, node, replace(made, outputs=node.outputs))
        return True
    if power.floor:
        return False
    centre = _centre(graph, power.x)
    if centre is not None and centre[1] == power.axes:
        return _normalize(graph, node, centre[0], power, centred=True)
    return _normalize(graph, node, power.x, power, centred=False)


def _normalize(graph: Graph, node: Node, x: str, power: Power, *, centred: bool) -> bool:
    """Let `node` be a normalization of `x` over `power.axes`, if there is one."""
    shape = graph.values[x].shape
    rank, axes = len(shape), power.axes
    trailing = axes == tuple(range(rank - len(axes), rank))
    attrs = {"epsilon": power.epsilon}
    if trailing and axes and (not centred or len(axes) == 1 or axes[0] != 2):
        op = "layer_norm" if centred else "rms_norm"
        flat = [*shape[: axes[0]], math.prod(shape[axes[0] :])]
        _through(graph, node, x, op, attrs, "reshape", {"shape": flat}, {"shape": list(shape)})
        return True
    if not centred or rank < 3:
        return False
    if axes == tuple(range(1, rank - 1)):
        _through(graph, node, x, "instance_norm", attrs)
        return True
    if axes == tuple(range(2, rank)):
        to, back = [0, *range(2, rank), 1], [0, rank - 1, *range(1, rank - 1)]
        _through(graph, node, x, "instance_norm", attrs, "transpose", {"perm": to}, {"perm": back})
        return True
    return False


def _through(
    graph: Graph,
    node: Node,
    x: str,
    op: str,
    attrs: dict[str, Any],
    move: str = "",
    there: dict[str, Any] | None = None,
    back: dict[str, Any] | None = None,
) -> None:
    """Replace `node` by `op` with neutral gamma and beta, between `move` there and back."""
    nodes = []
    if move and there is not None and there.get("shape") != list(graph.values[x].shape):
        nodes.append(make(graph, move, (x,), there, node))
        x = nodes[-1].output
    channels = graph.values[x].shape[-1]
    operands = [x, add_constant(graph, f"{node.output}:gamma", np.ones(channels, np.float32))]
    if AFFINE[op] == 2:
        beta = add_constant(graph, f"{node.output}:beta", np.zeros(channels, np.float32))
        operands.append(beta)
    norm = make(graph, op, operands, attrs, node)
    if not nodes:
        replace_node(graph, node, replace(norm, outputs=node.outputs))
        return
    assert back is not None
    last = Node(move, (norm.output,), node.outputs, back, node.name)
    replace_node(graph, node, *nodes, norm, last)


def _affine(graph: Graph, node: Node) -> bool:
    """Rule 4."""
    if node.op not in AFFINE or node.attrs.get("clamp"):
        return False
    if not all(graph.is_constant(i) for i in node.inputs[1:]):
        return False
    reader = only_reader(graph, node.output)
    if reader is None or reader.op not in ("mul", "add") or not is_float(graph, reader.output):
        return False
    if reader.op == "add" and AFFINE[node.op] == 1:
        return False
    other = next((i for i in reader.inputs if i != node.output), None)
    shape = graph.values[node.output].shape
    if other is None or graph.values[reader.output].shape != shape:
        return False
    c = channel_vector(graph, other, shape[-1])
    if c is None:
        return False
    x, *names = node.inputs
    vectors = [graph.constants[name].astype(np.float64) for name in names]
    if reader.op == "mul":
        vectors = [v * c for v in vectors]
    else:
        vectors[1] = vectors[1] + c
    pairs = zip(names, vectors, strict=True)
    operands = [add_constant(graph, name, v.astype(np.float32)) for name, v in pairs]
    attrs = dict(node.attrs)
    if reader.attrs.get("clamp"):
        attrs["clamp"] = reader.attrs["clamp"]
    merged = replace(node, inputs=(x, *operands), outputs=reader.outputs, attrs=attrs)
    replace_node(graph, node)
    replace_node(graph, reader, merged)
    return True


def _folded(graph: Graph, node: Node) -> bool:
    """Rule 5."""
    if node.op != "add" or not is_float(graph, node.output) or node.attrs.get("clamp"):
        return False
    for scaled, shifted in (node.inputs, node.inputs[::-1]):
        product, shift = made_by(graph, scaled, "mul"), made_by(graph, shifted, "sub")
        if product is None or shift is None:
            continue
        for x, k in (product.inputs, product.inputs[::-1]):
            found = _folded_parts(graph, x, k, shift)
            if found is not None:
                gamma, beta, epsilon = found
                names = [add_constant(graph, f"{node.output}:{what}", v.astype(np.float32))
                         for what, v in (("gamma", gamma), ("beta", beta))]  # fmt: skip
                norm = make(graph, "layer_norm", (x, *names), {"epsilon": epsilon}, node)
                replace_node(graph, node, replace(norm, outputs=node.outputs))
                return True
    return False


def _folded_parts(
    graph: Graph, x: str, k: str, shift: Node
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """(gamma, beta, epsilon) where ``k = gamma / sqrt(variance(x) + e)`` and `shift` is
    ``beta - mean(x) * k``."""
    channels = graph.values[x].shape[-1]
    beta = channel_vector(graph, shift.inputs[0], channels)
    moved = made_by(graph, shift.inputs[1], "mul")
    factor = made_by(graph, k, "mul")
    if beta is None or moved is None or k not in moved.inputs:
        return None
    mean = reduced(graph, next(i for i in moved.inputs if i != k), "mean")
    last = (len(graph.values[x].shape) - 1,)
    if mean != (x, last):
        return None
    gamma: np.ndarray | None = np.ones(channels)
    inverse = k
    if factor is not None:
        found_gamma = [channel_vector(graph, name, channels) for name in factor.inputs]
        which = 0 if found_gamma[0] is not None else 1
        gamma, inverse = found_gamma[which], factor.inputs[1 - which]
    variance = unary_of(graph, inverse, "rsqrt")
    if variance is None:
        root = unary_of(graph, inverse, "reciprocal")
        variance = unary_of(graph, root, "sqrt") if root else None
    added = with_number(graph, variance, "add") if variance else None
    if gamma is None or added is None or not 0 <= added[1] <= LARGEST_EPSILON:
        return None
    found = reduced(graph, added[0], "mean")
    if found is None or found[1] != last or not _is_squared_deviation(graph, found[0], x):
        return None
    return gamma, beta, added[1]


def _is_squared_deviation(graph: Graph, name: str, x: str) -> bool:
    """Whether `name` is ``(x - mean(x))**2`` over the last axis."""
    last = (len(graph.values[x].shape) - 1,)
    node = made_by(graph, name, "squared_difference")
    if node is not None:
        return x in node.inputs and any(reduced(graph, i, "mean") == (x, last) for i in node.inputs)
    d = squared(graph, name)
    return d is not None and _centre(graph, d) == (x, last)


def _log_softmax(graph: Graph, node: Node) -> bool:
    """Rule 6."""
    if node.op != "unary" or node.attrs.get("function") != "log":
        return False
    softmax = made_by(graph, node.inputs[0], "softmax")
    if softmax is None or softmax.attrs.get("beta", 1.0) != 1.0:
        return False
    replace_node(graph, node, replace(node, op="log_softmax", inputs=softmax.inputs, attrs={}))
    return True


def _grouped(graph: Graph, node: Node) -> bool:
    """Rule 7."""
    if node.op != "instance_norm" or node.attrs.get("clamp") or not is_float(graph, node.output):
        return False
    there = made_by(graph, node.inputs[0], "transpose", perm=[0, 2, 1])
    split = made_by(graph, there.inputs[0], "reshape") if there else None
    back = only_reader(graph, node.output)
    if split is None or back is None or back.op != "transpose" or back.attrs["perm"] != [0, 2, 1]:
        return False
    joined = only_reader(graph, back.output)
    x = split.inputs[0]
    shape, (_, groups, _) = graph.values[x].shape, graph.values[split.output].shape
    if joined is None or joined.op != "reshape" or graph.values[joined.output].shape != shape:
        return False
    if len(shape) < 3 or shape[0] != 1 or shape[1] % groups:
        return False
    if not all(graph.is_constant(i) for i in node.inputs[1:]):
        return False
    rank, each = len(shape), shape[1] // groups
    last = make(graph, "transpose", (x,), {"perm": [0, *range(2, rank), 1]}, node)
    vectors = [add_constant(graph, i, np.repeat(graph.constants[i], each)) for i in node.inputs[1:]]
    attrs = {"epsilon": node.attrs["epsilon"], "groups": groups}
    norm = make(graph, "group_norm", (last.output, *vectors), attrs, node)
    perm = {"perm": [0, rank - 1, *range(1, rank - 1)]}
    result = Node("transpose", (norm.output,), joined.outputs, perm, joined.name)
    replace_node(graph, joined, last, norm, result)
    return True
