"""From a float graph whose tensors know their quantization to an integer graph.

1. Operators that only move or compare numbers hand the grid of their operand on, and those that
   join tensors where all have one grid; a softmax and its like get the operator's own.
2. Weights become int8 on their grid, biases int32 with scale = input scale x weight scale.
   Weights without a grid that are one magnitude per channel (means, normalizations) are exact on a
   grid of their own; constants of add and mul without one get the one that they just fill.
3. A result that has another grid than its operator can give is requantized behind it by an open
   clip. An average pool with a finer grid becomes a depthwise convolution with equal weights,
   whose sums are exact.
4. A result that stays real because its readers round it to different grids is computed once for
   each of them.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.graph import Graph, Node
from edgekit.importers.common import Unsupported
from edgekit.importers.lowering import FloatLayer, Lowering
from edgekit.importers.quantized import KEEPS_GRID, SOFTMAX_GRIDS, Grid, grid_of
from edgekit.ops import operator
from edgekit.ops.base import clamp_of
from edgekit.passes.edit import fresh, replace_node
from edgekit.passes.fuse_clamp import CLAMPED, compose

#: What reads real numbers and only moves or clamps them.
MOVES = ("reshape", "transpose", "max_pool2d", "clip")


def to_integer(graph: Graph) -> tuple[Graph, list[Unsupported]]:
    """The integer graph of a canonical float graph with grids, and the layers that stay float.

    Where the second is not empty the graph must not be used.

    Raises:
        EdgekitError: E103 where scales are out of range of the operators' arithmetic.
    """
    graph = graph.copy()
    _propagate(graph)
    _split(graph)
    found = [
        Unsupported(name, "input", "it is not quantized: its first reader computes in float32")
        for name in graph.inputs
        if grid_of(graph.values[name]) is None
    ]
    lowering = Lowering(graph)
    for node in graph.nodes:
        try:
            lowering.node(node)
        except FloatLayer as reason:
            found.append(Unsupported(node.name or node.output, node.op, str(reason)))
            lowering.leave_out(node)
    return (graph, found) if found else (lowering.result.verify(), [])


def _propagate(graph: Graph) -> None:
    """Rule 1."""
    for node in graph.nodes:
        out = graph.values[node.output]
        if out.quant is not None or out.dtype != "float32":
            continue
        grids = [
            grid_of(graph.values[name])
            for name in node.inputs
            if graph.values[name].dtype == "float32" and not graph.is_constant(name)
        ]
        grid = _handed_on(node, [g for g in grids if g is not None]) if all(grids) else None
        if grid is not None:
            graph.values[out.name] = replace(out, quant=grid)


def _handed_on(node: Node, grids: list[Grid]) -> Grid | None:
    """The grid that a result has by its operator and operands alone."""
    if not grids:
        return None
    kind, first = operator(node.op).grid_for(node), grids[0]
    if node.op == "softmax":
        return SOFTMAX_GRIDS[first.dtype]
    if kind == "fixed":
        q = operator(node.op).fixed_quant(node, first.dtype)
        return Grid(q.scale, q.zero_point, None, first.dtype)
    if node.op in KEEPS_GRID or kind == "operand":
        return first
    return first if kind == "operands" and all(g == first for g in grids) else None


def _split(graph: Graph) -> None:
    """Rule 4."""
    for node in reversed(list(graph.nodes)):
        readers = graph.consumers(node.output)
        if graph.values[node.output].quant is not None or node.output in graph.outputs:
            continue
        if not readers or not all(
            r.op in MOVES and grid_of(graph.values[r.output]) for r in readers
        ):
            continue
        copies = []
        for reader in readers:
            grid = graph.values[reader.output].quant
            if reader.op == "clip" and node.op in CLAMPED:
                attrs = {**node.attrs, "clamp": compose(clamp_of(node), clamp_of(reader))}
                copies.append(replace(node, outputs=reader.outputs, attrs=attrs))
                replace_node(graph, reader)
                continue
            name = fresh(graph, node.output)
            graph.add_value(replace(graph.values[node.output], name=name, quant=grid))
            copies.append(replace(node, outputs=(name,)))
            replace_node(graph, reader, replace(reader, inputs=(name,)))
        replace_node(graph, node, *copies)
