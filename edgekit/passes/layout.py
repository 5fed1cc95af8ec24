"""Remove transposes, so that images are NHWC from the inputs to the outputs.

A transpose is moved towards the outputs, operator by operator, until it meets its inverse, an
input or output that may be declared in the other layout, or weights that can be permuted.

1. A graph input that is transposed from NCHW to NHWC, at once or behind operators of rules 3 and 4,
   is declared NHWC; `metadata["layout"]` notes what the model file said, and a transpose back
   serves all other readers.
2. A graph output that is NHWC transposed to NCHW is declared NHWC and noted in the same way.
3. A transpose in front of an operator with one operand that has axes (`edgekit.passes.sink`) moves
   behind it: element by element, along axes by name, or over the last axis where that stays.
4. A transpose in front of an operator with several operands moves behind it where every other
   operand has the same transpose, is a constant (which is permuted), has one element at most in the
   axes that move (a reshape then permutes it), or is an input that rule 1 may declare.
5. fully_connected of a reshape of a transpose reads the numbers untransposed with its weights
   permuted.
6. A transpose of a constant is done at once.
7. A transpose in front of a reshape moves behind it where `edgekit.passes.regroup` says so.
8. A transpose that moves only axes of size 1 becomes a reshape (after rules 1 to 7 have settled).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node, Shape, Value
from edgekit.ops import operator
from edgekit.passes.edit import (
    add_constant,
    fresh,
    make,
    redirect,
    rename,
    replace_node,
    with_inputs,
)
from edgekit.passes.identities import identities
from edgekit.passes.regroup import regroup
from edgekit.passes.sink import ELEMENTWISE, JOINT, MOVES, moved

TO_NHWC = [0, 2, 3, 1]
TO_NCHW = [0, 3, 1, 2]


def layout(graph: Graph) -> bool:
    """Apply the rules until nothing changes; returns whether anything did."""
    changed = False
    while _rules_1_to_7(graph) or _rule_8(graph):
        changed = True
        graph.drop_unused()
        identities(graph)
    return changed


def _rules_1_to_7(graph: Graph) -> bool:
    done = _inputs(graph) or _outputs(graph)
    for name in [n.output for n in graph.nodes]:
        node = graph.producer(name)
        if node is not None:
            done |= (
                _sink(graph, node)
                or _permute_weights(graph, node)
                or _constant(graph, node)
                or regroup(graph, node)
            )
    return done


def _rule_8(graph: Graph) -> bool:
    changed = False
    for node in list(graph.nodes):
        shape = graph.values[node.inputs[0]].shape
        if node.op == "transpose" and _moves_units_only(shape, node.attrs["perm"]):
            attrs = {"shape": list(graph.values[node.output].shape)}
            replace_node(graph, node, replace(node, op="reshape", attrs=attrs))
            changed = True
    return changed


def _moves_units_only(shape: Shape, perm: list[int]) -> bool:
    order = [p for p in perm if shape[p] != 1]
    return order == sorted(order)


def _note(graph: Graph, name: str) -> None:
    graph.metadata["layout"] = {**graph.metadata.get("layout", {}), name: "NCHW"}


def _inputs(graph: Graph) -> bool:
    changed = False
    for name in graph.inputs:
        value = graph.values[name]
        noted = name in graph.metadata.get("layout", {})
        if noted or len(value.shape) != 4 or name in graph.outputs:
            continue
        if not _wanted_as_nhwc(graph, name):
            continue
        n, c, h, w = value.shape
        old = fresh(graph, name)
        redirect(graph, name, old)
        graph.add_value(replace(value, name=old))
        graph.add_value(replace(value, shape=(n, h, w, c)))
        graph.nodes.insert(
            0, Node("transpose", (name,), (old,), {"perm": TO_NCHW}, f"input {name}")
        )
        _note(graph, name)
        changed = True
    return changed


def _wanted_as_nhwc(graph: Graph, name: str) -> bool:
    """Whether a transpose to NHWC reads `name` or what elementwise operators make of it."""
    reached = {name}
    for node in graph.nodes:
        if not reached.intersection(node.inputs):
            continue
        if node.op == "transpose" and node.attrs["perm"] == TO_NHWC:
            return True
        if node.op in MOVES and len(graph.values[node.output].shape) == 4:
            reached.update(node.outputs)
    return False


def _outputs(graph: Graph) -> bool:
    changed = False
    for name in list(graph.outputs):
        node = graph.producer(name)
        if name in graph.metadata.get("layout", {}):
            continue  # another transpose that arrives here counts
        if node is None or node.op != "transpose" or list(node.attrs["perm"]) != TO_NCHW:
            continue
        source = node.inputs[0]
        if source in graph.sources or source in graph.outputs or graph.is_constant(source):
            continue
        # Readers of the NCHW result get it from a transpose of their own.
        aside = fresh(graph, name)
        keep = list(graph.outputs)
        rename(graph, name, aside)
        rename(graph, source, name)
        graph.outputs = keep
        _note(graph, name)
        changed = True
    return changed


def _transpose(graph: Graph, name: str) -> Node | None:
    node = graph.producer(name)
    return node if node is not None and node.op == "transpose" else None


def _sink(graph: Graph, node: Node) -> bool:
    """Rules 3 and 4: let `node` read what is in front of the transpose, transpose its result."""
    if node.op not in MOVES:
        return False
    joint = node.inputs if node.op in JOINT else node.inputs[:1]
    first = next((t for t in (_transpose(graph, i) for i in joint) if t is not None), None)
    if first is None:
        return False
    perm = list(first.attrs["perm"])
    found = moved(graph, node, perm)
    if found is None:
        return False
    attrs, behind = found
    inputs: list[str] = []
    for name in joint:
        untransposed = _untransposed(graph, name, perm, broadcast=node.op in ELEMENTWISE)
        if untransposed is None:
            return False
        inputs.append(untransposed)
    inputs += node.inputs[len(joint) :]
    inner = Node(node.op, tuple(inputs), tuple(fresh(graph, o) for o in node.outputs), attrs,
                 node.name)  # fmt: skip
    operands = [graph.values[i] for i in inputs]
    if not all(rule(inner, operands) for rule in operator(node.op).rules):
        return False  # a resize of the leading axis, for instance
    transposes = []
    inferred = operator(node.op).infer(inner, operands)
    for name, out, (shape, dtype) in zip(inner.outputs, node.outputs, inferred, strict=True):
        graph.add_value(Value(name, shape, dtype, graph.values[out].quant))
        transposes.append(Node("transpose", (name,), (out,), {"perm": behind}, node.name))
    replace_node(graph, node, inner, *transposes)
    return True


def _untransposed(graph: Graph, name: str, perm: list[int], *, broadcast: bool) -> str | None:
    """The tensor whose transpose by `perm` is `name`, or None where there is none for free.

    Args:
        broadcast: the operand may have fewer axes, or one element along some.
    """
    value = graph.values[name]
    node = _transpose(graph, name)
    if node is not None and list(node.attrs["perm"]) == perm:
        return node.inputs[0]
    if broadcast and value.size == 1 and len(value.shape) <= 1:
        return name
    if graph.is_constant(name):
        inverse = np.argsort(perm)
        data = graph.constants[name]
        data = data.reshape((1,) * (len(perm) - data.ndim) + data.shape).transpose(inverse)
        quant = value.quant
        if quant is not None and quant.axis is not None:
            axis = quant.axis + len(perm) - len(value.shape)
            quant = replace(quant, axis=perm[axis])
        return add_constant(graph, name, data, quant)
    back = [int(i) for i in np.argsort(perm)]
    if len(value.shape) == len(perm) and _moves_units_only(value.shape, back):
        return _reshaped(graph, value, [value.shape[i] for i in back])
    if name in graph.inputs and perm == TO_NCHW and len(value.shape) == 4:
        # Rule 1 will declare this input NHWC: the transpose made here ends there.
        out = fresh(graph, name)
        n, c, h, w = value.shape
        graph.add_value(replace(value, name=out, shape=(n, h, w, c)))
        graph.nodes.insert(
            0, Node("transpose", (name,), (out,), {"perm": TO_NHWC}, f"input {name}")
        )
        return out
    return None


def _reshaped(graph: Graph, value: Value, shape: list[int]) -> str:
    """`value` in another shape, by a reshape directly behind where it is made."""
    out = fresh(graph, value.name)
    graph.add_value(replace(value, name=out, shape=tuple(shape)))
    reshape = Node("reshape", (value.name,), (out,), {"shape": shape}, value.name)
    maker = graph.producer(value.name)
    at = 0 if maker is None else 1 + next(i for i, n in enumerate(graph.nodes) if n is maker)
    graph.nodes.insert(at, reshape)
    return out


def _permute_weights(graph: Graph, node: Node) -> bool:
    """Rule 5."""
    if node.op != "fully_connected" or not graph.is_constant(node.inputs[1]):
        return False
    reshape = graph.producer(node.inputs[0])
    if reshape is None or reshape.op != "reshape":
        return False
    transpose = _transpose(graph, reshape.inputs[0])
    if transpose is None:
        return False
    source = graph.values[transpose.inputs[0]]
    # order[k] is the place in the source of what fully_connected reads as number k.
    order = np.arange(source.size).reshape(source.shape).transpose(transpose.attrs["perm"]).ravel()
    w = graph.constants[node.inputs[1]]
    if w.shape[1] != source.size:
        return False  # several rows
    permuted = np.empty_like(w)
    permuted[:, order] = w
    weights = add_constant(graph, node.inputs[1], permuted, graph.values[node.inputs[1]].quant)
    flat = make(graph, "reshape", transpose.inputs, {"shape": [1, source.size]}, reshape)
    replace_node(graph, node, flat, with_inputs(node, flat.output, weights, *node.inputs[2:]))
    return True


def _constant(graph: Graph, node: Node) -> bool:
    """Rule 6."""
    if node.op != "transpose" or not graph.is_constant(node.inputs[0]):
        return False
    if node.output in graph.outputs or graph.values[node.output].quant is not None:
        return False
    data = graph.constants[node.inputs[0]].transpose(node.attrs["perm"])
    graph.nodes = [n for n in graph.nodes if n is not node]
    redirect(graph, node.output, add_constant(graph, node.output, data))
    return True
