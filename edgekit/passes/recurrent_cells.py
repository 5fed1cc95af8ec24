"""Undo how exporters take one step of an LSTM or a GRU apart.

Float graphs only. L(v) below is linear in a vector v [1, n]: fully connected layers with constant
weights, their sums and parts. Every gate is a function of L(x) + L(h) with the same x and h; sums
and products may have their operands in either order, rows of weights any order.

1. c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c'): an lstm of one step.
2. n = tanh(L(x) + sigmoid(r) L(h)) and h' = (h - n) sigmoid(z) + n, or h' = (1 - sigmoid(z)) n +
   sigmoid(z) h: a gru of one step, linear before reset.
3. The same with n = tanh(L(x) + L(sigmoid(r) h)): not linear before reset.

As operators of their own such steps would keep c and h in the grids of activations; an lstm or gru
keeps what adds up over steps in 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgekit.graph import Graph, Node, Value
from edgekit.ops import operator
from edgekit.passes.edit import add_constant, fresh, is_float, make
from edgekit.passes.match import made_by, number, unary_of, with_number

#: How deep sums and parts of linear terms may be nested.
DEPTH = 6


@dataclass(frozen=True)
class Linear:
    """weights [rows, n] times vectors [1, n] by their names, plus a bias [rows]."""

    terms: dict[str, np.ndarray]
    bias: np.ndarray

    def __add__(self, other: Linear) -> Linear:
        terms = dict(self.terms)
        for name, w in other.terms.items():
            terms[name] = terms[name] + w if name in terms else w
        return Linear(terms, self.bias + other.bias)

    def part(self, rows: slice) -> Linear:
        return Linear({n: w[rows] for n, w in self.terms.items()}, self.bias[rows])


def recurrent_cells(graph: Graph) -> bool:
    """Apply the rules until nothing changes; returns whether anything did."""
    changed = False
    while any(_once(graph, node) for node in list(graph.nodes)):
        graph.drop_unused()
        changed = True
    return changed


def _once(graph: Graph, node: Node) -> bool:
    if not is_float(graph, node.output) or graph.values[node.output].shape[:1] != (1,):
        return False
    if len(graph.values[node.output].shape) != 2:
        return False
    return (node.op == "mul" and _lstm(graph, node)) or (node.op == "add" and _gru(graph, node))


def linear(graph: Graph, name: str, depth: int = DEPTH) -> Linear | None:
    """A vector as a sum of weighted vectors, None where it is more than that."""
    value = graph.values[name]
    if not is_float(graph, name) or value.shape[-1:] != (value.size,):
        return None
    if graph.is_constant(name):
        return Linear({}, graph.constants[name].reshape(-1))
    node = graph.producer(name)
    if node is None or depth == 0 or node.attrs.get("clamp"):
        return None
    if node.op == "fully_connected" and all(graph.is_constant(i) for i in node.inputs[1:]):
        w, bias = (graph.constants[i] for i in node.inputs[1:])
        whole = len(graph.values[node.inputs[0]].shape) == 2
        return Linear({node.inputs[0]: w}, bias) if whole else None
    if node.op == "add":
        a, b = (linear(graph, i, depth - 1) for i in node.inputs)
        same = a is not None and b is not None and a.bias.shape == b.bias.shape
        return a + b if same and a is not None and b is not None else None
    if node.op == "reshape":
        return linear(graph, node.inputs[0], depth - 1)
    if node.op == "slice":
        inner = linear(graph, node.inputs[0], depth - 1)
        cut = slice(*(node.attrs[k][-1] for k in ("starts", "stops", "steps")))
        return inner.part(cut) if inner is not None else None
    return None


def _pairs(graph: Graph, name: str, op: str) -> Iterator[tuple[str, str]]:
    """The operands of the `op` that makes `name`, in both orders; they are no broadcasts."""
    node = made_by(graph, name, op)
    if node is None or any(graph.values[i].shape != graph.values[name].shape for i in node.inputs):
        return
    yield node.inputs[0], node.inputs[1]
    yield node.inputs[1], node.inputs[0]


def _gate(graph: Graph, name: str, function: str) -> Linear | None:
    """The linear x of ``name = function(x)``."""
    inner = unary_of(graph, name, function)
    return linear(graph, inner) if inner is not None else None


def _sources(graph: Graph, gates: list[Linear], units: int) -> tuple[str, str] | None:
    """(x, h): the two vectors that all gates read; h has as many elements as the cell.

    Where both have, h is the one that more looks like a state: what gates read last.
    """
    names = list(gates[0].terms)
    if len(names) != 2 or any(set(g.terms) != set(names) for g in gates):
        return None
    if any(graph.is_constant(n) for n in names):
        return None
    wide = [n for n in names if gates[0].terms[n].shape[1] == units]
    if not wide:
        return None
    h = wide[0] if len(wide) == 1 else names[0]
    return (names[1] if h == names[0] else names[0]), h


def _lstm(graph: Graph, node: Node) -> bool:
    for o_name, tanh_c in _pairs(graph, node.output, "mul"):
        c_name, o = unary_of(graph, tanh_c, "tanh"), _gate(graph, o_name, "sigmoid")
        if c_name is None or o is None or graph.producer(c_name) is None:
            continue
        for kept, added in _pairs(graph, c_name, "add"):
            for f_name, c in _pairs(graph, kept, "mul"):
                for i_name, g_name in _pairs(graph, added, "mul"):
                    f, i = (_gate(graph, n, "sigmoid") for n in (f_name, i_name))
                    g = _gate(graph, g_name, "tanh")
                    if f is not None and i is not None and g is not None:
                        return _put_lstm(graph, node, (c_name, c), [i, f, g, o])
    return False


def _put_lstm(graph: Graph, node: Node, cell: tuple[str, str], gates: list[Linear]) -> bool:
    c_name, c = cell
    units = len(gates[0].bias)
    found = _sources(graph, gates, units)
    if found is None or any(len(g.bias) != units for g in gates):
        return False
    x, h = found
    if graph.values[c].shape != (1, units):
        return False
    w, r = (np.concatenate([g.terms[n] for g in gates]) for n in (x, h))
    bias = np.concatenate([g.bias for g in gates])
    _put(graph, "lstm", x, [h, c], [w, r, bias], {}, node, [node.output, c_name])
    return True


def _gru(graph: Graph, node: Node) -> bool:
    for h, z, n_name in _mixtures(graph, node.output):
        new, update = unary_of(graph, n_name, "tanh"), _gate(graph, z, "sigmoid")
        if new is None or update is None:
            continue
        for of_x, of_h in _pairs(graph, new, "add"):
            x_term = linear(graph, of_x)
            if x_term is None or len(x_term.terms) != 1:
                continue
            after = _reset_after(graph, of_h, h) or _reset_before(graph, of_h, h)
            if after is not None and _put_gru(graph, node, h, update, x_term, *after):
                return True
    return False


def _mixtures(graph: Graph, name: str) -> Iterator[tuple[str, str, str]]:
    """(h, z, n) of ``name = (h - n) z + n`` or ``(1 - z) n + z h``."""
    for left, right in _pairs(graph, name, "add"):
        for a, b in _pairs(graph, left, "mul"):
            difference = made_by(graph, a, "sub")
            if difference is not None and difference.inputs[1] == right:
                yield difference.inputs[0], b, right
            z = _complement(graph, a)
            for c, d in _pairs(graph, right, "mul"):
                if c == z:
                    yield d, z, b


def _complement(graph: Graph, name: str) -> str | None:
    """The z of ``name = 1 - z``, also as ``-1 z + 1``."""
    difference = made_by(graph, name, "sub")
    if difference is not None and number(graph, difference.inputs[0]) == 1.0:
        return difference.inputs[1]
    total = with_number(graph, name, "add")
    product = with_number(graph, total[0], "mul") if total and total[1] == 1.0 else None
    return product[0] if product and product[1] == -1.0 else None


def _reset_after(graph: Graph, name: str, h: str) -> tuple[Linear, Linear, bool] | None:
    """(reset gate, linear part, True) of ``sigmoid(r) L(h)``."""
    for a, b in _pairs(graph, name, "mul"):
        reset, part = _gate(graph, a, "sigmoid"), linear(graph, b)
        if reset is not None and part is not None and list(part.terms) == [h]:
            return reset, part, True
    return None


def _reset_before(graph: Graph, name: str, h: str) -> tuple[Linear, Linear, bool] | None:
    """(reset gate, linear part, False) of ``L(sigmoid(r) h)``."""
    part = linear(graph, name)
    if part is None or len(part.terms) != 1:
        return None
    [(inner, w)] = part.terms.items()
    for a, b in _pairs(graph, inner, "mul"):
        reset = _gate(graph, a, "sigmoid")
        if b == h and reset is not None:
            return reset, Linear({h: w}, part.bias), False
    return None


def _put_gru(
    graph: Graph,
    node: Node,
    h: str,
    update: Linear,
    x_term: Linear,
    reset: Linear,
    h_term: Linear,
    after: bool,
) -> bool:
    units, x = len(update.bias), next(iter(x_term.terms))
    parts = (update, reset, x_term, h_term)
    if any(len(p.bias) != units for p in parts) or graph.values[h].shape != (1, units):
        return False
    if x == h or graph.is_constant(x) or any(set(gate.terms) != {x, h} for gate in (update, reset)):
        return False
    w = np.concatenate([update.terms[x], reset.terms[x], x_term.terms[x]])
    r = np.concatenate([update.terms[h], reset.terms[h], h_term.terms[h]])
    bias = np.concatenate([update.bias, reset.bias, x_term.bias])
    attrs = {"linear_before_reset": after}
    _put(graph, "gru", x, [h], [w, r, bias, h_term.bias], attrs, node, [node.output])
    return True


def _put(
    graph: Graph,
    op: str,
    x: str,
    states: list[str],
    weights: list[np.ndarray],
    attrs: dict[str, bool],
    node: Node,
    results: list[str],
) -> None:
    """Put a cell where the first of `results` is made; their makers leave the graph."""
    steps = make(graph, "reshape", [x], {"shape": [1, 1, graph.values[x].shape[1]]}, node)
    names = [
        add_constant(graph, f"{node.name or op}:{what}", np.ascontiguousarray(data, np.float32))
        for what, data in zip(("W", "R", "bias", "inner bias"), weights, strict=False)
    ]
    y = fresh(graph, results[0])
    cell = Node(
        op, (steps.output, *states, *names), (y, *results), {"reverse": False, **attrs}, node.name
    )
    operands = [graph.values[i] for i in cell.inputs]
    [(shape, dtype), *_] = operator(op).checked(cell, operands)
    graph.add_value(Value(y, shape, dtype))
    # Every result depends on all operands: where the first is made, these are.
    at = min(i for i, n in enumerate(graph.nodes) if set(n.outputs) & set(results))
    kept = [n for n in graph.nodes[at:] if not set(n.outputs) & set(results)]
    graph.nodes[at:] = [steps, cell, *kept]
