"""Products of matrices in their canonical form.

Float graphs only.

1. matmul with a constant matrix on the right: fully_connected with a bias of zeros.
2. matmul with a constant matrix on the left: the transpose of fully_connected of the transpose.
3. A transpose of the right operand, alone or with a reshape behind it that keeps the matrices, and
   read by the matmul alone: it takes over the exchange of rows and columns, so that the product
   reads both operands along their last axis (``transpose_b``). It goes where nothing is left of it.
4. mul by one number in front of a matmul that alone reads it, maybe through transposes and
   reshapes: the attribute ``scale``.
5. mul by one number behind a matmul whose result nothing else reads: the same.
6. A transpose that exchanges rows and columns of a product with ``transpose_b`` and alone reads it:
   the product of the exchanged operands.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Graph, Node
from edgekit.passes.edit import (
    add_constant,
    is_float,
    make,
    only_reader,
    private_producer,
    replace_node,
    until_settled,
    with_inputs,
)
from edgekit.passes.match import with_number


def matrix_products(graph: Graph) -> bool:
    """Apply the rules until nothing changes; returns whether anything did."""
    return until_settled(graph, (_product,))


def _product(graph: Graph, node: Node) -> bool:
    rules = (
        _constant_right, _constant_left, _transposed, _scaled_operand, _scaled_result, _exchanged,
    )  # fmt: skip
    return node.op == "matmul" and any(rule(graph, node) for rule in rules)


def _matrix(graph: Graph, name: str) -> np.ndarray | None:
    """A float constant of one matrix."""
    data = graph.constants.get(name)
    if data is None or not is_float(graph, name) or data.size != np.prod(data.shape[-2:]):
        return None
    return data.reshape(data.shape[-2:])


def _linear(graph: Graph, node: Node, x: str, weights: np.ndarray, out: str = "") -> Node:
    """fully_connected of `x` with weights [O, K], times the matmul's scale, named like `node`."""
    scale = np.float32(node.attrs.get("scale", 1.0))
    w = add_constant(graph, f"{node.output}:weights", weights * scale)
    bias = add_constant(graph, f"{node.output}:bias", np.zeros(len(weights), np.float32))
    clamp = {k: v for k, v in node.attrs.items() if k == "clamp"}
    return make(graph, "fully_connected", (x, w, bias), clamp, node, out)


def _constant_right(graph: Graph, node: Node) -> bool:
    """Rule 1."""
    a, b = node.inputs
    w = _matrix(graph, b)
    if w is None or graph.is_constant(a) or not is_float(graph, node.output):
        return False
    if len(graph.values[b].shape) > len(graph.values[a].shape):
        return False
    linear = _linear(graph, node, a, w if node.attrs.get("transpose_b") else w.T)
    replace_node(graph, node, replace(linear, outputs=node.outputs))
    return True


def _swapped(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def _constant_left(graph: Graph, node: Node) -> bool:
    """Rule 2."""
    a, b = node.inputs
    w = _matrix(graph, a)
    if w is None or graph.is_constant(b) or not is_float(graph, node.output):
        return False
    rank = len(graph.values[b].shape)
    if len(graph.values[a].shape) > rank:
        return False
    nodes = []
    if not node.attrs.get("transpose_b"):
        nodes.append(make(graph, "transpose", (b,), {"perm": _swapped(rank)}, node))
        b = nodes[-1].output
    nodes.append(_linear(graph, node, b, w))
    back = {"perm": _swapped(rank)}
    last = Node("transpose", (nodes[-1].output,), node.outputs, back, node.name)
    replace_node(graph, node, *nodes, last)
    return True


def _transposed(graph: Graph, node: Node) -> bool:
    """Rule 3."""
    b = node.inputs[1]
    first = reshape = private_producer(graph, b)
    if reshape is not None and reshape.op == "reshape":
        source, shape = graph.values[reshape.inputs[0]].shape, graph.values[b].shape
        if len(source) < 2 or source[-2:] != shape[-2:]:
            return False
        first = private_producer(graph, reshape.inputs[0])
    else:
        reshape = None
    if first is None or first.op != "transpose":
        return False
    perm = list(first.attrs["perm"])
    exchanged = [*perm[:-2], perm[-1], perm[-2]]
    upright = not node.attrs.get("transpose_b")
    if not upright and exchanged != sorted(exchanged):
        return False
    chain, right = [], first.inputs[0]
    if exchanged != sorted(exchanged):
        chain.append(make(graph, "transpose", (right,), {"perm": exchanged}, first))
        right = chain[-1].output
    if reshape is not None:
        *lead, rows, columns = graph.values[b].shape
        chain.append(make(graph, "reshape", (right,), {"shape": [*lead, columns, rows]}, reshape))
        right = chain[-1].output
    attrs = {**node.attrs, "transpose_b": upright}
    merged = replace(node, inputs=(node.inputs[0], right), attrs=attrs)
    replace_node(graph, node, *chain, merged)
    return True


def _times(node: Node, factor: float) -> Node:
    return replace(node, attrs={**node.attrs, "scale": node.attrs.get("scale", 1.0) * factor})


def _scaled_operand(graph: Graph, node: Node) -> bool:
    """Rule 4."""
    for name in node.inputs:
        reader = node
        while reader.inputs.count(name) == 1 and only_reader(graph, name) is reader:
            found = with_number(graph, name, "mul")
            if found is not None and found[1] > 0:
                x, factor = found
                inputs = (x if i == name else i for i in reader.inputs)
                unscaled = with_inputs(reader, *inputs)
                if reader is node:
                    replace_node(graph, node, _times(unscaled, factor))
                else:
                    replace_node(graph, reader, unscaled)
                    replace_node(graph, node, _times(node, factor))
                return True
            moved = graph.producer(name)
            if moved is None or moved.op not in ("transpose", "reshape"):
                break
            name, reader = moved.inputs[0], moved
    return False


def _scaled_result(graph: Graph, node: Node) -> bool:
    """Rule 5."""
    reader = only_reader(graph, node.output)
    if reader is None or reader.op != "mul" or node.attrs.get("clamp"):
        return False
    found = with_number(graph, reader.output, "mul")
    if found is None or found[0] != node.output or found[1] <= 0:
        return False
    replace_node(graph, node)
    replace_node(graph, reader, replace(_times(node, found[1]), outputs=reader.outputs))
    return True


def _exchanged(graph: Graph, node: Node) -> bool:
    """Rule 6."""
    reader = only_reader(graph, node.output)
    if reader is None or reader.op != "transpose" or not node.attrs.get("transpose_b"):
        return False
    perm = list(reader.attrs["perm"])
    rank = len(perm)
    if perm[-2:] != [rank - 1, rank - 2]:
        return False
    swapped = replace(node, inputs=node.inputs[::-1])
    rest = [*perm[:-2], rank - 2, rank - 1]
    replace_node(graph, node)
    if rest == sorted(rest):
        replace_node(graph, reader, replace(swapped, outputs=reader.outputs))
        return True
    product = make(graph, "matmul", swapped.inputs, node.attrs, node)
    moved = replace(reader, inputs=(product.output,), attrs={"perm": rest})
    replace_node(graph, reader, product, moved)
    return True
