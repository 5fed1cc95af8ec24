"""Take parts of tensors where they are made.

Heads of attention are cut out of one wide product. Each part becomes a product of its own, so that
nothing is moved and every part has a range of its own.

1. gather of a constant index, or of indices that follow each other, is a slice, and a reshape where
   the index is a scalar.
2. A slice of a transpose is the transpose of a slice.
3. A slice of a reshape is the reshape of a slice, where the elements are a block of the operand in
   the same order.
4. A slice of a slice is one.
5. A slice of the channels of fully_connected or of a conv2d without groups has its weights sliced,
   where slices of channels are all that reads the result.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgekit.graph import Graph, Node, Shape
from edgekit.passes.edit import (
    add_constant,
    is_float,
    make,
    replace_node,
    until_settled,
    with_inputs,
)

LINEAR = ("conv2d", "fully_connected")
#: Elements of a tensor up to which blocks of it are looked for.
MOST_ELEMENTS = 1 << 20
Block = list[tuple[int, int]]


def narrow(graph: Graph) -> bool:
    """Apply the rules until nothing changes; returns whether anything did."""
    return until_settled(graph, (_once,))


def _once(graph: Graph, node: Node) -> bool:
    if node.op == "gather":
        return _gather(graph, node)
    block = block_of(graph, node)
    if block is None:
        return False
    first = graph.producer(node.inputs[0])
    if first is None:
        return False
    rule = {"transpose": _transpose, "reshape": _reshape, "slice": _slice}.get(first.op, _linear)
    return rule(graph, node, first, block)


def block_of(graph: Graph, node: Node) -> Block | None:
    """(first, end) along each axis of what a slice takes, where it leaves nothing out between."""
    if node.op != "slice" or any(step != 1 for step in node.attrs["steps"]):
        return None
    shape = graph.values[node.inputs[0]].shape
    found: Block = []
    pairs = zip(node.attrs["starts"], node.attrs["stops"], shape, strict=True)
    for start, stop, size in pairs:
        first, end, _ = slice(start, stop).indices(size)
        found.append((first, end))
    return found


def slice_attrs(block: Block) -> dict[str, Any]:
    return {
        "starts": [first for first, _ in block],
        "stops": [end for _, end in block],
        "steps": [1] * len(block),
    }


def _gather(graph: Graph, node: Node) -> bool:
    """Rule 1."""
    x, indices = node.inputs
    data = graph.constants.get(indices)
    if data is None or data.ndim > 1 or node.attrs.get("batch_dims", 0):
        return False
    axis, shape = node.attrs["axis"], graph.values[x].shape
    at = data.reshape(-1).astype(np.int64)
    at = np.where(at < 0, at + shape[axis], at)
    if (np.diff(at) != 1).any() or at[0] < 0 or at[-1] >= shape[axis]:
        return False
    block: Block = [(0, size) for size in shape]
    block[axis] = (int(at[0]), int(at[-1]) + 1)
    part = make(graph, "slice", (x,), slice_attrs(block), node)
    if data.ndim == 1:
        replace_node(graph, node, replace(part, outputs=node.outputs))
        return True
    attrs = {"shape": list(graph.values[node.output].shape)}
    reshape = Node("reshape", (part.output,), node.outputs, attrs, node.name)
    replace_node(graph, node, part, reshape)
    return True


def _transpose(graph: Graph, node: Node, first: Node, block: Block) -> bool:
    """Rule 2."""
    perm = first.attrs["perm"]
    part = make(
        graph, "slice", first.inputs, slice_attrs([block[i] for i in np.argsort(perm)]), node
    )
    replace_node(graph, node, part, replace(first, inputs=(part.output,), outputs=node.outputs))
    return True


def _reshape(graph: Graph, node: Node, first: Node, block: Block) -> bool:
    """Rule 3."""
    source, shape = graph.values[first.inputs[0]], graph.values[node.inputs[0]].shape
    found = _block_in(source.shape, shape, block) if source.size <= MOST_ELEMENTS else None
    if found is None:
        return False
    part = make(graph, "slice", first.inputs, slice_attrs(found), node)
    attrs = {"shape": list(graph.values[node.output].shape)}
    replace_node(graph, node, part, replace(first, inputs=(part.output,), outputs=node.outputs,
                                            attrs=attrs))  # fmt: skip
    return True


def _block_in(source: Shape, shape: Shape, block: Block) -> Block | None:
    """The block of a tensor of shape `source` that is `block` of its reshape to `shape`."""
    places = np.arange(int(np.prod(source))).reshape(shape)
    taken = places[tuple(slice(*pair) for pair in block)].reshape(-1)
    along = np.unravel_index(taken, source)
    found = [(int(c.min()), int(c.max()) + 1) for c in along]
    inside = np.arange(places.size).reshape(source)[tuple(slice(*pair) for pair in found)]
    return found if np.array_equal(inside.reshape(-1), taken) else None


def _slice(graph: Graph, node: Node, first: Node, block: Block) -> bool:
    """Rule 4."""
    outer = block_of(graph, first)
    if outer is None:
        return False
    both = [(a + c, a + d) for (a, _), (c, d) in zip(outer, block, strict=True)]
    replace_node(graph, node, replace(node, inputs=first.inputs, attrs=slice_attrs(both)))
    return True


def _channels(graph: Graph, node: Node) -> tuple[int, int] | None:
    """The channels that a slice takes, where it takes nothing but channels."""
    block, shape = block_of(graph, node), graph.values[node.inputs[0]].shape
    if block is None or any(pair != (0, n) for pair, n in zip(block[:-1], shape[:-1], strict=True)):
        return None
    return block[-1]


def _linear(graph: Graph, node: Node, first: Node, block: Block) -> bool:
    """Rule 5."""
    if first.op not in LINEAR or first.attrs.get("groups", 1) != 1:
        return False
    constant = all(graph.is_constant(i) for i in first.inputs[1:])
    if not constant or first.output in graph.outputs or not is_float(graph, first.output):
        return False
    if any(_channels(graph, reader) is None for reader in graph.consumers(first.output)):
        return False
    if graph.values[first.inputs[1]].quant is not None:
        return False
    rows = slice(*block[-1])
    parts = [add_constant(graph, i, graph.constants[i][rows]) for i in first.inputs[1:]]
    part = with_inputs(first, first.inputs[0], *parts)
    name = f"{first.name or first.output}[{rows.start}:{rows.stop}]"
    replace_node(graph, node, replace(part, outputs=node.outputs, name=name))
    return True
