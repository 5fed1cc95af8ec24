"""Which channels can only be removed together: dependency groups of a canonical float graph.

Every value's last axis is labelled with units, the channels that conv2d and fully_connected make.
Operators hand units on (depthwise convolutions, pools, clips, flattening: one unit then stands for
several columns) or tie them (an add of two tensors). What is tied is one group: its channels go or
stay together, in every layer that makes or reads them. Units that reach the graph's inputs or
outputs, a softmax, or an operator that this module does not know stay.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.ops import operator

PASSING = ("average_pool2d", "max_pool2d", "clip", "unary")
#: Operators of two operands that meet element by element.
ELEMENTWISE = (
    *("add", "sub", "mul", "div", "pow", "mod", "squared_difference", "prelu"),
    *("minimum", "maximum"),
)


@dataclass(frozen=True)
class Family:
    """The groups of one chain of layers: each has one channel of every producer.

    Attributes:
        name: the first layer that makes these channels.
        producers: results of conv2d and fully_connected nodes with these channels, in order.
        groups: the ids of the groups, int[n].
    """

    name: str
    producers: tuple[str, ...]
    groups: np.ndarray


@dataclass(frozen=True)
class Channels:
    """The units of a graph.

    Attributes:
        of: for each value that is no constant the group of each index of its last axis, int[n].
        families: those that may be pruned, in execution order.
        kept: why layers are not among them, by the layer's name.
    """

    of: dict[str, np.ndarray]
    families: tuple[Family, ...]
    kept: dict[str, str]

    @property
    def count(self) -> int:
        """Channels that may be removed, each group counting once."""
        return sum(len(f.groups) for f in self.families)


def trace(graph: Graph) -> Channels:
    """Label every value of a canonical float graph with its groups."""
    return _Tracer(graph).channels()


class _Tracer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.parent: list[int] = []
        self.maker: list[str] = []  # the value that brought each unit into being
        self.frozen: dict[int, str] = {}
        self.units: dict[str, np.ndarray] = {}

    def channels(self) -> Channels:
        for name in self.graph.inputs:
            self.freeze(self.fresh(name), "they are the model's input")
        for node in self.graph.nodes:
            RULES.get(node.op, _Tracer.opaque)(self, node)
        for name in self.graph.outputs:
            self.freeze(self.units[name], "they are the model's output")
        of = {name: self.roots(units) for name, units in self.units.items()}
        return self._collect(of)

    def _collect(self, of: dict[str, np.ndarray]) -> Channels:
        kept_units = {self.root(unit): why for unit, why in self.frozen.items()}
        made = [n for n in self.graph.nodes if n.op in ("conv2d", "fully_connected")]
        makers: dict[int, list[str]] = {}
        for node in made:
            for group in dict.fromkeys(of[node.output].tolist()):
                makers.setdefault(group, []).append(node.output)
        members: dict[tuple[str, ...], list[int]] = {}
        kept: dict[str, str] = {}
        names = {n.output: n.name or n.output for n in made}
        for group, outputs in makers.items():
            if group in kept_units:
                kept |= {names[o]: kept_units[group] for o in outputs}
            else:
                members.setdefault(tuple(outputs), []).append(group)
        families = tuple(
            Family(names[outputs[0]], outputs, np.array(groups))
            for outputs, groups in members.items()
        )
        return Channels(of, families, kept)

    # ---- union-find

    def fresh(self, name: str) -> np.ndarray:
        """New units for the last axis of value `name`."""
        shape = self.graph.values[name].shape
        first, count = len(self.parent), shape[-1] if shape else 1
        self.parent += range(first, first + count)
        self.maker += [name] * count
        self.units[name] = np.arange(first, first + count)
        return self.units[name]

    def root(self, unit: int) -> int:
        while self.parent[unit] != unit:
            self.parent[unit] = unit = self.parent[self.parent[unit]]
        return unit

    def roots(self, units: np.ndarray) -> np.ndarray:
        return np.array([self.root(int(u)) for u in units], np.int64)

    def tie(self, a: np.ndarray, b: np.ndarray) -> None:
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            x, y = sorted((self.root(x), self.root(y)))
            self.parent[y] = x

    def freeze(self, units: np.ndarray, why: str) -> None:
        for unit in units.tolist():
            self.frozen.setdefault(unit, why)

    # ---- one rule per operator

    def makes(self, node: Node) -> None:
        """conv2d, fully_connected: new channels; grouped convolutions keep theirs."""
        made = self.fresh(node.output)
        if node.attrs.get("groups", 1) != 1:
            why = f"'{node.name or node.output}' is a grouped convolution"
            self.freeze(made, why)
            self.freeze(self.units[node.inputs[0]], why)

    def depthwise(self, node: Node) -> None:
        units = self.units[node.inputs[0]]
        outputs = self.graph.values[node.output].shape[-1]
        self.units[node.output] = np.repeat(units, outputs // len(units))

    def passes(self, node: Node) -> None:
        self.units[node.output] = self.units[node.inputs[0]]

    def elementwise(self, node: Node) -> None:
        outputs = self.graph.values[node.output].shape[-1]
        dynamic = [self.units[i] for i in node.inputs if not self.graph.is_constant(i)]
        full = [units for units in dynamic if len(units) == outputs]
        for units in dynamic:
            if len(units) != outputs:
                self.freeze(units, f"'{node.name or node.output}' spreads one of them over many")
        if not full:
            self.freeze(self.fresh(node.output), "they come from one number per pixel")
            return
        for units in full[1:]:
            self.tie(full[0], units)
        self.units[node.output] = full[0]

    def rearranges(self, node: Node) -> None:
        """reshape, transpose: where each index of the result's last axis is of one unit."""
        source, result = (self.graph.values[n] for n in (node.inputs[0], node.output))
        units = self.units[source.name]
        spread = np.broadcast_to(units, source.shape or (1,))
        moved = spread.transpose(node.attrs["perm"]) if node.op == "transpose" else spread
        rows = moved.reshape(-1, result.shape[-1] if result.shape else 1)
        if (rows == rows[0]).all():
            self.units[result.name] = rows[0].copy()
        else:
            why = f"'{node.name or node.output}' mixes them with other axes"
            self.freeze(units, why)
            self.freeze(self.fresh(result.name), why)

    def opaque(self, node: Node) -> None:
        """softmax, and whatever else reads all channels at once."""
        why = f"'{node.name or node.output}' ({node.op}) reads all of them at once"
        for name in node.inputs:
            if name in self.units:
                self.freeze(self.units[name], why)
        for name in node.outputs:
            self.freeze(self.fresh(name), why)


RULES = {
    "conv2d": _Tracer.makes,
    "fully_connected": _Tracer.makes,
    "depthwise_conv2d": _Tracer.depthwise,
    **dict.fromkeys(ELEMENTWISE, _Tracer.elementwise),
    "reshape": _Tracer.rearranges,
    "transpose": _Tracer.rearranges,
    **dict.fromkeys(PASSING, _Tracer.passes),
}


def remove(graph: Graph, channels: Channels, groups: Collection[int]) -> Graph:
    """A copy of `graph` without the channels of these groups: smaller constants and shapes.

    Where no layer reads the removed channels (its columns for them are zero), the result computes
    what `graph` computes.
    """
    gone = np.array(sorted(groups), np.int64)
    keep = {name: ~np.isin(units, gone) for name, units in channels.of.items()}
    out = graph.copy()
    stored: dict[str, np.ndarray] = {}  # what each constant has become for the first that reads it
    for i, node in enumerate(graph.nodes):
        operands = _operands(graph, node, keep)
        inputs = tuple(
            name if data is None else _store(out, stored, name, data)
            for name, data in zip(node.inputs, operands, strict=True)
        )
        attrs = node.attrs
        if node.op == "reshape":
            attrs = {"shape": [*node.attrs["shape"][:-1], int(keep[node.output].sum())]}
        out.nodes[i] = replace(node, inputs=inputs, attrs=attrs)
        values = [out.values[name] for name in inputs]
        [(shape, _)] = operator(node.op).infer(out.nodes[i], values)
        out.values[node.output] = replace(out.values[node.output], shape=shape)
    out.drop_unused()
    return out.verify()


def _operands(graph: Graph, node: Node, keep: dict[str, np.ndarray]) -> list[np.ndarray | None]:
    """New data of the node's constant operands; None for the others."""
    data = [graph.constants.get(name) for name in node.inputs]
    made = keep[node.output]
    if node.op in ("conv2d", "fully_connected"):
        read = keep[node.inputs[0]]
        if node.attrs.get("groups", 1) != 1:
            read = np.ones(_array(data[1]).shape[-1], bool)  # whole, as are its results
        return [None, _array(data[1])[made][..., read], _array(data[2])[made]]
    if node.op == "depthwise_conv2d":
        return [None, _array(data[1])[..., made], _array(data[2])[made]]
    return [
        d[..., made] if d is not None and d.ndim and d.shape[-1] == len(made) else d for d in data
    ]


def _array(data: np.ndarray | None) -> np.ndarray:
    assert data is not None, "weights are constants in canonical graphs"
    return data


def _store(out: Graph, stored: dict[str, np.ndarray], name: str, data: np.ndarray) -> str:
    """Put `data` in the place of constant `name`, beside it where another reader needs it else."""
    if name not in stored:
        stored[name] = data
        out.constants[name] = np.ascontiguousarray(data)
        out.values[name] = replace(out.values[name], shape=data.shape)
    elif not np.array_equal(stored[name], data):
        return out.add_constant(name, np.ascontiguousarray(data))
    return name
