"""ONNX operators that change a tensor's shape or the order of its axes."""

from __future__ import annotations

import math

import numpy as np

from edgekit.importers.common import Refused, check_made, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand

#: numpy has twice as many.
MAX_AXES = 32


def axis_of(node: OnnxNode, axis: int, rank: int) -> int:
    """A possibly negative axis as 0..rank-1."""
    if not -rank <= axis < rank:
        raise invalid(f"node '{node.name}' ({node.op}): axis {axis} of a tensor with {rank} axes")
    return axis % rank


@handles("Identity")
def identity(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor."""
    b.rename(node, b.tensor(node))


@handles("Dropout")
def dropout(b: OnnxBuilder, node: OnnxNode) -> None:
    """At inference, where it does nothing."""
    if operand(node, 2) and np.any(b.const_of(node, 2, "training_mode")):
        raise Refused("training mode is not supported: export the model in evaluation mode")
    x = b.x(node)
    b.rename(node, x)
    if len(node.outputs) > 1 and node.outputs[1]:
        b.data[node.outputs[1]] = np.broadcast_to(np.True_, b.value(x).shape)


@handles("Reshape")
def reshape(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with a constant shape."""
    x = b.tensor(node)
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
    """Any tensor."""
    x = b.tensor(node)
    shape = b.value(x).shape
    axis = node.integer("axis", 1)
    # Flatten alone may name the axis behind the last one.
    axis = axis if axis == len(shape) else axis_of(node, axis, len(shape))
    _reshape_to(b, node, x, [math.prod(shape[:axis]), math.prod(shape[axis:])])


@handles("Squeeze")
def squeeze(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor; without axes a batch of open size stays."""
    x = b.tensor(node)
    shape = b.value(x).shape
    axes = b.integers(node, 1, "axes")
    if axes is None:
        first = 1 if b.model.open_batch else 0
        gone = {i for i, d in enumerate(shape) if d == 1 and i >= first}
    else:
        gone = {axis_of(node, a, len(shape)) for a in axes}
    if any(shape[i] != 1 for i in gone):
        raise invalid(f"node '{node.name}' (Squeeze) removes axes {sorted(gone)} of {list(shape)}")
    _reshape_to(b, node, x, [d for i, d in enumerate(shape) if i not in gone])


@handles("Unsqueeze")
def unsqueeze(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor."""
    x = b.tensor(node)
    shape = list(b.value(x).shape)
    axes = b.integers(node, 1, "axes")
    if axes is None:
        raise invalid(f"node '{node.name}' (Unsqueeze) has no axes")
    for axis in sorted(axis_of(node, a, len(shape) + len(axes)) for a in axes):
        shape.insert(axis, 1)
    _reshape_to(b, node, x, shape)


@handles("Transpose")
def transpose(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, any order of axes."""
    x = b.tensor(node)
    shape = b.value(x).shape
    perm = node.integers("perm")
    perm = list(reversed(range(len(shape)))) if perm is None else perm
    if len(shape) > MAX_AXES:
        raise Refused(f"its operand has {len(shape)} axes, at most {MAX_AXES} are supported")
    if sorted(perm) != list(range(len(shape))):
        raise invalid(f"node '{node.name}' (Transpose): perm {perm} for {len(shape)} axes")
    order = [p for p in perm if shape[p] != 1]
    if order == sorted(order):  # only axes of size 1 move
        _reshape_to(b, node, x, [shape[p] for p in perm])
    else:
        b.transpose(x, perm, node=node.name, out=node.outputs[0])


@handles("Expand")
def expand(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, to a constant shape."""
    x = b.tensor(node)
    shape = b.integers(node, 1, "shape")
    if shape is None:
        raise invalid(f"node '{node.name}' (Expand) has no shape")
    have = b.value(x).shape
    try:
        wanted = list(np.broadcast_shapes(have, tuple(shape)))
    except ValueError:
        raise invalid(f"node '{node.name}' (Expand): {list(have)} to {shape}") from None
    if list(have) == wanted:
        b.rename(node, x)
        return
    if len(wanted) > len(have):
        x = b.reshape(x, [*[1] * (len(wanted) - len(have)), *have], node=node.name)
    if list(b.value(x).shape) == wanted:
        b.rename(node, x)
        return
    b.emit("expand", [x], {"shape": [int(d) for d in wanted]}, node=node.name,
           out=node.outputs[0], quant=b.value(x).quant)  # fmt: skip


@handles("Tile")
def tile(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any tensor, with constant repeats."""
    x = b.tensor(node)
    repeats = b.integers(node, 1, "repeats")
    if repeats is None or len(repeats) != len(b.value(x).shape) or min(repeats, default=1) < 1:
        raise invalid(f"node '{node.name}' (Tile): {repeats} for {list(b.value(x).shape)}")
    if set(repeats) <= {1}:
        b.rename(node, x)
        return
    attrs = {"repeats": repeats}
    b.emit("tile", [x], attrs, node=node.name, out=node.outputs[0], quant=b.value(x).quant)


@handles("DepthToSpace", "SpaceToDepth")
def blocks(b: OnnxBuilder, node: OnnxNode) -> None:
    """Images [N, C, H, W]; both modes (DCR, CRD)."""
    size = node.integer("blocksize", 0)
    x, value = b.image(node)
    n, h, w, c = value.shape
    spread = node.op == "DepthToSpace"
    if size < 1 or (c % (size * size) if spread else h % size or w % size):
        raise invalid(f"node '{node.name}' ({node.op}): blocks of {size} in {[n, c, h, w]}")
    if not spread:
        x = b.reshape(x, (n, h // size, size, w // size, size, c), node=node.name)
        perm = (0, 1, 3, 5, 2, 4) if node.text("mode", "DCR") == "CRD" else (0, 1, 3, 2, 4, 5)
        x = b.transpose(x, perm, node=node.name)
        x = b.reshape(x, (n, h // size, w // size, size * size * c), node=node.name)
    else:
        c //= size * size
        if node.text("mode", "DCR") == "CRD":
            x = b.reshape(x, (n, h, w, c, size, size), node=node.name)
            x = b.transpose(x, (0, 1, 4, 2, 5, 3), node=node.name)
        else:
            x = b.reshape(x, (n, h, w, size, size, c), node=node.name)
            x = b.transpose(x, (0, 1, 3, 2, 4, 5), node=node.name)
        x = b.reshape(x, (n, h * size, w * size, c), node=node.name)
    b.image_result(node, x)


@handles("EyeLike")
def eye_like(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any matrix, of which only the shape matters."""
    import onnx

    shape = b.shape_of(operand(node, 0))
    if len(shape) != 2:
        raise invalid(f"node '{node.name}' (EyeLike): {list(shape)} is no matrix")
    check_made("result", *shape)
    default = np.dtype(b.dtype_of(operand(node, 0)))
    to = node.integer("dtype", 0)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(to) if to else default
    b.data[node.outputs[0]] = np.eye(*shape, k=node.integer("k", 0)).astype(dtype)


@handles("Trilu")
def trilu(b: OnnxBuilder, node: OnnxNode) -> None:
    """Reals, int32 or truth values, with a constant k."""
    x = b.tensor(node)
    shape = b.value(x).shape
    if len(shape) < 2:
        raise Refused(f"its operand {list(shape)} is no matrix")
    k = b.integers(node, 1, "k")
    check_made("mask", *shape[-2:])
    ones = np.ones(shape[-2:], np.bool_)
    cut = np.triu if node.integer("upper", 1) else np.tril
    mask = cut(ones, k[0] if k else 0)
    zero = b.constant(f"{node.name}:zero", np.zeros(1, b.value(x).dtype))
    keep = b.constant(f"{node.name}:mask", mask)
    b.emit("where", [keep, x, zero], node=node.name, out=node.outputs[0])
