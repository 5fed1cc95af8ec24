"""Nodes of an ONNX file as plain Python: operands by name, attributes as values.

A subgraph (of If, Loop, Scan) and the body of a function are a `Body`; a name that it reads and
neither makes nor declares belongs to the graph around it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.importers.common import invalid, printable
from edgekit.importers.onnx.tensor import tensor


@dataclass
class OnnxNode:
    """One node; an absent optional input is ''."""

    op: str
    domain: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any]
    #: The version of the default domain by which the node is read.
    opset: int = 0
    #: Which of several functions of one name is meant.
    overload: str = ""

    def integer(self, key: str, default: int) -> int:
        """An integer attribute; the readers below raise EdgekitError (E103) on another type."""
        return int(self._typed(key, int, "an integer", default))

    def number(self, key: str, default: float) -> float:
        return float(self._typed(key, float, "a number", default))

    def text(self, key: str, default: str) -> str:
        return str(self._typed(key, str, "a string", default))

    def integers(self, key: str) -> list[int] | None:
        """A list of integers, None where the attribute is absent."""
        value = self._typed(key, list, "a list of integers", None)
        if value is not None and any(type(v) is not int for v in value):
            raise invalid(f"node '{self.name}' ({self.op}): '{key}' must be a list of integers")
        return value

    def body(self, key: str) -> Body:
        """A subgraph; raises EdgekitError (E103) where it is absent."""
        value = self._typed(key, Body, "a graph", None)
        if value is None:
            raise invalid(f"node '{self.name}' ({self.op}) has no '{key}'")
        assert isinstance(value, Body)
        return value

    def _typed(self, key: str, kind: type, what: str, default: Any) -> Any:
        value = self.attrs.get(key, default)
        if key in self.attrs and not isinstance(value, kind):
            raise invalid(f"node '{self.name}' ({self.op}): '{key}' must be {what}")
        return value


@dataclass(frozen=True)
class Parameter:
    """An attribute inside a function that stands for one of the function's own."""

    name: str


@dataclass
class Body:
    """Nodes in an order in which they can run, with what goes in and what comes out."""

    name: str
    inputs: list[str]
    outputs: list[str]
    nodes: list[OnnxNode]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    #: Attributes of a function with their defaults.
    attrs: dict[str, Any] = field(default_factory=dict)


def operand(node: OnnxNode, index: int) -> str:
    """Name of operand `index`, '' where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else ""


def opset_of(imports: Any, default: int = 0) -> int:
    """The version of the default domain among the opset imports of a model or function."""
    return next((o.version for o in imports if o.domain in ("", "ai.onnx")), default)


def decode_node(n: Any, index: int, folder: Path, opset: int) -> OnnxNode:
    """A NodeProto in plain Python; external data is looked for in `folder`."""
    inputs, outputs = ([printable(i) for i in names] for names in (n.input, n.output))
    name = printable(n.name) or next((o for o in outputs if o), f"node {index}")
    attrs = {printable(a.name): _attribute(a, name, folder, opset) for a in n.attribute}
    domain = "" if n.domain == "ai.onnx" else printable(n.domain)
    op, overload = printable(n.op_type), printable(n.overload)
    return OnnxNode(op, domain, name, inputs, outputs, attrs, opset, overload)


def _attribute(a: Any, node: str, folder: Path, opset: int) -> Any:
    import onnx

    kinds = onnx.AttributeProto
    if a.ref_attr_name:
        return Parameter(printable(a.ref_attr_name))
    if a.type == kinds.TENSOR:
        return tensor(a.t, folder, f"attribute '{printable(a.name)}' of '{node}'")
    if a.type == kinds.STRING:
        return a.s.decode("utf-8", "replace")
    if a.type == kinds.STRINGS:
        return [s.decode("utf-8", "replace") for s in a.strings]
    if a.type == kinds.GRAPH:
        return decode_body(a.g, folder, opset)
    if a.type in (kinds.FLOAT, kinds.INT, kinds.FLOATS, kinds.INTS):
        value = onnx.helper.get_attribute_value(a)
        return list(value) if a.type in (kinds.FLOATS, kinds.INTS) else value
    return None


def decode_body(graph: Any, folder: Path, opset: int) -> Body:
    """The Body of a GraphProto inside a node."""
    if graph.sparse_initializer:
        raise EdgekitError(
            "E106",
            f"'{printable(graph.name)}' holds {len(graph.sparse_initializer)} sparse tensors",
            help="export the model with dense weights",
        )
    constants = {printable(t.name): tensor(t, folder) for t in graph.initializer}
    inputs = [n for v in graph.input if (n := printable(v.name)) not in constants]
    nodes = [decode_node(n, i, folder, opset) for i, n in enumerate(graph.node)]
    outputs = [printable(o.name) for o in graph.output]
    nodes = in_order(nodes, {*inputs, *constants}, outer=True)
    return Body(printable(graph.name), inputs, outputs, nodes, constants)


def decode_function(f: Any, folder: Path, opset: int) -> Body:
    """The Body of a FunctionProto; `opset` is the model's, where the function names none."""
    opset = opset_of(f.opset_import, opset)
    nodes = [decode_node(n, i, folder, opset) for i, n in enumerate(f.node)]
    inputs = [printable(i) for i in f.input]
    attrs = {
        printable(a.name): _attribute(a, printable(f.name), folder, opset)
        for a in f.attribute_proto
    }
    return Body(
        printable(f.name),
        inputs,
        [printable(o) for o in f.output],
        in_order(nodes, set(inputs)),
        attrs=attrs,
    )


def in_order(
    nodes: list[OnnxNode], known: Collection[str], *, outer: bool = False
) -> list[OnnxNode]:
    """The nodes with every definition before its uses, otherwise in the order of the file.

    Args:
        known: names that are there before the first node.
        outer: allow names that nothing here makes: they belong to the graph around.

    Raises:
        EdgekitError: E103 naming an undefined name, a double definition or a cycle.
    """
    maker: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for out in filter(None, node.outputs):
            if out in maker or out in known:
                raise invalid(f"'{out}' is defined twice (node '{node.name}')")
            maker[out] = i
    reads = [reads_of(node) for node in nodes]
    for node, names in zip(nodes, reads, strict=True):
        for name in names:
            if name not in maker and name not in known and not outer:
                raise invalid(f"node '{node.name}' ({node.op}) reads '{name}', which nothing makes")
    order: list[OnnxNode] = []
    state = [0] * len(nodes)  # 0 untouched, 1 waiting for its inputs, 2 placed
    for start in range(len(nodes)):
        stack = [start]
        while stack:
            i = stack[-1]
            if state[i] == 2:
                stack.pop()
                continue
            wait = [maker[n] for n in reads[i] if n in maker and state[maker[n]] != 2]
            if not wait:
                state[i] = 2
                order.append(nodes[stack.pop()])
                continue
            if state[i] == 1 and any(state[w] == 1 for w in wait):
                raise invalid(f"the graph has a cycle through node '{nodes[i].name}'")
            state[i] = 1
            stack.extend(reversed(wait))
    return order


def reads_of(node: OnnxNode) -> list[str]:
    """Every name that a node reads, what its subgraphs take from the graph around included."""
    reads = [i for i in node.inputs if i]
    for value in node.attrs.values():
        if isinstance(value, Body):
            made = {*value.inputs, *value.constants, *(o for n in value.nodes for o in n.outputs)}
            inner = [i for n in value.nodes for i in reads_of(n)]
            reads += [n for n in (*inner, *value.outputs) if n and n not in made]
    return reads
