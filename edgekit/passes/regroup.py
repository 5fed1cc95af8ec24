"""Move a channels-first transpose behind a reshape that splits or merges axes.

A reshape keeps groups of neighbouring axes: those of the result that have as many elements as
those of the operand. Groups may change places as a whole. What is out of order inside a group
stays a transpose in front.

1. A reshape of a transpose becomes a reshape in the order of the operand with a transpose behind
   that turns the axes behind the batch around (NHWC to NCHW and the like), where the axes of every
   group are neighbours in the operand; a shuffle of channels thus stays among the channels.
"""

from __future__ import annotations

from edgekit.graph import Graph, Node, Shape
from edgekit.passes.edit import make, replace_node

#: Axes of the operand and of the result.
Group = tuple[list[int], list[int]]


def regroup(graph: Graph, node: Node) -> bool:
    """Apply rule 1 to a reshape; returns whether it did."""
    if node.op != "reshape" or graph.values[node.output].quant is not None:
        return False
    transpose = graph.producer(node.inputs[0])
    if transpose is None or transpose.op != "transpose":
        return False
    perm, source = list(transpose.attrs["perm"]), transpose.inputs[0]
    before, after = graph.values[node.inputs[0]].shape, graph.values[node.output].shape
    groups = _groups(before, after)
    if groups is None or not all(_neighbours([perm[a] for a in g[0]]) for g in groups):
        return False
    # In the order in which the groups begin in front of the transpose.
    ordered = sorted(groups, key=lambda g: min(perm[a] for a in g[0]))
    inner = [perm[a] for g in ordered for a in g[0]]
    shape = [after[a] for g in ordered for a in g[1]]
    place = [a for g in ordered for a in g[1]]
    outer = [place.index(i) for i in range(len(after))]
    if outer == sorted(outer) or not _turns(outer, tuple(shape)):
        return False
    new = []
    if inner != sorted(inner):
        first = make(graph, "transpose", (source,), {"perm": inner}, transpose)
        new.append(first)
        source = first.output
    reshape = make(graph, "reshape", (source,), {"shape": shape}, node)
    last = Node("transpose", (reshape.output,), node.outputs, {"perm": outer}, node.name)
    replace_node(graph, node, *new, reshape, last)
    return True


def _neighbours(axes: list[int]) -> bool:
    """Whether axes lie side by side, in whatever order."""
    return max(axes) - min(axes) == len(axes) - 1


def _turns(perm: list[int], shape: Shape) -> bool:
    """Whether the axes behind the first one that have more than one element turn around."""
    real = [p for p in perm[1:] if shape[p] != 1]
    ordered = sorted(real)
    return perm[:1] == [0] and any(
        real == ordered[k:] + ordered[:k] for k in range(1, len(ordered))
    )


def _groups(before: Shape, after: Shape) -> list[Group] | None:
    """The finest groups of axes with equal numbers of elements, None where the batch is not one."""
    groups: list[Group] = []
    i = j = 0
    while i < len(before) and j < len(after):
        group: Group = ([i], [j])
        have, want = before[i], after[j]
        i, j = i + 1, j + 1
        while have != want:
            if have < want:
                group[0].append(i)
                have *= before[i]
                i += 1
            else:
                group[1].append(j)
                want *= after[j]
                j += 1
        groups.append(group)
    if not groups:
        return None
    # Axes of one element that are left over belong to the last group.
    groups[-1][0].extend(range(i, len(before)))
    groups[-1][1].extend(range(j, len(after)))
    return groups if groups[0] == ([0], [0]) else None
