"""Where the axis of time is in a node's result, given where it is in the operand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit.graph import Graph, Node, Shape
from edgekit.ops.audio.settings import Settings

#: Operators that treat every element alike; operands broadcast.
ELEMENTWISE = (
    "add", "sub", "mul", "div", "minimum", "maximum", "squared_difference", "pow", "mod", "prelu",
    "compare", "logical", "where", "clip", "unary", "cast",
)  # fmt: skip
#: Operators over the last axis, or over the channels of each step.
LAST_AXIS = ("softmax", "log_softmax", "l2_normalize", "layer_norm", "rms_norm")
#: Sliding windows over the axes 1 and 2 of NHWC, with their kernel's attribute or constant.
WINDOWS = ("conv2d", "depthwise_conv2d", "average_pool2d", "max_pool2d")


@dataclass(frozen=True)
class Window:
    """A sliding window along time, in steps of its operand."""

    reach: int  # steps from the first to the last that a window covers, both counted
    stride: int
    before: int
    after: int


def axis_after(graph: Graph, node: Node, axis: int) -> int | None:
    """The axis of time in the result of a node that works on every step by itself; None where it
    does not."""
    x, out = graph.values[node.inputs[0]], graph.values[node.output]
    if len(node.outputs) != 1:
        return None
    if node.op in ELEMENTWISE:
        moved = axis + len(out.shape) - len(x.shape)
        return moved if out.shape[moved] == x.shape[axis] else None
    if node.op in LAST_AXIS:
        return axis if axis != len(x.shape) - 1 else None
    if node.op == "fully_connected":
        return axis if axis < len(x.shape) - 1 and len(out.shape) == len(x.shape) else None
    if node.op == "transpose":
        return list(node.attrs["perm"]).index(axis)
    if node.op == "reshape":
        return _reshaped(x.shape, out.shape, axis)
    if node.op in ("concat", "gather"):
        return axis if node.attrs["axis"] != axis else None
    if node.op in ("slice", "pad", "reduce"):
        return _untouched(graph, node, axis)
    return None


def _reshaped(before: Shape, after: Shape, axis: int) -> int | None:
    """The axis of `after` with as many steps as `axis` had, and as many elements on either side."""
    inner = math.prod(before[axis + 1 :])
    for i, size in enumerate(after):
        if size == before[axis] and math.prod(after[i + 1 :]) == inner:
            return i
    return None


def _untouched(graph: Graph, node: Node, axis: int) -> int | None:
    x = graph.values[node.inputs[0]]
    if node.op == "slice":
        start, stop, step = (node.attrs[k][axis] for k in ("starts", "stops", "steps"))
        # The last steps of a window are the last ones of what a call makes, too.
        return axis if step == 1 and start >= 0 and stop in (None, x.shape[axis]) else None
    if node.op == "pad":
        rank = len(x.shape)
        pads = node.attrs["pads"]
        return axis if pads[axis] == pads[axis + rank] == 0 else None
    axes = node.attrs["axes"]
    if axis in axes:
        return None
    return axis if node.attrs["keepdims"] else axis - sum(a < axis for a in axes)


def window_of(graph: Graph, node: Node, axis: int) -> Window | None:
    """The window along time of a convolution, a pool or frames of audio; None for other nodes."""
    if node.op == "audio_features":
        s = Settings.of(node.attrs)
        # Preemphasis reads the sample in front of a frame.
        reach = s.frame_length + (1 if s.preemphasis else 0)
        return Window(reach, s.hop, s.margin, s.margin)
    if node.op not in WINDOWS or axis not in (1, 2):
        return None
    if node.op == "conv2d":
        size = graph.values[node.inputs[1]].shape[axis]
    elif node.op == "depthwise_conv2d":
        size = graph.values[node.inputs[1]].shape[axis - 1]
    else:
        size = node.attrs["kernel"][axis - 1]
    at = axis - 1
    dilation = (node.attrs.get("dilations") or (1, 1))[at]
    stride = (node.attrs.get("strides") or (1, 1))[at]
    pads = node.attrs.get("pads") or (0, 0, 0, 0)
    return Window((size - 1) * dilation + 1, stride, pads[at], pads[at + 2])
