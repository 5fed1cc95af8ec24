"""Graphs as text and back, exactly: for tests, bug reports and reading.

One line per thing, in the order graph, metadata, inputs, constants, nodes, outputs::

    edgekit-graph 1
    graph "kws"
    metadata {"layout": {"input": "NCHW"}}
    input "x": int8[1, 4, 4, 1] scale=0.5 zero_point=-3
    constant "w": int8[2, 1, 1, 1] scale=[0.25, 0.125] zero_point=0 axis=0 = [3, -7]
    constant "b": int32[2] scale=[0.125, 0.0625] zero_point=0 axis=0 = base64 "AAAAAAEAAAA="
    node conv2d "conv" ("x", "w", "b") -> "y": int8[1, 4, 4, 2] scale=1.0 zero_point=0 {"groups": 1}
    output "y"

Strings and attributes are JSON. Float32 numbers are the shortest decimals that give the same bits;
large constants are base64 of little-endian bytes. Empty lines and lines that begin with # are
skipped. A `value` line declares a tensor that nothing above makes. A state is declared with its
initial content, ``state "h": int8[1, 2] scale=0.5 zero_point=0 = [0, 0]``, and what it holds next
is said below the nodes, ``update "h" "h_next"``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError
from edgekit.graph import DTYPES, Graph, GraphError, Node, Quant, State, Value

HEADER = "edgekit-graph 1"
INLINE = 16  # constants of up to this many elements are written as numbers


def dumps(graph: Graph) -> str:
    """The text of a graph; `loads` gives the same graph back, bit for bit."""
    lines = [HEADER, f"graph {json.dumps(graph.name)}"]
    if graph.metadata:
        lines.append(f"metadata {json.dumps(graph.metadata)}")
    lines += [f"input {_typed(graph.values[name])}" for name in graph.inputs]
    lines += [
        f"constant {_typed(graph.values[name])} = {_data(data)}"
        for name, data in graph.constants.items()
    ]
    lines += [f"state {_typed(graph.values[s.name])} = {_data(s.initial)}" for s in graph.states]
    made = {*graph.sources, *graph.constants, *(o for n in graph.nodes for o in n.outputs)}
    lines += [f"value {_typed(v)}" for name, v in graph.values.items() if name not in made]
    for node in graph.nodes:
        inputs = ", ".join(json.dumps(i) for i in node.inputs)
        outputs = ", ".join(_typed(graph.values[o]) for o in node.outputs)
        attrs = f" {json.dumps(node.attrs)}" if node.attrs else ""
        lines.append(f"node {node.op} {json.dumps(node.name)} ({inputs}) -> {outputs}{attrs}")
    lines += [f"update {json.dumps(s.name)} {json.dumps(s.next)}" for s in graph.states]
    lines += [f"output {json.dumps(name)}" for name in graph.outputs]
    return "\n".join(lines) + "\n"


def _typed(value: Value) -> str:
    text = f"{json.dumps(value.name)}: {value.dtype}{list(value.shape)}"
    q = value.quant
    if q is None:
        return text
    scales = [_decimal(s) for s in q.scale]
    zeros = q.zero_point.tolist()
    zero = str(zeros[0]) if len(set(zeros)) == 1 else json.dumps(zeros)
    if q.axis is None and len(scales) == 1:
        return f"{text} scale={scales[0]} zero_point={zero}"
    axis = "" if q.axis is None else f" axis={q.axis}"
    return f"{text} scale=[{', '.join(scales)}] zero_point={zero}{axis}"


def _decimal(x: np.floating) -> str:
    """The shortest decimal that gives the same float32 (through float64, as JSON reads it)."""
    short = str(x)
    return short if np.float32(float(short)) == x else repr(float(x))


def _data(data: np.ndarray) -> str:
    if data.size <= INLINE and (data.dtype.kind != "f" or np.isfinite(data).all()):
        flat = data.reshape(-1)
        if data.dtype.kind == "f":
            return f"[{', '.join(_decimal(x) for x in flat)}]"
        return json.dumps([int(x) for x in flat])
    raw = np.ascontiguousarray(data).astype(data.dtype.newbyteorder("<")).tobytes()
    return f'base64 "{base64.b64encode(raw).decode()}"'


class _Line:
    """A cursor over one line."""

    def __init__(self, text: str, number: int) -> None:
        self.text, self.number, self.at = text, number, 0

    def error(self, message: str) -> EdgekitError:
        return EdgekitError(
            "E108",
            f"line {self.number}, column {self.at + 1}: {message}",
            help="edgekit/text.py describes the format",
        )

    def take(self, pattern: str, what: str = "") -> str:
        """What matches the regular expression here; an error where nothing does and `what`."""
        found = re.compile(rf"\s*({pattern})").match(self.text, self.at)
        if found is None:
            if what:
                raise self.error(f"expected {what}")
            return ""
        self.at = found.end()
        return found.group(1)

    def json(self, what: str) -> Any:
        self.take("")
        try:
            value, self.at = json.JSONDecoder().raw_decode(self.text, self.at)
        except (ValueError, RecursionError):
            raise self.error(f"expected {what}") from None
        return value

    def string(self, what: str) -> str:
        value = self.json(what)
        if not isinstance(value, str):
            raise self.error(f"expected {what}")
        return value

    def integers(self, what: str) -> list[int]:
        value = self.json(what)
        if not isinstance(value, list) or any(type(v) is not int for v in value):
            raise self.error(f"expected {what}")
        return value

    def object(self, what: str) -> dict[str, Any]:
        value = self.json(what)
        if not isinstance(value, dict):
            raise self.error(f"expected {what}")
        return value

    def more(self) -> bool:
        return bool(self.text[self.at :].strip())

    def end(self) -> None:
        if self.more():
            raise self.error(f"unexpected '{self.text[self.at :].strip()[:20]}'")


def loads(text: str) -> Graph:
    """The graph of a text that `dumps` wrote, or that somebody wrote by hand; verified.

    Raises:
        EdgekitError: E108 with the line and column, or with the rule that the graph breaks.
    """
    lines = [_Line(line, i) for i, line in enumerate(text.split("\n"), 1)]
    lines = [line for line in lines if line.text.strip() and not line.text.lstrip().startswith("#")]
    if not lines or lines[0].text.strip() != HEADER:
        raise (lines[0] if lines else _Line("", 1)).error(f"expected '{HEADER}'")
    graph = Graph("")
    for line in lines[1:]:
        _statement(graph, line)
        line.end()
    try:
        return graph.verify()
    except GraphError as error:
        raise EdgekitError("E108", f"the graph is not legal: {error}") from None


def _statement(graph: Graph, line: _Line) -> None:
    word = line.take(r"\w+", "a keyword")
    if word == "graph":
        graph.name = line.string("the graph's name")
    elif word == "metadata":
        graph.metadata = line.object("a JSON object")
    elif word == "input":
        graph.inputs.append(_value(graph, line).name)
    elif word == "value":
        _value(graph, line)
    elif word == "constant":
        value = _value(graph, line)
        line.take("=", "'='")
        graph.constants[value.name] = _constant(line, value)
    elif word == "state":
        value = _value(graph, line)
        line.take("=", "'='")
        graph.states.append(State(value.name, "", _constant(line, value)))
    elif word == "update":
        _update(graph, line)
    elif word == "node":
        _node(graph, line)
    elif word == "output":
        name = line.string("a name")
        if name not in graph.values:
            raise line.error(f"output '{name}' is not defined above")
        graph.outputs.append(name)
    else:
        raise line.error(f"unknown keyword '{word}'")


def _update(graph: Graph, line: _Line) -> None:
    name, following = line.string("a state's name"), line.string("a name")
    at = next((i for i, state in enumerate(graph.states) if state.name == name), None)
    if at is None:
        raise line.error(f"there is no state '{name}' above")
    graph.states[at] = replace(graph.states[at], next=following)


def _node(graph: Graph, line: _Line) -> None:
    from edgekit.ops import operators

    op = line.take(r"\w+", "an operator")
    if op not in operators():
        raise line.error(f"unknown operator '{op}'")
    name = line.string("the node's name")
    line.take(r"\(", "'('")
    inputs: list[str] = []
    while not line.take(r"\)"):
        if inputs:
            line.take(",", "',' or ')'")
        inputs.append(line.string("an operand's name"))
        if inputs[-1] not in graph.values:
            raise line.error(f"operand '{inputs[-1]}' is not defined above")
    line.take("->", "'->'")
    outputs = [_value(graph, line).name]
    while line.take(","):
        outputs.append(_value(graph, line).name)
    attrs = line.object("attributes") if line.more() else {}
    graph.nodes.append(Node(op, tuple(inputs), tuple(outputs), attrs, name))


def _value(graph: Graph, line: _Line) -> Value:
    name = line.string("a name")
    if name in graph.values:
        raise line.error(f"'{name}' is defined twice")
    line.take(":", "':'")
    dtype = line.take(r"\w+", "a data type")
    if dtype not in DTYPES:
        raise line.error(f"unknown data type '{dtype}'")
    shape = tuple(line.integers("a shape like [1, 2]"))
    value = Value(name, shape, dtype, _quant(line))
    graph.add_value(value)
    return value


def _quant(line: _Line) -> Quant | None:
    if not line.take("scale="):
        return None
    scale = line.json("a scale")
    line.take("zero_point=", "zero_point=")
    zero = line.json("a zero point")
    axis = int(line.take(r"-?\d{1,9}", "an axis")) if line.take("axis=") else None
    try:
        quant = Quant.make(scale, zero, axis)
    except (ValueError, TypeError, OverflowError):
        raise line.error("scale and zero point must be numbers or lists of numbers") from None
    if quant.scale.ndim != 1 or quant.scale.shape != quant.zero_point.shape:
        raise line.error(f"{quant.scale.size} scales and {quant.zero_point.size} zero points")
    return quant


def _constant(line: _Line, value: Value) -> np.ndarray:
    dtype = np.dtype(value.dtype)
    if line.take("base64"):
        try:
            raw = base64.b64decode(line.string("base64 data"), validate=True)
        except (binascii.Error, ValueError):
            raise line.error("this is not base64") from None
        if len(raw) != value.size * dtype.itemsize:
            raise line.error(f"'{value.name}' needs {value.nbytes} bytes, {len(raw)} are given")
        return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(value.shape)
    numbers = line.json("a list of numbers or base64")
    if not isinstance(numbers, list) or len(numbers) != value.size:
        raise line.error(f"'{value.name}' needs a list of {value.size} numbers")
    try:
        return np.array(numbers, dtype).reshape(value.shape)
    except (ValueError, TypeError, OverflowError):
        raise line.error(f"'{value.name}' cannot hold these numbers as {value.dtype}") from None
