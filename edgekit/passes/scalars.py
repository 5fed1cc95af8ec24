"""Give every activation at least one axis, so that kernels need no case of their own for none.

1. A value of no axes has one of one element: inputs, results of reshapes, and all that is computed
   element by element from such values.
2. A reduction that would leave no axis keeps its axes, and a reshape to one axis follows.
3. Behind an operator whose result gets an axis more from such an operand, indices for instance, a
   reshape takes it away.
"""

from __future__ import annotations

from dataclasses import replace

from edgekit.graph import Graph, Node
from edgekit.ops import operator
from edgekit.passes.edit import fresh


def scalars(graph: Graph) -> bool:
    """Apply the rules to the whole graph; returns whether anything changed."""
    if all(v.shape for name, v in graph.values.items() if not graph.is_constant(name)):
        return False
    for name in graph.inputs:
        _widen(graph, name)
    nodes: list[Node] = []
    for node in graph.nodes:
        if all(graph.values[o].shape for o in node.outputs):
            nodes += _reshaped(graph, node)
            continue
        if node.op == "reshape":
            nodes.append(replace(node, attrs={**node.attrs, "shape": [1]}))
        elif node.op in ("reduce", "arg"):
            nodes += _kept(graph, node)
        else:
            inputs = [graph.values[i] for i in node.inputs]
            if operator(node.op).infer(node, inputs)[0][0] == ():
                # All operands are constants without axes, or indices without.
                node = replace(node, inputs=tuple(_one_axis(graph, i) for i in node.inputs))
            nodes.append(node)
        for name in node.outputs:
            _widen(graph, name)
    graph.nodes = nodes
    return True


def _reshaped(graph: Graph, node: Node) -> list[Node]:
    """Rule 3; the node itself where its result stays as it is."""
    inferred = operator(node.op).infer(node, [graph.values[i] for i in node.inputs])
    result = [node]
    for i, (shape, _) in enumerate(inferred):
        value = graph.values[node.outputs[i]]
        if shape == value.shape:
            continue
        name = fresh(graph, value.name)
        graph.add_value(replace(value, name=name, shape=shape))
        outputs = [name if k == i else o for k, o in enumerate(result[0].outputs)]
        result[0] = replace(result[0], outputs=tuple(outputs))
        attrs = {"shape": list(value.shape)}
        result.append(Node("reshape", (name,), (value.name,), attrs, node.name))
    return result


def _widen(graph: Graph, name: str) -> None:
    value = graph.values[name]
    if not value.shape:
        graph.values[name] = replace(value, shape=(1,))


def _one_axis(graph: Graph, name: str) -> str:
    """`name`, or where it is a constant without axes, its twin with one."""
    if graph.values[name].shape or not graph.is_constant(name):
        return name
    return graph.add_constant(
        fresh(graph, name), graph.constants[name].reshape(1), graph.values[name].quant
    )


def _kept(graph: Graph, node: Node) -> list[Node]:
    """Rule 2."""
    name = fresh(graph, node.output)
    inner = replace(node, outputs=(name,), attrs={**node.attrs, "keepdims": True})
    [(shape, dtype)] = operator(node.op).infer(inner, [graph.values[i] for i in node.inputs])
    graph.add_value(replace(graph.values[node.output], name=name, shape=shape, dtype=dtype))
    return [inner, Node("reshape", (name,), node.outputs, {"shape": [1]}, node.name)]
