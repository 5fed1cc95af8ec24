"""How a transpose moves behind an operator.

`moved` says what an operator computes where its operands are not transposed: other attributes, and
the transpose of its result that makes up for it. Axes i of the transposed operand are axes perm[i]
of the one in front of the transpose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekit.graph import Graph, Node

Perm = list[int]
Attrs = dict[str, Any]
#: New attributes and the permutation behind, or None where the transpose has to stay.
Moved = tuple[Attrs, Perm] | None

#: Element by element, whatever the axes mean; operands broadcast.
ELEMENTWISE = (
    "add", "cast", "clip", "compare", "div", "logical", "maximum", "minimum", "mod", "mul", "pow",
    "prelu", "squared_difference", "sub", "unary", "where",
)  # fmt: skip
#: Over the last axis alone.
LAST_AXIS = ("softmax", "log_softmax", "l2_normalize", "layer_norm", "rms_norm")


def _along(key: str) -> Callable[[Node, Perm], Moved]:
    """An attribute that names an axis."""

    def move(node: Node, perm: Perm) -> Moved:
        return {**node.attrs, key: perm[node.attrs[key]]}, perm

    return move


def _per_axis(*keys: str) -> Callable[[Node, Perm], Moved]:
    """Attributes with one entry for each axis."""

    def move(node: Node, perm: Perm) -> Moved:
        attrs = dict(node.attrs)
        for key in keys:
            if attrs.get(key) is not None:
                attrs[key] = _inverse(attrs[key], perm)
        return attrs, perm

    return move


def _inverse(entries: list[Any], perm: Perm) -> list[Any]:
    """Entry i of the result belongs to the axis in front of the transpose."""
    result = list(entries)
    for i, p in enumerate(perm):
        result[p] = entries[i]
    return result


def _pad(node: Node, perm: Perm) -> Moved:
    pads, rank = node.attrs["pads"], len(perm)
    halves = [_inverse(pads[:rank], perm), _inverse(pads[rank:], perm)]
    return {**node.attrs, "pads": halves[0] + halves[1]}, perm


def _reduced(perm: Perm, axes: list[int], keepdims: bool) -> Perm:
    """The transpose behind an operator that took away `axes` of its operand."""
    if keepdims:
        return perm
    left = [perm[i] for i in range(len(perm)) if i not in axes]
    return [sorted(left).index(p) for p in left]


def _reduce(node: Node, perm: Perm) -> Moved:
    axes = node.attrs["axes"]
    attrs = {**node.attrs, "axes": sorted(perm[a] for a in axes)}
    return attrs, _reduced(perm, axes, bool(node.attrs.get("keepdims", True)))


def _arg(node: Node, perm: Perm) -> Moved:
    axis = node.attrs["axis"]
    attrs = {**node.attrs, "axis": perm[axis]}
    return attrs, _reduced(perm, [axis], bool(node.attrs.get("keepdims", True)))


def _last(node: Node, perm: Perm) -> Moved:
    return (node.attrs, perm) if perm[-1] == len(perm) - 1 else None


def _same(node: Node, perm: Perm) -> Moved:
    return node.attrs, perm


MOVES: dict[str, Callable[[Node, Perm], Moved]] = {
    **dict.fromkeys(ELEMENTWISE, _same),
    **dict.fromkeys(LAST_AXIS, _last),
    "arg": _arg,
    "concat": _along("axis"),
    "cumsum": _along("axis"),
    "expand": _per_axis("shape"),
    "gather": _along("axis"),
    "pad": _pad,
    "reduce": _reduce,
    "resize": _per_axis("size", "scales"),
    "slice": _per_axis("starts", "stops", "steps"),
    "tile": _per_axis("repeats"),
    "top_k": _along("axis"),
}
#: Operators all of whose operands have the transposed axes; of the others only the first has.
JOINT = (*ELEMENTWISE, "concat")


def moved(graph: Graph, node: Node, perm: Perm) -> Moved:
    """What `node` computes where `perm` comes behind it instead of in front, None where it cannot.

    For an operator that is not in MOVES, and for indices of more than one axis, it cannot.
    """
    move = MOVES.get(node.op)
    if move is None:
        return None
    rank = len(perm)
    if node.op == "gather":
        indices = graph.values[node.inputs[1]].shape
        if len(indices) != 1 or node.attrs.get("batch_dims", 0):
            return None
    if node.op == "expand" and len(node.attrs["shape"]) != rank:
        return None
    if node.op in ELEMENTWISE and len(graph.values[node.output].shape) != rank:
        return None  # another operand has more axes than are permuted
    return move(node, perm)
