"""From a float graph whose tensors know their quantization to an integer graph.

Files in which quantization stands as operators of its own (ONNX's QuantizeLinear and
DequantizeLinear) compute on real numbers that lie on a grid. The importer writes that down as it
is: an ordinary float graph in which a value with a `Grid` is one that was rounded. Every pass
works on such a graph as on any float graph, and `to_integer` then replaces the reals by integers:

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

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Node, Quant, Value
from edgekit.importers.common import Unsupported
from edgekit.ops import operator
from edgekit.ops.base import clamp_of
from edgekit.passes.edit import fresh, replace_node
from edgekit.passes.fuse_clamp import CLAMPED, compose

#: What reads real numbers and only moves or clamps them.
MOVES = ("reshape", "transpose", "max_pool2d", "clip")
KEEPS_GRID = ("reshape", "transpose", "max_pool2d", "average_pool2d", "clip")


@dataclass(frozen=True, eq=False)
class Grid(Quant):
    """The quantization of a float32 value: its reals are integers of `dtype` on this grid.

    `dtype` is "int8" or "int16" for activations and constants, "int4" as well for weights.
    """

    dtype: str = "int8"

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and getattr(other, "dtype", self.dtype) == self.dtype

    __hash__ = Quant.__hash__


def activation_grid(scale: float | np.floating, zero_point: int, dtype: str = "int8") -> Grid:
    """A grid with one scale."""
    q = Quant.make(scale, zero_point)
    return Grid(q.scale, q.zero_point, None, dtype)


#: What a softmax gives.
SOFTMAX_GRIDS = {
    "int8": activation_grid(1 / 256, -128),
    "int16": activation_grid(1 / 32768, 0, "int16"),
}


def grid_of(value: Value) -> Grid | None:
    return value.quant if isinstance(value.quant, Grid) else None


def negated(grid: Grid | None) -> Grid | None:
    """The grid on which the negative of every number of an int8 `grid` lies: q' = -1 - q."""
    if grid is None or grid.dtype != "int8":
        return None
    return replace(grid, zero_point=-1 - grid.zero_point)


def has_activation_grids(graph: Graph) -> bool:
    """Whether the graph has quantized activations, rather than quantized constants at most."""
    return any(grid_of(v) for name, v in graph.values.items() if not graph.is_constant(name))


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
    from edgekit.importers.lowering import FloatLayer, Lowering

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


FLOAT_HELP = (
    "quantize these layers too, or give --calibration DATA: edgekit then quantizes the float "
    "network behind the model itself"
)


def float_layers_error(file: str, found: list[Unsupported]) -> EdgekitError:
    """The E120 that lists every layer of a quantized model that computes in float32."""
    kinds = Counter(u.op for u in found)
    listed = ", ".join(f"{n} {op}" for op, n in kinds.most_common())
    return EdgekitError(
        "E120",
        f"{file} is quantized in part: {len(found)} of its layers stay float ({listed})",
        help=FLOAT_HELP,
        details=[str(u) for u in found],
    )
