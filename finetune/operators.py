"""The canonical operators on torch tensors, NHWC, as `edgekit.ops` defines them in numpy.

Each function takes the node and its operands [n, ...] and is differentiable in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from edgekit.graph import Node
from edgekit.ops.base import clamp_of
from edgekit.ops.windows import pads_of, pair

Operands = list[torch.Tensor]


def clamped(node: Node, x: torch.Tensor) -> torch.Tensor:
    """The fused activation."""
    lo, hi = clamp_of(node)
    if (lo, hi) == (-math.inf, math.inf):
        return x
    return torch.clamp(x, min=None if lo == -math.inf else lo, max=None if hi == math.inf else hi)


def padded(node: Node, x: torch.Tensor, value: float) -> torch.Tensor:
    """x [n, C, H, W] with the node's padding around it."""
    top, left, bottom, right = pads_of(node)
    if not any((top, left, bottom, right)):
        return x
    return F.pad(x, (left, right, top, bottom), value=value)


def nchw(x: torch.Tensor) -> torch.Tensor:
    """A view of NHWC as torch's convolutions take it; memory stays channels-last."""
    return x.permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1)


def conv2d(node: Node, operands: Operands) -> torch.Tensor:
    x, w, bias = operands
    y = F.conv2d(
        padded(node, nchw(x), 0.0),
        nchw(w),
        bias,
        stride=pair(node, "strides", 1),
        dilation=pair(node, "dilations", 1),
        groups=node.attrs.get("groups", 1),
    )
    return clamped(node, nhwc(y))


def depthwise_conv2d(node: Node, operands: Operands) -> torch.Tensor:
    x, w, bias = operands
    y = F.conv2d(
        padded(node, nchw(x), 0.0),
        w.permute(2, 0, 1)[:, None],
        bias,
        stride=pair(node, "strides", 1),
        dilation=pair(node, "dilations", 1),
        groups=x.shape[3],
    )
    return clamped(node, nhwc(y))


def fully_connected(node: Node, operands: Operands) -> torch.Tensor:
    x, w, bias = operands
    return clamped(node, F.linear(x, w, bias))


def add(node: Node, operands: Operands) -> torch.Tensor:
    return clamped(node, operands[0] + operands[1])


def mul(node: Node, operands: Operands) -> torch.Tensor:
    return clamped(node, operands[0] * operands[1])


def window_sums(node: Node, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over each window of x [n, H, W, C], and its number of real pixels [1, OH, OW, 1]."""
    kernel, strides = pair(node, "kernel"), pair(node, "strides", 1)

    def total(v: torch.Tensor) -> torch.Tensor:
        return nhwc(F.avg_pool2d(padded(node, nchw(v), 0.0), kernel, strides, divisor_override=1))

    return total(x), total(torch.ones((1, *x.shape[1:3], 1), dtype=x.dtype))


def average_pool2d(node: Node, operands: Operands) -> torch.Tensor:
    total, count = window_sums(node, operands[0])
    return clamped(node, total / count)


def max_pool2d(node: Node, operands: Operands) -> torch.Tensor:
    x = padded(node, nchw(operands[0]), -math.inf)
    y = F.max_pool2d(x, pair(node, "kernel"), pair(node, "strides", 1))
    return clamped(node, nhwc(y))


def clip(node: Node, operands: Operands) -> torch.Tensor:
    return clamped(node, operands[0])


def softmax(node: Node, operands: Operands) -> torch.Tensor:
    return F.softmax(operands[0] * float(node.attrs.get("beta", 1.0)), dim=-1)


def reshape(node: Node, operands: Operands) -> torch.Tensor:
    x = operands[0]
    return x.reshape(len(x), *node.attrs["shape"][1:])


def transpose(node: Node, operands: Operands) -> torch.Tensor:
    return operands[0].permute(*node.attrs["perm"])


FUNCTIONS: dict[str, Callable[[Node, Operands], torch.Tensor]] = {
    f.__name__: f
    for f in (
        conv2d, depthwise_conv2d, fully_connected, add, mul, average_pool2d, max_pool2d, clip,
        softmax, reshape, transpose,
    )
}  # fmt: skip
