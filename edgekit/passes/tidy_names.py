"""Give values the names that the model file gave them.

1. A generated name ``x~2`` becomes ``x`` where no value is called so any more: the operator that
   made ``x`` was merged into the one that makes ``x~2``, or undone.
"""

from __future__ import annotations

from edgekit.graph import Graph
from edgekit.passes.edit import base_name, rename


def tidy_names(graph: Graph) -> bool:
    """Apply the rule to every value that is no graph input or output."""
    changed = False
    for name in list(graph.values):
        base = base_name(name)
        if base == name or base in graph.values or name in (*graph.sources, *graph.outputs):
            continue
        rename(graph, name, base)
        if name in graph.constants:
            graph.constants[base] = graph.constants.pop(name)
        changed = True
    return changed
