"""ONNX operators that move numbers without changing them."""

from __future__ import annotations

import math

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx_builder import OnnxBuilder, handles
from edgekit.importers.onnx_node import OnnxNode


def axis_of(node: OnnxNode, axis: int, rank: int) -> int:
    """A possibly negative axis as 0..rank-1."""
    if not -rank <= axis < rank:
        raise invalid(f"node '{node.name}' ({node.op}): axis {axis} of a tensor with {rank} axes")
    return axis % rank


@handles("Identity", "Dropout")
def identity(b: OnnxBuilder, node: OnnxNode) -> None:
    """The operand under another name; dropout does nothing at inference."""
    if len(node.outputs) > 1 and node.outputs[1]:
        raise Refused("its mask output is not supported")
    b.rename(node, b.x(node))


@handles("Cast")
def cast(b: OnnxBuilder, node: OnnxNode) -> None:
    """Float32 to float32; everything else changes the meaning."""
    if node.integer("to", 0) != 1:
        raise Refused("only casts to float32 are supported")
    b.rename(node, b.x(node))


@handles("Reshape")
def reshape(b: OnnxBuilder, node: OnnxNode) -> None:
    x = b.x(node)
    have = b.value(x).shape
    shape = b.integers(node, 1, "shape")
    if shape is None:
        raise invalid(f"node '{node.name}' (Reshape) has no shape")
    if not node.integer("allowzero", 0):
        if any(d == 0 and i >= len(have) for i, d in enumerate(shape)):
            raise invalid(f"node '{node.name}' (Reshape) copies an axis that {list(have)} lacks")
        shape = [have[i] if d == 0 else d for i, d in enumerate(shape)]
    if shape.count(-1) == 1:
        rest = math.prod(d for d in shape if d != -1)
        if rest <= 0 or math.prod(have) % rest:
            raise invalid(f"node '{node.name}' cannot reshape {list(have)} to {shape}")
        shape[shape.index(-1)] = math.prod(have) // rest
    _reshape_to(b, node, x, shape)


def _reshape_to(b: OnnxBuilder, node: OnnxNode, x: str, shape: list[int]) -> None:
    if min(shape, default=1) < 1:
        raise invalid(f"node '{node.name}' ({node.op}) makes the shape {shape}")
    b.reshape(x, shape, node=node.name, out=node.outputs[0])


@handles("Flatten")
def flatten(b: OnnxBuilder, node: OnnxNode) -> None:
    x = b.x(node)
    shape = b.value(x).shape
    axis = node.integer("axis", 1)
    # Flatten alone may name the axis behind the last one.
    axis = axis if axis == len(shape) else axis_of(node, axis, len(shape))
    _reshape_to(b, node, x, [math.prod(shape[:axis]), math.prod(shape[axis:])])


@handles("Squeeze")
def squeeze(b: OnnxBuilder, node: OnnxNode) -> None:
    x = b.x(node)
    shape = b.value(x).shape
    axes = b.integers(node, 1, "axes")
    if axes is None:
        gone = {i for i, d in enumerate(shape) if d == 1 and i > 0}  # the batch stays
    else:
        gone = {axis_of(node, a, len(shape)) for a in axes}
    if any(shape[i] != 1 for i in gone):
        raise invalid(f"node '{node.name}' (Squeeze) removes axes {sorted(gone)} of {list(shape)}")
    _reshape_to(b, node, x, [d for i, d in enumerate(shape) if i not in gone])


@handles("Unsqueeze")
def unsqueeze(b: OnnxBuilder, node: OnnxNode) -> None:
    x = b.x(node)
    shape = list(b.value(x).shape)
    axes = b.integers(node, 1, "axes")
    if axes is None:
        raise invalid(f"node '{node.name}' (Unsqueeze) has no axes")
    for axis in sorted(axis_of(node, a, len(shape) + len(axes)) for a in axes):
        shape.insert(axis, 1)
    _reshape_to(b, node, x, shape)


@handles("Transpose")
def transpose(b: OnnxBuilder, node: OnnxNode) -> None:
    x = b.x(node)
    shape = b.value(x).shape
    perm = node.integers("perm") or list(reversed(range(len(shape))))
    if sorted(perm) != list(range(len(shape))):
        raise invalid(f"node '{node.name}' (Transpose): perm {perm} for {len(shape)} axes")
    order = [p for p in perm if shape[p] != 1]
    if order == sorted(order):  # only axes of size 1 move
        _reshape_to(b, node, x, [shape[p] for p in perm])
    elif perm[0] != 0:
        raise Refused(f"perm {perm} moves the batch axis")
    else:
        b.transpose(x, perm, node=node.name, out=node.outputs[0])
