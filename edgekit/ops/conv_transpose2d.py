"""conv_transpose2d: the transpose of a convolution, which spreads pixels over a larger image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.graph import Node, Value
from edgekit.ops import rules, weighted
from edgekit.ops import windows as win
from edgekit.ops.base import Inferred, Operator, require, result_dtype
from edgekit.ops.conv2d import OPERATOR as CONV2D
from edgekit.ops.requant import requantize_channels, tensor_quant


def output_padding(node: Node) -> win.Pair:
    """Rows and columns added behind, [h, w]."""
    extra = node.attrs.get("output_padding", [0, 0])
    return int(extra[0]), int(extra[1])


def transposed_size(node: Node, axis: int, size: int, kernel: int) -> int:
    """Length of the result along rows (axis 0) or columns (1)."""
    pads, stride = win.pads_of(node), win.pair(node, "strides", 1)[axis]
    extent = win.pair(node, "dilations", 1)[axis] * (kernel - 1) + 1
    return (size - 1) * stride + extent - pads[axis] - pads[axis + 2] + output_padding(node)[axis]


class ConvTranspose2d(Operator):
    """2-D transposed convolution over NHWC with [O, KH, KW, C/groups] weights and fused clamp."""

    name = "conv_transpose2d"
    converts = True
    rules = (
        weighted.x_w_bias, weighted.x_is_an_image, weighted.filters, weighted.weighted_dtypes,
        weighted.bias_per_channel, rules.convertible,
    )  # fmt: skip

    def infer(self, node: Node, inputs: list[Value]) -> Inferred:
        x, w, _ = inputs
        rows, columns = (
            transposed_size(node, axis, x.shape[axis + 1], w.shape[axis + 1]) for axis in (0, 1)
        )
        require(rows >= 1 and columns >= 1, node, f"pads leave an image of {rows} x {columns}")
        return [((x.shape[0], rows, columns, w.shape[0]), result_dtype(node, x))]

    def reference_float(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, w, bias = inputs
        return CONV2D.reference_float(*as_convolution(node, x, w, bias, 0))

    def reference_exact(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        x, w, bias = inputs
        return CONV2D.reference_exact(*as_convolution(node, x, w, bias, 0))

    def reference_int(
        self, node: Node, inputs: list[np.ndarray], values: list[Value], out: Value
    ) -> np.ndarray:
        zero_point = tensor_quant(values[0])[1]
        x, w, bias = inputs
        plain, (spread, flipped, _) = as_convolution(node, x, w, bias, zero_point)
        acc = CONV2D.accumulate(plain, spread, flipped, bias, zero_point)
        return requantize_channels(node, acc, values, out)

    def macs(self, node: Node, inputs: list[Value], out: Value) -> int:
        x, w = inputs[:2]
        return x.shape[0] * x.shape[1] * x.shape[2] * w.size


def as_convolution(
    node: Node, x: np.ndarray, w: np.ndarray, bias: np.ndarray, zero: int
) -> tuple[Node, list[np.ndarray]]:
    """The convolution that gives the same: of x with `zero` between its pixels and around it."""
    strides, dilations = win.pair(node, "strides", 1), win.pair(node, "dilations", 1)
    pads, extra = win.pads_of(node), output_padding(node)
    sizes = [(x.shape[axis + 1] - 1) * strides[axis] + 1 for axis in (0, 1)]
    around = []
    for axis in (0, 1):
        reach = dilations[axis] * (w.shape[axis + 1] - 1)
        around.append((reach - pads[axis], reach - pads[axis + 2] + extra[axis]))
    spread = np.full((len(x), *sizes, x.shape[3]), zero, x.dtype)
    spread[:, :: strides[0], :: strides[1]] = x
    # A negative width takes rows or columns away.
    spread = np.pad(
        spread, [(0, 0), *((max(a, 0), max(b, 0)) for a, b in around), (0, 0)],
        constant_values=np.asarray(zero, x.dtype),
    )  # fmt: skip
    cut = [slice(max(-a, 0), size - max(-b, 0)) for (a, b), size in
           zip(around, spread.shape[1:3], strict=True)]  # fmt: skip
    attrs = {**node.attrs, "strides": [1, 1], "pads": [0, 0, 0, 0]}
    plain = replace(node, op="conv2d", attrs=attrs)
    return plain, [spread[:, cut[0], cut[1]], w[:, ::-1, ::-1], bias]


OPERATOR = ConvTranspose2d()
