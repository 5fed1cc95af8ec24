"""Reductions of whole images, in the form that has the faster kernels.

Float graphs only.

1. reduce, mean or max, of [1, H, W, C] over rows, columns or both: average_pool2d or max_pool2d
   with a window as large as they are, and a reshape where the axes go.
2. The same of [1, T, C] over T, which is an image of one line.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.graph import Graph, Node
from edgekit.passes.edit import is_real, make, replace_node

POOLS = {"mean": "average_pool2d", "max": "max_pool2d"}


def global_pools(graph: Graph) -> bool:
    """Apply the rules to every reduce; returns whether anything changed."""
    changed = False
    for node in list(graph.nodes):
        if node.op == "reduce" and node.attrs["kind"] in POOLS:
            changed |= _pool(graph, node)
    return changed


def _pool(graph: Graph, node: Node) -> bool:
    x, out = graph.values[node.inputs[0]], graph.values[node.output]
    if not (is_real(graph, x.name) and is_real(graph, out.name)) or x.shape[:1] != (1,):
        return False
    axes, rank = set(node.attrs["axes"]), len(x.shape)
    if not axes or rank not in (3, 4) or not axes <= set(range(1, rank - 1)):
        return False
    shape = x.shape if rank == 4 else (1, 1, *x.shape[1:])
    spatial = axes if rank == 4 else {a + 1 for a in axes}
    kernel = [shape[axis] if axis in spatial else 1 for axis in (1, 2)]
    new = []
    source = x.name
    if rank == 3:
        new.append(make(graph, "reshape", (source,), {"shape": list(shape)}, node))
        source = new[-1].output
    attrs = {"kernel": kernel, "strides": kernel, "pads": [0, 0, 0, 0]}
    pool = make(graph, POOLS[node.attrs["kind"]], (source,), attrs, node)
    if graph.values[pool.output].shape == out.shape:
        del graph.values[pool.output]
        new.append(replace(pool, outputs=node.outputs))
    else:
        new.append(pool)
        attrs = {"shape": list(out.shape)}
        new.append(Node("reshape", (pool.output,), node.outputs, attrs, node.name))
    replace_node(graph, node, *new)
    return True
