"""ONNX operators with weights or windows: convolution, matrix product, normalization, pooling."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx_builder import OnnxBuilder, as_float, handles
from edgekit.importers.onnx_node import OnnxNode, operand
from edgekit.importers.onnx_shape import axis_of
from edgekit.importers.quantized import Grid


def _pair(node: OnnxNode, key: str, default: int) -> list[int]:
    value = node.integers(key) or [default, default]
    if len(value) != 2:
        raise Refused(f"{key} {value} is not two-dimensional")
    if min(value) < 1:
        raise invalid(f"node '{node.name}' ({node.op}): {key} {value} must be positive")
    return value


def _pads(
    node: OnnxNode,
    size: tuple[int, int],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
) -> list[int]:
    """[top, left, bottom, right] from `pads` or `auto_pad`."""
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = [0, 0, 0, 0]
        for i in (0, 1):
            reach = dilations[i] * (kernel[i] - 1) + 1
            total = max((-(-size[i] // strides[i]) - 1) * strides[i] + reach - size[i], 0)
            less = total // 2
            pads[i], pads[i + 2] = (less, total - less)[:: 1 if mode == "SAME_UPPER" else -1]
        return pads
    if mode == "VALID":
        return [0, 0, 0, 0]
    if mode not in ("NOTSET", ""):
        raise invalid(f"node '{node.name}' ({node.op}): auto_pad '{mode}'")
    pads = node.integers("pads") or [0, 0, 0, 0]
    if len(pads) != 4:
        raise Refused(f"pads {pads} are not two-dimensional")
    if min(pads) < 0:
        raise Refused(f"pads {pads} crop the image")
    return pads


@handles("Conv")
def conv(b: OnnxBuilder, node: OnnxNode) -> None:
    w = b.floats(node, 1, "weights")
    if w.ndim != 4:
        raise Refused(f"its weights have {w.ndim} axes, only 2-D convolutions with 4 are supported")
    groups = node.integer("group", 1)
    out_channels, per_group, *kernel = w.shape
    if (node.integers("kernel_shape") or kernel) != kernel:
        raise invalid(f"node '{node.name}': kernel_shape differs from its weights {list(w.shape)}")
    x, value = b.image(node)
    channels = value.shape[3]
    if groups < 1 or per_group * groups != channels or out_channels % groups or min(w.shape) < 1:
        raise invalid(
            f"node '{node.name}' (Conv): weights {list(w.shape)} in {groups} groups "
            f"do not fit {channels} channels"
        )
    strides, dilations = _pair(node, "strides", 1), _pair(node, "dilations", 1)
    pads = _pads(node, (value.shape[1], value.shape[2]), kernel, strides, dilations)
    attrs = {"strides": strides, "dilations": dilations, "pads": pads}
    bias = b.floats(node, 2, "bias") if operand(node, 2) else np.zeros(out_channels, np.float32)
    if bias.shape != (out_channels,):
        raise invalid(f"node '{node.name}' (Conv): bias {list(bias.shape)} of {out_channels}")
    if groups > 1 and per_group == 1:
        op, w, grid = "depthwise_conv2d", w[:, 0].transpose(1, 2, 0), b.grid(node, 1, 0, 2)
    else:
        op, w, grid = "conv2d", w.transpose(0, 2, 3, 1), b.grid(node, 1)
        attrs["groups"] = groups  # type: ignore[assignment]
    weights = b.constant(f"{node.name}:weights", w, grid)
    inputs = [x, weights, b.constant(f"{node.name}:bias", bias)]
    b.image_result(node, b.emit(op, inputs, attrs, node=node.name))


@handles("MatMul")
def matmul(b: OnnxBuilder, node: OnnxNode) -> None:
    if b.const(operand(node, 1)) is None:
        raise Refused("only products with a constant right operand are supported")
    w = b.floats(node, 1, "weights")
    if w.ndim != 2:
        raise Refused(f"its weights have {w.ndim} axes, only matrices are supported")
    x = b.x(node)
    shape = b.value(x).shape
    if not shape or shape[-1] != w.shape[0]:
        raise invalid(f"node '{node.name}' (MatMul): {list(shape)} times {list(w.shape)}")
    rows = math.prod(shape[:-1])
    bias = np.zeros(w.shape[1], np.float32)
    out, grid = node.outputs[0], b.grid(node, 1, 1)
    if len(shape) == 2 and rows == 1:
        _dense(b, node, x, w.T, bias, grid, out)
        return
    if rows == 1:
        x = b.reshape(x, (1, shape[-1]), node=node.name)
        y = _dense(b, node, x, w.T, bias, grid)
    else:  # one product per row: a 1x1 convolution over an image of one line
        x = b.reshape(x, (1, 1, rows, shape[-1]), node=node.name)
        weights = b.constant(f"{node.name}:weights", w.T[:, None, None, :], grid)
        y = b.emit("conv2d", [x, weights, b.constant(f"{node.name}:bias", bias)], node=node.name)
    b.reshape(y, (*shape[:-1], w.shape[1]), node=node.name, out=out)


def _dense(
    b: OnnxBuilder,
    node: OnnxNode,
    x: str,
    w: np.ndarray,
    bias: np.ndarray,
    grid: Grid | None,
    out: str = "",
) -> str:
    """fully_connected with w [O, K] and bias [O]."""
    weights = b.constant(f"{node.name}:weights", np.ascontiguousarray(w, np.float32), grid)
    bias_name = b.constant(f"{node.name}:bias", bias.astype(np.float32))
    return b.emit("fully_connected", [x, weights, bias_name], node=node.name, out=out)


@handles("Gemm")
def gemm(b: OnnxBuilder, node: OnnxNode) -> None:
    if b.const(operand(node, 1)) is None:
        raise Refused("only products with a constant right operand are supported")
    w = b.floats(node, 1, "weights")
    if node.integer("transA", 0):
        raise Refused("transA is not supported")
    x = b.x(node)
    shape = b.value(x).shape
    turned = bool(node.integer("transB", 0))
    w = w if turned else w.T
    if w.ndim != 2 or len(shape) != 2 or shape[1] != w.shape[1]:
        raise invalid(f"node '{node.name}' (Gemm): {list(shape)} times {list(w.shape)} transposed")
    if shape[0] != 1:
        raise Refused(f"its left operand has {shape[0]} rows, 1 is supported")
    bias: np.ndarray = np.zeros(w.shape[0], np.float32)
    if operand(node, 2):
        c = b.floats(node, 2, "bias").reshape(-1)
        if c.size not in (1, bias.size):
            raise invalid(f"node '{node.name}' (Gemm): {c.size} biases for {bias.size} results")
        bias = bias + c * np.float32(node.number("beta", 1.0))
    alpha = np.float32(node.number("alpha", 1.0))
    grid = b.grid(node, 1, 0 if turned else 1)
    if grid is not None and alpha != 0:
        grid = replace(grid, scale=grid.scale * abs(alpha))
    _dense(b, node, x, w * alpha, bias, grid, node.outputs[0])


@handles("BatchNormalization")
def batch_normalization(b: OnnxBuilder, node: OnnxNode) -> None:
    """x * scale/sqrt(var + eps) + (bias - mean * that): a mul and an add, which passes fold."""
    if node.integer("training_mode", 0) or any(node.outputs[1:]):
        raise Refused("training mode is not supported: export the model in evaluation mode")
    x = b.x(node)
    shape = b.value(x).shape
    if len(shape) not in (2, 4):
        raise Refused(f"its operand has {len(shape)} axes, 2 or 4 are supported")
    names = ("scale", "bias", "mean", "variance")
    p = [b.floats(node, i + 1, n).astype(np.float64) for i, n in enumerate(names)]
    for name, data in zip(names, p, strict=True):
        if data.shape != (shape[1],):
            raise invalid(f"node '{node.name}': {name} {list(data.shape)} for {shape[1]} channels")
    spread = p[3] + node.number("epsilon", 1e-5)
    if not (spread > 0).all():
        raise invalid(f"node '{node.name}' (BatchNormalization): variance below zero")
    factor = p[0] / np.sqrt(spread)
    scale = b.constant(f"{node.name}:scale", as_float(factor, "scale"))
    shift = b.constant(f"{node.name}:shift", as_float(p[1] - p[2] * factor, "bias"))
    if len(shape) == 2:
        y = b.emit("mul", [x, scale], node=node.name)
        b.emit("add", [y, shift], node=node.name, out=node.outputs[0])
        return
    x, _ = b.image(node)
    y = b.emit("mul", [x, scale], node=node.name)
    b.image_result(node, b.emit("add", [y, shift], node=node.name))


@handles("AveragePool", "MaxPool")
def pool(b: OnnxBuilder, node: OnnxNode) -> None:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise Refused("its second output, the indices, is not supported")
    kernel, strides = _pair(node, "kernel_shape", 0), _pair(node, "strides", 1)
    if _pair(node, "dilations", 1) != [1, 1]:
        raise Refused("dilated windows are not supported")
    x, value = b.image(node)
    size = (value.shape[1], value.shape[2])
    pads = _pads(node, size, kernel, strides, [1, 1])
    count_pads = node.op == "AveragePool" and node.integer("count_include_pad", 0) and any(pads)
    if node.integer("ceil_mode", 0):
        if count_pads:
            raise Refused("ceil_mode together with count_include_pad is not supported")
        pads = _ceil_pads(size, kernel, strides, pads)
    if count_pads:
        # Padding counts in the divisor: a depthwise convolution with equal weights.
        channels = value.shape[3]
        w = np.full((*kernel, channels), 1.0 / (kernel[0] * kernel[1]), np.float32)
        zeros = b.constant(f"{node.name}:bias", np.zeros(channels, np.float32))
        inputs = [x, b.constant(f"{node.name}:weights", w), zeros]
        attrs = {"strides": strides, "dilations": [1, 1], "pads": pads}
        b.image_result(node, b.emit("depthwise_conv2d", inputs, attrs, node=node.name))
        return
    op = "average_pool2d" if node.op == "AveragePool" else "max_pool2d"
    attrs = {"kernel": kernel, "strides": strides, "pads": pads}
    b.image_result(node, b.emit(op, [x], attrs, node=node.name))


def _ceil_pads(
    size: tuple[int, int], kernel: list[int], strides: list[int], pads: list[int]
) -> list[int]:
    """Pads whose rounding down gives the windows that ceil_mode gives."""
    result = list(pads)
    for i in (0, 1):
        count = -(-(size[i] + pads[i] + pads[i + 2] - kernel[i]) // strides[i]) + 1
        if (count - 1) * strides[i] >= size[i] + pads[i]:
            count -= 1  # a window must not begin in the padding behind the image
        result[i + 2] = max((count - 1) * strides[i] + kernel[i] - size[i] - pads[i], 0)
    return result


@handles("GlobalAveragePool", "GlobalMaxPool")
def global_pool(b: OnnxBuilder, node: OnnxNode) -> None:
    x, value = b.image(node)
    op = "average_pool2d" if node.op == "GlobalAveragePool" else "max_pool2d"
    b.image_result(node, _pool_all(b, node, op, x, [value.shape[1], value.shape[2]]))


def _pool_all(b: OnnxBuilder, node: OnnxNode, op: str, x: str, kernel: list[int]) -> str:
    attrs = {"kernel": kernel, "strides": kernel, "pads": [0, 0, 0, 0]}
    return b.emit(op, [x], attrs, node=node.name)


@handles("ReduceMean", "ReduceMax")
def reduce_image(b: OnnxBuilder, node: OnnxNode) -> None:
    """Mean or maximum over one or both spatial axes: a pool as large as they are."""
    x = b.x(node)
    shape = b.value(x).shape
    rank = len(shape)
    axes = b.integers(node, 1, "axes")
    if axes is None or not axes:
        raise Refused("a reduction over all axes is not supported")
    reduced = sorted({axis_of(node, a, rank) for a in axes})
    op = "average_pool2d" if node.op == "ReduceMean" else "max_pool2d"
    if rank == 4 and set(reduced) <= {2, 3}:
        image = b.transpose(x, (0, 2, 3, 1), node=node.name)
        kernel = [shape[2] if 2 in reduced else 1, shape[3] if 3 in reduced else 1]
        y = b.transpose(_pool_all(b, node, op, image, kernel), (0, 3, 1, 2), node=node.name)
    elif rank == 4 and set(reduced) <= {1, 2}:
        kernel = [shape[1] if 1 in reduced else 1, shape[2] if 2 in reduced else 1]
        y = _pool_all(b, node, op, x, kernel)
    elif rank == 3 and reduced == [1]:
        image = b.reshape(x, (shape[0], shape[1], 1, shape[2]), node=node.name)
        y = _pool_all(b, node, op, image, [shape[1], 1])
    elif rank == 3 and reduced == [2]:
        image = b.transpose(x, (0, 2, 1), node=node.name)
        image = b.reshape(image, (shape[0], shape[2], 1, shape[1]), node=node.name)
        y = _pool_all(b, node, op, image, [shape[2], 1])
    else:
        raise Refused(f"a reduction of {list(shape)} over the axes {reduced} is not supported")
    keep = node.integer("keepdims", 1)
    want = [1 if i in reduced else d for i, d in enumerate(shape) if keep or i not in reduced]
    b.reshape(y, want, node=node.name, out=node.outputs[0])
