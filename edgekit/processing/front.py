"""Nodes that are put in front of an input of a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.graph import Graph, Node, Quant, Shape, Value
from edgekit.ops import operator
from edgekit.ops.audio_features import PCM
from edgekit.ops.rescale import PIXELS

#: How the raw input of each kind is stored: dtype and quantization.
RAW: dict[str, tuple[str, Quant]] = {"audio": ("int16", PCM), "image": ("int8", PIXELS)}


class Front:
    """Collects the nodes that make the input `name` of `graph`.

    `target` is the value that the model reads, `integer` whether it is quantized.
    """

    def __init__(self, graph: Graph, name: str, kind: str) -> None:
        self.graph, self.kind = graph, kind
        self.target: Value = graph.values[name]
        self.integer = self.target.quant is not None
        self.nodes: list[Node] = []
        self.raw = ""

    def samples(self, shape: Shape) -> str:
        """The new graph input: samples or pixels."""
        dtype, quant = RAW[self.kind]
        self.raw = self.graph.fresh(self.kind)
        value = Value(self.raw, shape, dtype, quant) if self.integer else Value(self.raw, shape)
        return self.graph.add_value(value)

    def constant(self, name: str, data: np.ndarray) -> str:
        return self.graph.add_constant(name, data)

    def emit(
        self, op: str, inputs: Sequence[str], attrs: dict[str, Any], *, last: bool = False
    ) -> str:
        """A node; its result is what the model reads where it is the `last`.

        In an integer graph results have the grid of their operand, the one that the operator fixes,
        or, of what has a grid of its own, the model's input.
        """
        values = [self.graph.values[i] for i in inputs]
        known, dtype = operator(op), values[0].dtype
        if self.integer and known.grid == "own" and dtype != self.target.dtype:
            attrs, dtype = {**attrs, "out_dtype": self.target.dtype}, self.target.dtype
        name = self.target.name if last else self.graph.fresh(f"{self.raw}_{op}")
        node = Node(op, tuple(inputs), (name,), attrs, name if not last else f"{self.raw}_{op}")
        [(shape, dtype)] = known.checked(node, values)
        if not last:
            quant = None
            if self.integer:
                own = {"operand": values[0].quant, "own": self.target.quant}
                quant = known.fixed_quant(node, dtype) if known.grid == "fixed" else own[known.grid]
            self.graph.add_value(Value(name, shape, dtype, quant))
        self.nodes.append(node)
        return name

    def finish(self) -> Graph:
        """The graph with the nodes in front."""
        g = self.graph
        g.nodes = [*self.nodes, *g.nodes]
        g.inputs = [self.raw if n == self.target.name else n for n in g.inputs]
        layouts = {k: v for k, v in g.metadata.get("layout", {}).items() if k != self.target.name}
        dtype, quant = RAW[self.kind]
        formats = {self.raw: [dtype, float(quant.scale[0]), int(quant.zero_point[0])]}
        raw = {**g.metadata.get("raw_inputs", {}), **formats}
        g.metadata = {**g.metadata, "layout": layouts, "raw_inputs": raw}
        if not layouts:
            del g.metadata["layout"]
        return g

    def rename(self, node: Node, **changes: Any) -> None:
        at = next(i for i, n in enumerate(self.graph.nodes) if n is node)
        self.graph.nodes[at] = replace(node, **changes)
