"""ONNX's Resize and its predecessor Upsample."""

from __future__ import annotations

import math

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.onnx.shape import axis_of


@handles("Resize")
def resize(b: OnnxBuilder, node: OnnxNode) -> None:
    """Constant sizes or scales; nearest, linear and cubic, all coordinates but crops."""
    x = b.tensor(node)
    shape = b.value(x).shape
    mode = node.text("mode", "nearest")
    if node.opset < 11:  # coordinates begin at the same corner, without halves
        scales = list(b.floats(node, 1, "scales").reshape(-1).astype(float))
        _emit(b, node, x, _floor(node, shape, scales), scales, _old(mode, scales))
        return
    coordinates = node.text("coordinate_transformation_mode", "half_pixel")
    if coordinates == "tf_crop_and_resize":
        raise Refused("tf_crop_and_resize is not supported: crop with Slice")
    axes = node.integers("axes")
    at = list(range(len(shape))) if axes is None else [axis_of(node, a, len(shape)) for a in axes]
    sizes = b.integers(node, 3, "sizes") if operand(node, 3) else None
    if sizes is not None:
        size, scales = _fitted(node, shape, at, sizes)
    else:
        given = b.floats(node, 2, "scales").reshape(-1).astype(float)
        scales = [1.0] * len(shape)
        if len(given) != len(at):
            raise invalid(f"node '{node.name}' (Resize): {len(given)} scales for {len(at)} axes")
        for axis, scale in zip(at, given, strict=True):
            scales[axis] = float(scale)
        size = _floor(node, shape, scales)
    attrs: dict[str, object] = {"mode": mode, "coordinates": coordinates}
    if mode == "nearest":
        attrs["nearest_mode"] = node.text("nearest_mode", "round_prefer_floor")
    if mode == "cubic":
        attrs["cubic_coeff_a"] = node.number("cubic_coeff_a", -0.75)
    for key in ("antialias", "exclude_outside"):
        if node.integer(key, 0):
            attrs[key] = True
    _emit(b, node, x, size, scales, attrs)


@handles("Upsample")
def upsample(b: OnnxBuilder, node: OnnxNode) -> None:
    """Constant scales; nearest and linear."""
    x = b.tensor(node)
    scales = node.attrs.get("scales")
    if scales is None:
        scales = list(b.floats(node, 1, "scales").reshape(-1).astype(float))
    _emit(b, node, x, _floor(node, b.value(x).shape, scales), scales,
          _old(node.text("mode", "nearest"), scales))  # fmt: skip


def _old(mode: str, scales: list[float]) -> dict[str, object]:
    """What Upsample and the first Resize mean, in the words of later versions."""
    attrs: dict[str, object] = {"mode": mode, "coordinates": "asymmetric"}
    if mode == "nearest":
        attrs["nearest_mode"] = "ceil" if min(scales, default=1.0) < 1 else "floor"
    return attrs


def _floor(node: OnnxNode, shape: tuple[int, ...], scales: list[float]) -> list[int]:
    if len(scales) != len(shape) or not all(math.isfinite(s) and s > 0 for s in scales):
        raise invalid(f"node '{node.name}' ({node.op}): scales {scales} for {list(shape)}")
    return [math.floor(d * s + 1e-6) for d, s in zip(shape, scales, strict=True)]


def _fitted(
    node: OnnxNode, shape: tuple[int, ...], at: list[int], sizes: list[int]
) -> tuple[list[int], list[float]]:
    """Size and scales for wanted sizes, which may be limits of a shape that keeps its aspect."""
    if len(sizes) != len(at) or min(sizes, default=1) < 1:
        raise invalid(f"node '{node.name}' (Resize): sizes {sizes} for {len(at)} axes of "
                      f"{list(shape)}")  # fmt: skip
    size, scales = list(shape), [1.0] * len(shape)
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    ratios = [n / shape[axis] for n, axis in zip(sizes, at, strict=True)]
    for axis, wanted, ratio in zip(at, sizes, ratios, strict=True):
        if policy == "stretch":
            size[axis], scales[axis] = wanted, ratio
        else:
            scales[axis] = min(ratios) if policy == "not_larger" else max(ratios)
            size[axis] = math.floor(scales[axis] * shape[axis] + 0.5)
    return size, scales


def _emit(
    b: OnnxBuilder,
    node: OnnxNode,
    x: str,
    size: list[int],
    scales: list[float],
    attrs: dict[str, object],
) -> None:
    shape = b.value(x).shape
    if min(size, default=1) < 1:
        raise invalid(f"node '{node.name}' ({node.op}) makes the shape {size}")
    if list(shape) == size and all(s == 1 for s in scales):
        b.rename(node, x)
        return
    attrs["size"] = size
    exact = [n / d for n, d in zip(size, shape, strict=True)]
    if not np.allclose(exact, scales, rtol=1e-9, atol=0):
        attrs["scales"] = [float(s) for s in scales]
    quant = b.value(x).quant if attrs["mode"] == "nearest" else None
    b.emit("resize", [x], attrs, node=node.name, out=node.outputs[0], quant=quant)
