"""ONNX convolutions, over images and sequences."""

from __future__ import annotations

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.windows import halves, pads_of, pair


@handles("Conv")
def conv(b: OnnxBuilder, node: OnnxNode) -> None:
    """1-D or 2-D with constant weights; groups, dilations, any padding."""
    w = _weights(b, node)
    axes = w.ndim - 2
    groups = node.integer("group", 1)
    out_channels, per_group = w.shape[:2]
    x, value = b.image(node)
    channels = value.shape[3]
    if groups < 1 or per_group * groups != channels or out_channels % groups:
        raise _misfit(node, w, groups, channels)
    strides = pair(node, "strides", 1, axes)
    dilations = pair(node, "dilations", 1, axes)
    w = w if axes == 2 else w[:, :, None]
    size, kernel = (value.shape[1], value.shape[2]), list(w.shape[2:])
    pads = pads_of(node, size, kernel, strides, dilations, axes)
    attrs: dict[str, object] = {"strides": strides, "dilations": dilations, "pads": pads}
    bias = _bias(b, node, out_channels)
    if groups > 1 and per_group == 1:
        op, w, grid = "depthwise_conv2d", w[:, 0].transpose(1, 2, 0), b.grid(node, 1, 0, 2)
    else:
        op, w, grid = "conv2d", w.transpose(0, 2, 3, 1), b.grid(node, 1)
        attrs["groups"] = groups
    weights = b.constant(f"{node.name}:weights", w, grid)
    inputs = [x, weights, b.constant(f"{node.name}:bias", bias)]
    b.image_result(node, b.emit(op, inputs, attrs, node=node.name))


@handles("ConvTranspose")
def conv_transpose(b: OnnxBuilder, node: OnnxNode) -> None:
    """1-D or 2-D with constant weights; groups, dilations, any padding or output shape."""
    w = _weights(b, node)
    axes = w.ndim - 2
    groups = node.integer("group", 1)
    x, value = b.image(node)
    channels, per_group = value.shape[3], w.shape[1]
    if groups < 1 or w.shape[0] != channels or channels % groups:
        raise _misfit(node, w, groups, channels)
    w = w if axes == 2 else w[:, :, None]
    kernel = list(w.shape[2:])
    strides = pair(node, "strides", 1, axes)
    dilations = pair(node, "dilations", 1, axes)
    extra = node.integers("output_padding") or [0] * axes
    if len(extra) != axes or min(extra) < 0:
        raise invalid(f"node '{node.name}' ({node.op}): output_padding {extra}")
    extra = extra if axes == 2 else [0, *extra]
    size = (value.shape[1], value.shape[2])
    pads, extra = _transposed_pads(node, size, kernel, strides, dilations, extra, axes)
    # [C, O/groups, ...] with the channels of group g at g * C/groups.
    grouped = w.reshape(groups, channels // groups, per_group, *kernel)
    grouped = grouped.transpose(0, 2, 3, 4, 1).reshape(-1, *kernel, channels // groups)
    if b.grid(node, 1, 0) is not None and b.grids[operand(node, 1)].axis is not None:
        raise Refused("weights with one scale for each channel are not supported")
    weights = b.constant(f"{node.name}:weights", grouped, b.grids.get(operand(node, 1)))
    bias = b.constant(f"{node.name}:bias", _bias(b, node, groups * per_group))
    attrs = {
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "groups": groups,
        "output_padding": extra,
    }
    y = b.emit("conv_transpose2d", [x, weights, bias], attrs, node=node.name)
    b.image_result(node, y)


def _transposed_pads(
    node: OnnxNode,
    size: tuple[int, int],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    extra: list[int],
    axes: int,
) -> tuple[list[int], list[int]]:
    """Pads and output padding: as given, or such that the result has the wanted size."""
    mode = node.text("auto_pad", "NOTSET")
    wanted = node.integers("output_shape")
    if wanted is not None:
        wanted = [1, 1, *wanted][-2:] if axes == 2 else [1, wanted[-1]]
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(size, strides, strict=True)]
    else:
        return pads_of(node, size, kernel, strides, dilations, axes), extra
    pads, extra = [0, 0, 0, 0], list(extra)
    for i in (0, 1):
        full = strides[i] * (size[i] - 1) + extra[i] + dilations[i] * (kernel[i] - 1) + 1
        total = full - wanted[i]
        extra[i] += max(-total, 0)
        # With an output shape the odd row goes in front unless SAME_UPPER is said.
        pads[i], pads[i + 2] = halves(
            max(total, 0), "SAME_UPPER" if mode == "SAME_UPPER" else "SAME_LOWER"
        )
    return pads, extra


def _weights(b: OnnxBuilder, node: OnnxNode) -> np.ndarray:
    w = b.floats(node, 1, "weights")
    if w.ndim not in (3, 4):
        raise Refused(
            f"its weights have {w.ndim} axes: 1-D and 2-D convolutions with 3 and 4 are supported"
        )
    if min(w.shape) < 1:
        raise invalid(f"node '{node.name}' ({node.op}): weights {list(w.shape)}")
    kernel = list(w.shape[2:])
    if (node.integers("kernel_shape") or kernel) != kernel:
        raise invalid(f"node '{node.name}': kernel_shape differs from its weights {list(w.shape)}")
    rank = len(b.shape_of(operand(node, 0)))
    if rank != w.ndim:
        raise invalid(
            f"node '{node.name}' ({node.op}): weights {list(w.shape)}, an operand with {rank} axes"
        )
    return w


def _bias(b: OnnxBuilder, node: OnnxNode, channels: int) -> np.ndarray:
    bias = b.floats(node, 2, "bias") if operand(node, 2) else np.zeros(channels, np.float32)
    if bias.shape != (channels,):
        raise invalid(f"node '{node.name}' ({node.op}): bias {list(bias.shape)} of {channels}")
    return bias


def _misfit(node: OnnxNode, w: np.ndarray, groups: int, channels: int) -> Exception:
    return invalid(
        f"node '{node.name}' ({node.op}): weights {list(w.shape)} in {groups} groups "
        f"do not fit {channels} channels"
    )
