"""TFLite operators that take parts of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgekit.graph import Shape
from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.builder import TfliteBuilder, handles
from edgekit.importers.tflite.read import TfliteNode


def _emit(
    b: TfliteBuilder, node: TfliteNode, x: str, parts: Sequence[slice], result: int = 0
) -> None:
    """Append the slice of `x` that `parts` (one per axis, within it) say, in the result's shape."""
    out = b.result(node, result, len(node.outputs))
    attrs = {
        "starts": [p.start for p in parts],
        "stops": [p.stop for p in parts],
        "steps": [p.step for p in parts],
    }
    shape = b.value(x).shape
    sizes = [len(range(*p.indices(d))) for p, d in zip(parts, shape, strict=True)]
    if min(sizes, default=1) < 1:
        raise Refused("its result is empty")
    if tuple(sizes) == out.shape:
        b.finish(node, "slice", [x], attrs, result)
        return
    part = b.emit("slice", [x], attrs, node=node.name, quant=b.value(x).quant)
    if not out.shape and not b.graph.is_constant(part):
        raise Refused("its result is a scalar")
    b.finish(node, "reshape", [part], {"shape": list(out.shape) or [1]}, result)


def _whole(shape: Shape) -> list[slice]:
    return [slice(0, d, 1) for d in shape]


@handles("SLICE")
def slice_(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant begins and sizes."""
    b.same_quant(node)
    begins, sizes = b.integers(node, 1, "begins"), b.integers(node, 2, "sizes")
    x = b.value(b.x(node))
    if len(begins) != len(x.shape) or len(sizes) != len(x.shape):
        raise invalid(f"'{node.name}' cuts {begins}, {sizes} out of {list(x.shape)}")
    parts = []
    for begin, size, axis in zip(begins, sizes, x.shape, strict=True):
        stop = axis if size == -1 else begin + size
        if not 0 <= begin <= stop <= axis:
            raise invalid(f"'{node.name}' cuts {begins}, {sizes} out of {list(x.shape)}")
        parts.append(slice(begin, stop, 1))
    _emit(b, node, x.name, parts)


@handles("STRIDED_SLICE")
def strided_slice(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant begins, ends and steps, of either sign, with every mask."""
    import tflite

    b.same_quant(node)
    x = b.value(b.x(node))
    begins, ends, steps = (b.integers(node, i, "begins, ends and steps") for i in (1, 2, 3))
    if not len(begins) == len(ends) == len(steps) or not all(steps):
        raise invalid(f"'{node.name}' has begins {begins}, ends {ends} and steps {steps}")

    def mask(name: str) -> int:
        return int(node.option(tflite.StridedSliceOptions, name, 0))

    relative = bool(node.option(tflite.StridedSliceOptions, "Offset", False))
    ellipsis, new, shrink = mask("EllipsisMask"), mask("NewAxisMask"), mask("ShrinkAxisMask")
    first, last = mask("BeginMask"), mask("EndMask")
    # What an ellipsis stands for: axes that no other entry names.
    named = sum(not (1 << i & (ellipsis | new)) for i in range(len(begins)))
    parts: list[slice] = []
    for i, (begin, end, step) in enumerate(zip(begins, ends, steps, strict=True)):
        bit = 1 << i
        if bit & ellipsis:
            missing = len(x.shape) - named
            parts += _whole(x.shape[len(parts) : len(parts) + max(missing, 0)])
            continue
        if bit & new:
            continue  # a length of 1 in the result's shape
        if len(parts) >= len(x.shape):
            raise invalid(f"'{node.name}' cuts {len(begins)} axes out of {list(x.shape)}")
        axis = x.shape[len(parts)]
        if bit & shrink:
            at = begin + axis if begin < 0 else begin
            if not 0 <= at < axis:
                raise invalid(f"'{node.name}' takes element {begin} of {axis}")
            parts.append(slice(at, at + 1, 1))
            continue
        end = begin + end if relative else end
        parts.append(
            _clipped(None if bit & first else begin, None if bit & last else end, step, axis)
        )
    parts += _whole(x.shape[len(parts) :])
    _emit(b, node, x.name, parts)


def _clipped(begin: int | None, end: int | None, step: int, axis: int) -> slice:
    """A slice of numpy's rules with places counted from the front; no place before it is None."""
    start, stop, step = slice(begin, end, step).indices(axis)
    if start >= axis:  # nothing is left, which the caller refuses
        return slice(0, 0, 1)
    return slice(max(start, 0), None if stop < 0 else stop, step)


@handles("SPLIT")
def split(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant axis that the parts divide evenly."""
    [axis] = b.integers(node, 0, "axis")
    x = b.value(b.x(node, 1))
    axis, parts = b.axis(node, axis, len(x.shape)), len(node.outputs)
    if not parts or x.shape[axis] % parts:
        raise invalid(f"'{node.name}' splits {list(x.shape)} into {parts} along axis {axis}")
    b.same_quant(node, 1)
    _split(b, node, x.name, axis, [x.shape[axis] // parts] * parts)


@handles("SPLIT_V")
def split_v(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant sizes and a constant axis."""
    [axis] = b.integers(node, 2, "axis")
    x, sizes = b.value(b.x(node)), b.integers(node, 1, "sizes")
    axis = b.axis(node, axis, len(x.shape))
    known = sum(s for s in sizes if s != -1)
    sizes = [x.shape[axis] - known if s == -1 else s for s in sizes]
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 1 or len(sizes) != len(node.outputs):
        raise invalid(f"'{node.name}' splits {list(x.shape)} into {sizes} along axis {axis}")
    b.same_quant(node)
    _split(b, node, x.name, axis, sizes)


def _split(b: TfliteBuilder, node: TfliteNode, x: str, axis: int, sizes: Sequence[int]) -> None:
    at = 0
    for i, size in enumerate(sizes):
        parts = _whole(b.value(x).shape)
        parts[axis] = slice(at, at + size, 1)
        _emit(b, node, x, parts, i)
        at += size


@handles("UNPACK")
def unpack(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any axis."""
    import tflite

    x = b.value(b.x(node))
    axis = b.axis(node, int(node.option(tflite.UnpackOptions, "Axis", 0)), len(x.shape))
    if len(node.outputs) != x.shape[axis]:
        raise invalid(f"'{node.name}' unpacks {list(x.shape)} into {len(node.outputs)}")
    b.same_quant(node)
    _split(b, node, x.name, axis, [1] * len(node.outputs))


@handles("REVERSE_V2")
def reverse(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant axes."""
    b.same_quant(node)
    x = b.value(b.x(node))
    parts: list[Any] = _whole(x.shape)
    for axis in b.integers(node, 1, "axes"):
        at = b.axis(node, axis, len(x.shape))
        parts[at] = slice(x.shape[at] - 1, None, -1)
    _emit(b, node, x.name, parts)
