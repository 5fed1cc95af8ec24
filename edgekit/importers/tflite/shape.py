"""TFLite operators that give a tensor another shape or order of axes, or repeat it."""

from __future__ import annotations

import math

from edgekit.importers.common import Refused, invalid
from edgekit.importers.tflite.builder import TfliteBuilder, handles
from edgekit.importers.tflite.read import TfliteNode


@handles("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def reshape(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any: the shape is that of the result, shapes in the file are static."""
    b.same_quant(node)
    x, out = b.value(b.x(node)), b.result(node)
    if math.prod(out.shape) != x.size:
        raise invalid(f"'{node.name}' reshapes {list(x.shape)} to {list(out.shape)}")
    if not out.shape and not b.graph.is_constant(x.name):
        raise Refused("its result is a scalar")
    b.finish(node, "reshape", [x.name], {"shape": list(out.shape) or [1]})


@handles("TRANSPOSE")
def transpose(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant permutation."""
    b.same_quant(node)
    perm = b.integers(node, 1, "permutation")
    rank = len(b.value(b.x(node)).shape)
    perm = [b.axis(node, p, rank) for p in perm]
    b.finish(node, "transpose", [b.x(node)], {"perm": perm})


@handles("TILE")
def tile(b: TfliteBuilder, node: TfliteNode) -> None:
    """Constant repeats."""
    b.same_quant(node)
    b.finish(node, "tile", [b.x(node)], {"repeats": b.integers(node, 1, "repeats")})


@handles("BROADCAST_TO")
def broadcast_to(b: TfliteBuilder, node: TfliteNode) -> None:
    """A constant shape."""
    b.same_quant(node)
    b.finish(node, "expand", [b.x(node)], {"shape": b.integers(node, 1, "shape")})


@handles("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")
def space_and_depth(b: TfliteBuilder, node: TfliteNode) -> None:
    """Any block that divides the image, or the channels."""
    import tflite

    b.same_quant(node)
    to_depth = node.op == "SPACE_TO_DEPTH"
    kind = tflite.SpaceToDepthOptions if to_depth else tflite.DepthToSpaceOptions
    block = int(node.options(kind).BlockSize())
    x = b.x(node)
    shape = b.value(x).shape
    if len(shape) != 4 or block < 1:
        raise invalid(f"'{node.name}' ({node.op}) reads {list(shape)} with a block of {block}")
    n, height, width, channels = shape
    if to_depth:
        if height % block or width % block:
            raise invalid(f"'{node.name}': blocks of {block} do not divide {list(shape)}")
        split = (n, height // block, block, width // block, block, channels)
        x = b.reshape(x, split, node=node.name)
        x = b.transpose(x, [0, 1, 3, 2, 4, 5], node=node.name)
    else:
        if channels % block**2:
            raise invalid(f"'{node.name}': {block} x {block} does not divide {channels} channels")
        split = (n, height, width, block, block, channels // block**2)
        x = b.reshape(x, split, node=node.name)
        x = b.transpose(x, [0, 1, 3, 2, 4, 5], node=node.name)
    b.finish(node, "reshape", [x], {"shape": list(b.result(node).shape)})
