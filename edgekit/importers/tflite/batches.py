"""SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND.

Older converters write a dilated convolution as a plain one between the two, which is put together
again. Elsewhere they become pads, slices and transposes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgekit.importers.common import DAMAGE, Refused, invalid
from edgekit.importers.tflite.builder import TfliteBuilder, handles
from edgekit.importers.tflite.read import Spread, Tensor, TfliteNode
from edgekit.importers.tflite.shared import VALID

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def dilated(
    nodes: Sequence[TfliteNode], tensors: Sequence[Tensor], kept: set[int]
) -> list[TfliteNode]:
    """The nodes with one convolution for each triple; tensors in `kept` must go on to be made."""
    readers: dict[int, list[TfliteNode]] = {}
    for node in nodes:
        for i in node.inputs:
            readers.setdefault(i, []).append(node)

    def only_reader(node: TfliteNode) -> TfliteNode | None:
        out = node.outputs[0] if len(node.outputs) == 1 else -1
        found = readers.get(out, [])
        return found[0] if len(found) == 1 and out not in kept else None

    result, gone = list(nodes), []
    for first in nodes:
        convolution = only_reader(first) if first.op == "SPACE_TO_BATCH_ND" else None
        last = only_reader(convolution) if convolution is not None else None
        if convolution is None or last is None or last.op != "BATCH_TO_SPACE_ND":
            continue
        try:
            spread = _spread(first, convolution, last, tensors)
        except DAMAGE:  # the convolution's handler meets it again, and says so
            continue
        if spread is None:
            continue
        whole = replace(
            convolution,
            name=last.name,
            inputs=[first.inputs[0], *convolution.inputs[1:]],
            outputs=list(last.outputs),
            spread=spread,
        )
        result[next(i for i, n in enumerate(result) if n is convolution)] = whole
        gone += [first, last]
    return [n for n in result if not any(n is g for g in gone)]


def _spread(
    first: TfliteNode, convolution: TfliteNode, last: TfliteNode, tensors: Sequence[Tensor]
) -> Spread | None:
    """The dilations and pads that the triple stands for, None where it is something else."""
    import tflite

    if convolution.op not in CONVOLUTIONS or convolution.inputs[0] != first.outputs[0]:
        return None
    if min(len(first.inputs), len(last.outputs), len(convolution.outputs)) < 1:
        return None
    kind = tflite.Conv2DOptions
    if convolution.op == "DEPTHWISE_CONV_2D":
        kind = tflite.DepthwiseConv2DOptions
    o = convolution.options(kind)
    plain = (o.StrideH(), o.StrideW(), o.DilationHFactor(), o.DilationWFactor(), o.Padding())
    if plain != (1, 1, 1, 1, VALID):
        return None
    numbers = []
    for node in (first, last):
        operands = [tensors[i].data if i >= 0 else None for i in node.inputs]
        if len(operands) != 3 or operands[1] is None or operands[2] is None:
            return None
        block, around = operands[1].reshape(-1).tolist(), operands[2].reshape(-1).tolist()
        if len(block) != 2 or len(around) != 4:
            return None
        numbers.append((block, around))
    (block, pads), (same, crops) = numbers
    inner, outer = tensors[convolution.outputs[0]].quant, tensors[last.outputs[0]].quant
    if block != same or inner != outer:
        return None
    top, bottom, left, right = (p - c for p, c in zip(pads, crops, strict=True))
    if min(top, bottom, left, right, *pads) < 0 or min(block) < 1:
        return None
    return Spread((block[0], block[1]), (top, left, bottom, right))


def _block(b: TfliteBuilder, node: TfliteNode, what: str) -> tuple[list[int], list[list[int]]]:
    """The block's sizes, and two numbers for each of them."""
    block, flat = b.integers(node, 1, "block"), b.integers(node, 2, what)
    rank = len(b.value(b.x(node)).shape)
    fits = len(flat) == 2 * len(block) and 1 <= len(block) < rank
    if not fits or min(block) < 1 or min(flat) < 0:
        raise invalid(f"'{node.name}' ({node.op}) has a block {block} and {what} {flat}")
    return block, [flat[i : i + 2] for i in range(0, len(flat), 2)]


@handles("SPACE_TO_BATCH_ND")
def space_to_batch(b: TfliteBuilder, node: TfliteNode) -> None:
    """Around a convolution without strides it is a dilation; elsewhere with constant block and
    amounts, where no convolution or pool reads the batch."""
    b.same_quant(node)
    block, pads = _block(b, node, "amounts")
    x, quant = b.x(node), b.value(b.x(node)).quant
    rank, spatial = len(b.value(x).shape), len(block)
    if any(map(any, pads)):
        before = [0, *(p[0] for p in pads), *[0] * (rank - spatial - 1)]
        after = [0, *(p[1] for p in pads), *[0] * (rank - spatial - 1)]
        attrs = {"pads": [*before, *after], "mode": "constant", "value": 0.0}
        x = b.emit("pad", [x], attrs, node=node.name, quant=quant)
    n, *sizes = b.value(x).shape
    if any(size % part for size, part in zip(sizes, block, strict=False)):
        raise invalid(f"'{node.name}': blocks {block} do not divide {sizes}")
    split = [n]
    for size, part in zip(sizes, block, strict=False):
        split += [size // part, part]
    x = b.reshape(x, [*split, *sizes[spatial:]], node=node.name)
    inside = [2 * i + 2 for i in range(spatial)]
    perm = [*inside, 0, *(i - 1 for i in inside), *range(2 * spatial + 1, rank + spatial)]
    x = b.transpose(x, perm, node=node.name)
    b.finish(node, "reshape", [x], {"shape": list(b.result(node).shape)})


@handles("BATCH_TO_SPACE_ND")
def batch_to_space(b: TfliteBuilder, node: TfliteNode) -> None:
    """As SPACE_TO_BATCH_ND, with constant crops."""
    b.same_quant(node)
    block, crops = _block(b, node, "crops")
    x, quant = b.x(node), b.value(b.x(node)).quant
    n, *sizes = b.value(x).shape
    rank, spatial, parts = len(sizes) + 1, len(block), 1
    for part in block:
        parts *= part
    if n % parts:
        raise invalid(f"'{node.name}': blocks {block} do not divide a batch of {n}")
    x = b.reshape(x, [*block, n // parts, *sizes], node=node.name)
    perm = [spatial]
    for i in range(spatial):
        perm += [spatial + 1 + i, i]
    x = b.transpose(x, [*perm, *range(2 * spatial + 1, rank + spatial)], node=node.name)
    whole = [size * part for size, part in zip(sizes, block, strict=False)]
    x = b.reshape(x, [n // parts, *whole, *sizes[spatial:]], node=node.name)
    starts = [0, *(c[0] for c in crops), *[0] * (rank - spatial - 1)]
    stops = [n // parts, *(size - c[1] for size, c in zip(whole, crops, strict=True))]
    stops += sizes[spatial:]
    if any(start >= stop for start, stop in zip(starts, stops, strict=True)):
        raise Refused("its result is empty")
    if any(map(any, crops)):
        attrs = {"starts": starts, "stops": stops, "steps": [1] * rank}
        b.finish(node, "slice", [x], attrs)
        return
    assert quant == b.value(x).quant
    b.finish(node, "reshape", [x], {"shape": list(b.result(node).shape)})
