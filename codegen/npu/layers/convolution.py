"""conv2d, depthwise_conv2d and fully_connected as CONV and DEPTHWISE commands."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codegen.kernel import Layer
from codegen.npu.job import Image, WindowJob, image_of, parameters
from edgekit.graph import Node
from edgekit.ops import windows as win
from edgekit.ops.requant import channel_requant, tensor_quant
from targets.npu.config import BANKS, BLOCK, Accelerator
from targets.npu.isa import Opcode, Window


def convolution(layer: Layer, image: Image, a: Accelerator) -> WindowJob:
    """A conv2d without groups, or a depthwise layer with one input channel, which is the same."""
    w = layer.constants[layer.node.inputs[1]]
    if layer.node.op == "depthwise_conv2d":
        w = w.transpose(2, 0, 1)[..., None]
    result, dilations = image_of(layer.output.shape), win.pair(layer.node, "dilations", 1)
    top, left, _, _ = win.pads_of(layer.node)
    strides = strides_of(layer.node, result)
    return _conv(layer, image, result, w, strides, dilations, (top, left), a)


def fully_connected(layer: Layer, image: Image, a: Accelerator) -> WindowJob:
    """A convolution whose kernel is the whole image that the operand was flattened from."""
    w = layer.constants[layer.node.inputs[1]]
    w = w.reshape(w.shape[0], image.height, image.width, image.channels)
    result = Image(1, 1, w.shape[0])
    return _conv(layer, image, result, w, (1, 1), (1, 1), (0, 0), a)


def depthwise(layer: Layer, image: Image, a: Accelerator) -> WindowJob:
    """Groups of channels, four neighbouring taps of a row in one cycle."""
    w = layer.constants[layer.node.inputs[1]]
    (kh, kw, channels), lanes = w.shape, a.depthwise_lanes
    result, dilations = image_of(layer.output.shape), win.pair(layer.node, "dilations", 1)
    strides = strides_of(layer.node, result)
    top, left, _, _ = win.pads_of(layer.node)
    taps, kernel_groups, tail = taps_of(kw, dilations[1])
    groups = -(-channels // lanes)
    padded = np.zeros((kh, kernel_groups * taps, groups * lanes), np.int8)
    padded[:, :kw, :channels] = w
    # [KH, kernel groups, taps, groups, lanes] to [groups, KH, kernel groups, lanes, taps]
    split = padded.reshape(kh, kernel_groups, taps, groups, lanes).transpose(3, 0, 1, 4, 2)
    packed = np.zeros((groups, kh, kernel_groups, a.out_lanes, BANKS), np.int8)
    packed[..., :lanes, :taps] = split
    zero_point = tensor_quant(layer.inputs[0])[1]
    sums = w.astype(np.int64).sum((0, 1))
    window = Window(
        Opcode.DEPTHWISE, 0, image.pixels, image.width, image.height, result.width, result.height,
        0, result.pixels, result.blocks, groups, 1, kh, kernel_groups, taps, tail,
        *strides, dilations[0], taps if dilations[1] == 1 else dilations[1], top, left, zero_point,
        **_output(layer),
    )  # fmt: skip
    return WindowJob(
        layer.node.inputs[0], layer.output.name, image, result, window,
        _parameters(layer, sums, groups * lanes), _as_bytes(packed, groups), half=True,
    )  # fmt: skip


def strides_of(node: Node, result: Image) -> tuple[int, int]:
    """Strides as they matter: 1 along an axis with one window."""
    rows, columns = win.pair(node, "strides", 1)
    return rows if result.height > 1 else 1, columns if result.width > 1 else 1


def taps_of(kernel_w: int, dilation: int) -> tuple[int, int, int]:
    """Taps that a cycle takes of a row, how often, and how many the last time."""
    taps = min(kernel_w, BANKS) if dilation == 1 else 1
    kernel_groups = -(-kernel_w // taps)
    return taps, kernel_groups, kernel_w - taps * (kernel_groups - 1)


def _conv(
    layer: Layer,
    image: Image,
    result: Image,
    w: NDArray[np.int8],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int],
    a: Accelerator,
) -> WindowJob:
    """`w` is [O, KH, KW, C]."""
    outputs, kh, kw, channels = w.shape
    taps = _packed_taps(kw, channels, dilations[1])
    kernel_groups = -(-kw // taps)
    tail = kw - taps * (kernel_groups - 1)
    groups = -(-outputs // a.out_lanes)
    per_tap = BLOCK // taps
    blocks = -(-channels // per_tap)
    padded = np.zeros((groups * a.out_lanes, kh, kernel_groups * taps, blocks * per_tap), np.int8)
    padded[:outputs, :, :kw, :channels] = w
    # Groups, lanes, KH, kernel groups, taps, blocks, bytes of a tap: blocks in front of taps.
    split = padded.reshape(groups, a.out_lanes, kh, kernel_groups, taps, blocks, per_tap)
    packed = split.transpose(0, 2, 3, 5, 1, 4, 6)
    zero_point = tensor_quant(layer.inputs[0])[1]
    window = Window(
        Opcode.CONV, 0, image.pixels, image.width, image.height, result.width, result.height,
        0, result.pixels, result.blocks, groups, blocks, kh, kernel_groups, taps, tail,
        *strides, dilations[0], taps if taps > 1 else dilations[1], *pads, zero_point,
        **_output(layer),
    )  # fmt: skip
    sums = w.astype(np.int64).sum((1, 2, 3))
    return WindowJob(
        layer.node.inputs[0], layer.output.name, image, result, window,
        _parameters(layer, sums, groups * a.out_lanes), _as_bytes(packed, groups),
    )  # fmt: skip


def _packed_taps(kernel_w: int, channels: int, dilation: int) -> int:
    """Neighbouring pixels of few channels that make one word: as many as save cycles."""
    if dilation > 1 or channels > BLOCK // 2:
        return 1
    offered = [1, 2] if channels > BLOCK // 4 else [1, 2, 4]
    return min(offered, key=lambda taps: (-(-kernel_w // taps), taps))


def _as_bytes(packed: NDArray[np.int8], groups: int) -> NDArray[np.uint8]:
    return np.ascontiguousarray(packed).view(np.uint8).reshape(groups, -1)


def _parameters(layer: Layer, sums: NDArray[np.int64], entries: int) -> NDArray[np.int32]:
    """Biases without the zero point of the operand: padding holds it, so every tap counts."""
    p = channel_requant(layer.node, list(layer.inputs), layer.output)
    bias = layer.constants[layer.node.inputs[2]].astype(np.int64)
    bias = bias - tensor_quant(layer.inputs[0])[1] * sums
    return parameters(bias, p.multiplier, p.shift, entries)


def _output(layer: Layer) -> dict[str, int]:
    p = channel_requant(layer.node, list(layer.inputs), layer.output)
    return {"zero_point": tensor_quant(layer.output)[1], "low": p.qmin, "high": p.qmax}
