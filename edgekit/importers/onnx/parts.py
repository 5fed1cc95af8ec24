"""ONNX operators that cut tensors, join them and put a border around them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.reduce import sliced
from edgekit.importers.onnx.shape import axis_of


@handles("Slice")
def slice_(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with constant starts, ends, axes and steps."""
    x = b.tensor(node)
    shape = b.value(x).shape
    starts, ends = b.integers(node, 1, "starts"), b.integers(node, 2, "ends")
    if starts is None or ends is None:
        raise invalid(f"node '{node.name}' (Slice) has no starts or no ends")
    axes = b.integers(node, 3, "axes")
    axes = list(range(len(starts))) if axes is None else axes
    steps = (b.integers(node, 4, "steps") if operand(node, 4) else None) or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise invalid(f"node '{node.name}' (Slice): {starts}, {ends}, {axes}, {steps}")
    parts: dict[int, tuple[int, int | None, int]] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis_of(node, axis, len(shape))
        places = range(*slice(start, end, step).indices(shape[at]))
        if not places:
            raise invalid(f"node '{node.name}' (Slice) leaves nothing of axis {at}: {list(shape)}")
        stop = places[-1] + (1 if step > 0 else -1)
        parts[at] = (places[0], stop if 0 <= stop < shape[at] else None, step)
    if all(p == (0, None, 1) for p in parts.values()):
        b.rename(node, x)
    else:
        sliced(b, node, x, parts, node.outputs[0])


@handles("Split")
def split(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with constant sizes."""
    x = b.tensor(node)
    shape = b.value(x).shape
    axis = axis_of(node, node.integer("axis", 0), len(shape))
    sizes = b.integers(node, 1, "split")
    if sizes is None:
        count = node.integer("num_outputs", len(node.outputs))
        each = -(-shape[axis] // max(count, 1))
        sizes = [each] * (count - 1) + [shape[axis] - each * (count - 1)]
    if len(sizes) != len(node.outputs) or sum(sizes) != shape[axis] or min(sizes) < 0:
        raise invalid(f"node '{node.name}' (Split): {sizes} of axis {axis} of {list(shape)}")
    start = 0
    for size, out in zip(sizes, node.outputs, strict=True):
        if out and not size:  # functions of the standard cut off nothing where all is used
            b.data[out] = np.zeros([0 if i == axis else d for i, d in enumerate(shape)], np.float32)
        elif out and size == shape[axis]:
            b.alias[out] = x
        elif out:
            stop = None if start + size == shape[axis] else start + size
            sliced(b, node, x, {axis: (start, stop, 1)}, out)
        start += size


@handles("Concat")
def concat(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any number of tensors of one type, along any axis."""
    full = [i for i, n in enumerate(node.inputs) if 0 not in b.shape_of(n)]
    names = [b.tensor(node, i) for i in full]
    if not names:
        raise invalid(f"node '{node.name}' (Concat) joins nothing")
    if len(names) == 1:
        b.rename(node, names[0])
        return
    shape = b.value(names[0]).shape
    axis = axis_of(node, node.integer("axis", 0), len(shape))
    b.emit("concat", names, {"axis": axis}, node=node.name, out=node.outputs[0])


#: ONNX's modes of Pad, and of padding before opset 19.
MODES = ("constant", "reflect", "edge", "wrap")


@handles("Pad")
def pad(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with constant pads (negative ones cut) and a constant value."""
    x = b.tensor(node)
    shape = b.value(x).shape
    rank = len(shape)
    given = b.integers(node, 1, "pads")
    axes = b.integers(node, 3, "axes") if operand(node, 3) else None
    at = [axis_of(node, a, rank) for a in axes] if axes is not None else list(range(rank))
    if given is None or len(given) != 2 * len(at):
        raise invalid(f"node '{node.name}' (Pad): pads {given} for {list(shape)}")
    pads = [0] * (2 * rank)
    for i, axis in enumerate(at):
        pads[axis], pads[axis + rank] = given[i], given[i + len(at)]
    mode = node.text("mode", "constant")
    if mode not in MODES:
        raise invalid(f"node '{node.name}' (Pad): mode '{mode}'")
    if min(pads, default=0) < 0:
        x = _cut(b, node, x, pads)
        pads = [max(p, 0) for p in pads]
    if not any(pads):
        b.rename(node, x)
        return
    attrs: dict[str, Any] = {"pads": pads, "mode": mode}
    if mode == "constant":
        attrs["value"] = _pad_value(b, node)
    b.emit("pad", [x], attrs, node=node.name, out=node.outputs[0], quant=b.value(x).quant)


def _cut(b: OnnxBuilder, node: OnnxNode, x: str, pads: list[int]) -> str:
    shape = b.value(x).shape
    parts: dict[int, tuple[int, int | None, int]] = {}
    for i, size in enumerate(shape):
        before, behind = max(-pads[i], 0), max(-pads[i + len(shape)], 0)
        if before + behind >= size:
            raise invalid(f"node '{node.name}' (Pad): pads {pads} leave nothing of {list(shape)}")
        if before or behind:
            parts[i] = (before, size - behind if behind else None, 1)
    return sliced(b, node, x, parts)


def _pad_value(b: OnnxBuilder, node: OnnxNode) -> float:
    if not operand(node, 2):
        return node.number("value", 0.0)
    value = b.const_of(node, 2, "value")
    if value.size == 0:
        return 0.0
    number = float(value.reshape(-1)[0])
    if not np.isfinite(number):
        raise Refused(f"it pads with {number}; only finite numbers are supported")
    return number
