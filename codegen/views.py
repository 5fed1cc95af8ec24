"""Concats and slices that copy nothing: their parts are bytes of one buffer.

1. A slice of one block of memory becomes `slice_rows`: a view of its operand.
2. A concat of blocks of memory in one quantization becomes `concat_rows`: each part is made in its
   place.

Both only where every part begins at a multiple of `overlap.ALIGN` bytes, and where the graph does
not need more RAM for it, since parts of a buffer keep all of it.
"""

from __future__ import annotations

from dataclasses import replace

from codegen.liveness import VIEWS, views
from codegen.overlap import ALIGN
from codegen.thrift import highest_need
from edgekit.graph import Graph, Node
from edgekit.ops.movement import axis_of
from edgekit.ops.slice import slices_of


def as_views(graph: Graph) -> Graph:
    """`graph` with views in the place of copies; `graph` itself where there are none."""
    for step, node in enumerate(graph.nodes):
        new = {"slice": _slice, "concat": _concat}.get(node.op, _stays)(graph, node)
        if new is node:
            continue
        changed = graph.copy()
        changed.nodes[step] = new
        if highest_need(changed)[0] <= highest_need(graph)[0]:
            graph = changed.verify()
    return graph


def _stays(graph: Graph, node: Node) -> Node:
    return node


def _slice(graph: Graph, node: Node) -> Node:
    """Rule 1; a state's next content is better made in the state's buffer."""
    x = graph.values[node.inputs[0]]
    if x.name in graph.constants or _is_kept(graph, node.output):
        return node
    parts = slices_of(node)
    cut = [i for i, (s, n) in enumerate(zip(parts, x.shape, strict=True))
           if s.indices(n) != (0, n, 1)]  # fmt: skip
    if len(cut) != 1 or any(d != 1 for d in x.shape[: cut[0]]) or parts[cut[0]].step != 1:
        return node
    begin, end, _ = parts[cut[0]].indices(x.shape[cut[0]])
    if begin * (x.nbytes // x.shape[cut[0]]) % ALIGN:
        return node
    return replace(node, op="slice_rows", attrs={"axis": cut[0], "rows": [begin, end]})


def _concat(graph: Graph, node: Node) -> Node:
    """Rule 2, where every part is the result of a kernel and part of nothing else."""
    out, axis = graph.values[node.output], axis_of(node)
    parts = [graph.values[name] for name in node.inputs]
    makers = {name: n for n in graph.nodes for name in n.outputs}
    placed = views(graph, states=False)
    free = all(
        name in makers
        and makers[name].op not in VIEWS
        and name not in placed
        and name not in graph.outputs
        and not _is_kept(graph, name)
        for name in node.inputs
    )
    if not free or len(set(node.inputs)) < len(node.inputs) or _is_kept(graph, out.name):
        return node
    if any(d != 1 for d in out.shape[:axis]) or any(v.quant != out.quant for v in parts):
        return node
    if any(v.nbytes % ALIGN for v in parts[:-1]):
        return node
    return replace(node, op="concat_rows", attrs={"axis": axis})


def _is_kept(graph: Graph, name: str) -> bool:
    """Whether a value is the next content of a state."""
    return any(state.next == name for state in graph.states)
