"""A graph that runs in less RAM: other orders of its nodes, chains of them in stripes.

Both change nothing in the integers. Needs are estimated from sizes and orders of access, without
kernels. That is enough to order nodes; the most promising stripes are then built, and the smallest
arena wins. Stripes may compute at most `EXTRA_MACS` more than the model has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from codegen.kernel import Candidate
from codegen.liveness import VIEWS, Liveness
from codegen.stripes import ELEMENTWISE, NotStripable, recomputed, stripe
from edgekit.graph import Graph, Node
from edgekit.ops.base import node_macs

#: Bytes of the arena, and instructions.
Built = tuple[int, int]
#: Stripes that are tried, and the most nodes that one chain has.
BANDS, LONGEST = (2, 3, 4, 6, 8, 12, 16), 12
#: Multiply-accumulates that stripes may compute twice, in proportion to the model's.
EXTRA_MACS = 0.2
#: Graphs that are built of those that an estimate found good, and rounds of changes.
BUILT, ROUNDS = 8, 3
#: A change is kept where it saves this share of the arena.
WORTH = 0.02
#: Scratch of a depthwise kernel, about, in bytes.
DEPTHWISE_SCRATCH = 1024


def thrifty(graph: Graph, build: Callable[[Graph], Built], most_instructions: int) -> Graph:
    """The graph in the stripes that need the least RAM.

    Args:
        build: arena in bytes and instructions that a graph takes with real kernels.
        most_instructions: what a changed graph may take.
    """
    arena, instructions = build(graph)
    most_instructions = max(most_instructions, instructions)
    for _ in range(ROUNDS):
        peak, step = highest_need(graph)
        tried = sorted(
            (
                (highest_need(g)[0], extra, i, g)
                for i, (g, extra) in enumerate(_changes(graph, step))
            ),
            key=lambda t: t[:3],
        )
        better = [(*build(g), i, g) for est, _, i, g in tried[:BUILT] if est < peak]
        better = [b for b in better if b[0] <= arena * (1 - WORTH) and b[1] <= most_instructions]
        if not better:
            return graph
        least = min(b[0] for b in better)
        # Of those that are nearly as small, the fastest.
        near = [b for b in better if b[0] <= least * (1 + WORTH)]
        arena, _, _, graph = min(near, key=lambda b: (b[1], b[0], b[2]))
    return graph


def ordered(graph: Graph) -> Graph:
    """The graph with nodes moved to where that lowers the highest needs of RAM, one at a time."""
    profile = sorted(_needs(graph).values(), reverse=True)
    while True:
        for moved in _orders(graph):
            needs = sorted(_needs(moved).values(), reverse=True)
            if needs < profile:
                graph, profile = moved, needs
                break
        else:
            return graph


def _changes(graph: Graph, step: int) -> Iterator[tuple[Graph, int]]:
    """Graphs that may need less at `step`, with what they compute twice, in MACs."""
    total = sum(node_macs(graph, n) for n in graph.nodes)
    for first in range(step, max(step - LONGEST, -1), -1):
        for last in range(max(step, first + 1), min(first + LONGEST, len(graph.nodes))):
            for bands in BANDS:
                try:
                    extra = _extra(graph, first, last, bands)
                    if extra <= EXTRA_MACS * total:
                        yield stripe(graph, first, last, bands), extra
                except NotStripable:
                    break


def _orders(graph: Graph) -> Iterator[Graph]:
    """The graph with one node moved to where its operands are all there."""
    made = dict.fromkeys((*graph.sources, *graph.constants), -1)
    made |= {name: i for i, n in enumerate(graph.nodes) for name in n.outputs}
    for i, node in enumerate(graph.nodes):
        ready = max((made[name] for name in node.inputs), default=-1) + 1
        if ready < i:
            nodes = list(graph.nodes)
            nodes.insert(ready, nodes.pop(i))
            moved = graph.copy()
            moved.nodes = nodes
            yield moved.verify()


def _extra(graph: Graph, first: int, last: int, bands: int) -> int:
    rows = recomputed(graph, first, last, bands)
    extra = 0
    for node, computed in zip(graph.nodes[first:], rows, strict=False):
        height = graph.values[node.output].shape[1]
        extra += node_macs(graph, node) * (computed - height) // height
    return extra


def highest_need(graph: Graph) -> tuple[int, int]:
    """The most bytes that a step needs, about, and which step."""
    needs = _needs(graph)
    step = max(needs, key=needs.__getitem__, default=0)
    return needs.get(step, 0), step


def _needs(graph: Graph) -> dict[int, int]:
    """Bytes that every step needs, about."""
    alive = Liveness(graph)
    return {
        step: alive.need(step, *_typical(graph, node))
        for step, node in enumerate(graph.nodes)
        if node.op not in VIEWS
    }


def _typical(graph: Graph, node: Node) -> tuple[Candidate, int]:
    """What kernels of this kind promise of shared memory, and their scratch."""
    out = graph.values[node.output]
    activations = tuple(i for i in node.inputs if not graph.is_constant(i))
    x = graph.values[activations[0]] if activations else out
    in_place, scratch = node.op in (*ELEMENTWISE, "softmax"), 0
    overlap = 0 if in_place else None
    if node.op == "depthwise_conv2d":
        in_place, scratch = out.nbytes <= x.nbytes, DEPTHWISE_SCRATCH
    elif node.op == "conv2d":
        kernel = graph.values[node.inputs[1]].shape[1]
        taps = graph.values[node.inputs[1]].size // out.shape[-1]
        row = x.nbytes // x.shape[1]
        # The output may follow the window's upper edge; where it is the larger one, the last row.
        overlap = kernel // 2 * row + max(out.nbytes - x.nbytes, 0)
        scratch = 10 * taps
    candidate = Candidate(cast(Any, None), activations, {}, in_place=in_place, overlap=overlap)
    return candidate, scratch
