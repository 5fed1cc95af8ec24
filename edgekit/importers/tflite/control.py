"""TFLite operators that run other subgraphs: those are set in place of the operator.

A condition must be known when the file is read. Loops are unrolled.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.builder import MOST_INLINED, TfliteBuilder, handles
from edgekit.importers.tflite.read import Subgraph, TfliteNode

#: Passes of a loop; each is a copy of the loop's body.
MOST_PASSES = 256
#: Subgraphs that call one another.
MOST_DEPTH = 16


def _inline(b: TfliteBuilder, node: TfliteNode, called: Subgraph, inputs: list[int]) -> list[int]:
    """Import the nodes of `called` on tensors `inputs`; returns its outputs as tensors of the
    caller."""
    from edgekit.importers.tflite import import_nodes

    if len(inputs) != len(called.inputs):
        raise invalid(
            f"'{node.name}' ({node.op}) gives {len(inputs)} tensors to '{called.name}', which "
            f"takes {len(called.inputs)}"
        )
    b.inlined += len(called.nodes) + len(called.tensors)
    if b.inlined > MOST_INLINED:
        raise Refused(f"with the loops in it it becomes more than {MOST_INLINED} nodes and tensors")
    if b.depth >= MOST_DEPTH:
        raise invalid(f"'{node.name}' ({node.op}) calls itself")
    place: dict[int, int] = dict(zip(called.inputs, inputs, strict=True))
    for i, tensor in enumerate(called.tensors):
        if i not in place:
            place[i] = len(b.tensors)
            name = b.fresh(f"{node.name}/{tensor.name}")
            b.reserved.add(name)
            b.tensors.append(replace(tensor, name=name))

    def moved(indices: list[int]) -> list[int]:
        return [place.get(i, -1) for i in indices]

    nodes = []
    for inner in called.nodes:
        results = moved(inner.outputs)
        name = b.tensors[results[0]].name if results and results[0] >= 0 else inner.name
        nodes.append(replace(inner, name=name, inputs=moved(inner.inputs), outputs=results))
    b.depth += 1
    found = import_nodes(b, nodes)
    b.depth -= 1
    if found:
        raise Refused("in it " + "; ".join(str(u) for u in found))
    return moved(called.outputs)


def _give(b: TfliteBuilder, node: TfliteNode, made: list[int]) -> None:
    """Let the node's results be tensors that are made or known."""
    if len(made) != len(node.outputs):
        raise invalid(f"'{node.name}' ({node.op}) has {len(node.outputs)} results of {len(made)}")
    for result, source in zip(node.outputs, made, strict=True):
        if result < 0:
            continue
        tensor = b.tensors[source]
        if tensor.data is not None:
            b.tensors[result] = replace(b.tensors[result], data=tensor.data, quant=tensor.quant)
        if source in b.names:
            b.names[result] = b.names[source]


def _condition(b: TfliteBuilder, node: TfliteNode, index: int) -> bool:
    data = b.tensors[index].data if index >= 0 else None
    if data is None:
        raise Refused("its condition is computed from the input: only known ones are supported")
    return bool(np.any(data))


@handles("IF")
def if_(b: TfliteBuilder, node: TfliteNode) -> None:
    """A condition that is known when the file is read."""
    import tflite

    options = node.options(tflite.IfOptions)
    chosen = _condition(b, node, node.inputs[0] if node.inputs else -1)
    index = options.ThenSubgraphIndex() if chosen else options.ElseSubgraphIndex()
    _give(b, node, _inline(b, node, b.subgraph(node, int(index)), node.inputs[1:]))


@handles("WHILE")
def while_(b: TfliteBuilder, node: TfliteNode) -> None:
    """A loop whose number of passes is known when the file is read, at most 256; it is unrolled."""
    import tflite

    options = node.options(tflite.WhileOptions)
    condition = b.subgraph(node, int(options.CondSubgraphIndex()))
    body = b.subgraph(node, int(options.BodySubgraphIndex()))
    carried = list(node.inputs)
    for _ in range(MOST_PASSES):
        made = _inline(b, node, condition, carried)
        if not _condition(b, node, made[0] if made else -1):
            _give(b, node, carried)
            return
        carried = _inline(b, node, body, carried)
    raise Refused(f"it runs its body more than {MOST_PASSES} times")


@handles("CALL")
def call(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any subgraph."""
    import tflite

    called = b.subgraph(node, int(node.options(tflite.CallOptions).Subgraph()))
    _give(b, node, _inline(b, node, called, list(node.inputs)))
