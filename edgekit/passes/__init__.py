"""Passes bring an imported graph to the canonical form of docs/DESIGN.md.

A pass is one function in one file: it edits the graph in place and returns whether it changed
anything. The numbered rules in a file's docstring are all that it does.
"""

from __future__ import annotations

from collections.abc import Callable

from edgekit.graph import Graph
from edgekit.passes.fold_affine import fold_affine
from edgekit.passes.fold_constants import fold_constants
from edgekit.passes.fold_pad import fold_pad
from edgekit.passes.fuse_clamp import fuse_clamp
from edgekit.passes.gates import gates
from edgekit.passes.global_pools import global_pools
from edgekit.passes.identities import identities
from edgekit.passes.layout import layout
from edgekit.passes.masks import masks
from edgekit.passes.matrix_products import matrix_products
from edgekit.passes.narrow import narrow
from edgekit.passes.normalizations import normalizations
from edgekit.passes.recurrent_cells import recurrent_cells
from edgekit.passes.scalars import scalars
from edgekit.passes.several_rows import several_rows
from edgekit.passes.tidy_names import tidy_names

Pass = Callable[[Graph], bool]

# What exporters took apart is put together first, before anything moves. Layout comes before
# folding, so that channels are always the last axis, and folding before fusing, because a clamp
# bars the way for a scale. Rows become pixels at the end: until then a reshape would stand between
# a product and what folds into it.
PASSES: tuple[Pass, ...] = (
    scalars, fold_constants, identities, gates, normalizations, masks, recurrent_cells, narrow,
    matrix_products, layout, global_pools, fold_pad, fold_affine, fuse_clamp, several_rows,
)  # fmt: skip


def canonicalize(graph: Graph) -> Graph:
    """A canonical copy of `graph`; the graph is verified before the first and after each pass.

    Raises:
        GraphError: where a pass broke a rule of legal graphs (a bug).
    """
    graph = graph.copy()
    graph.drop_unused()
    graph.verify()
    changed = True
    while changed:
        changed = False
        for run in PASSES:
            if run(graph):
                changed = True
                graph.verify()
    tidy_names(graph)
    return graph.verify()
