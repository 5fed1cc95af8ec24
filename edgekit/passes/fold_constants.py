"""Compute what depends on constants alone.

1. A node all of whose operands are constants becomes its results, as constants, unless they have
   far more elements than the operands: tables that a program makes are not stored.
"""

from __future__ import annotations

import numpy as np

from edgekit.graph import Graph
from edgekit.ops.base import run_node

#: Elements that results may have beyond those of the operands.
MOST_NEW = 1 << 16


def fold_constants(graph: Graph) -> bool:
    """Apply the rule to every node; returns whether anything changed."""
    changed = False
    for node in list(graph.nodes):
        if not node.inputs or not all(graph.is_constant(i) for i in node.inputs):
            continue
        if any(o in graph.results for o in node.outputs):
            continue
        values = [graph.values[i] for i in (*node.inputs, *node.outputs)]
        held = sum(graph.values[i].size for i in node.inputs)
        made = sum(graph.values[o].size for o in node.outputs)
        # Numbers on a grid are rounded where the grid is taken up, see `Grid`.
        if made > held + MOST_NEW or any(v.quant is not None for v in values):
            continue
        results = run_node(graph, node, [graph.constants[i] for i in node.inputs])
        for name, data in zip(node.outputs, results, strict=True):
            graph.constants[name] = np.ascontiguousarray(data).reshape(graph.values[name].shape)
        graph.nodes = [n for n in graph.nodes if n is not node]
        changed = True
    if changed:
        graph.drop_unused()
    return changed
