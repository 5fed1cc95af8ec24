"""Where a resize reads: places and weights along one axis (docs/SPEC.md, "resize").

Coordinates are those of ONNX's Resize; with the attribute ``as_tflite`` they are computed as TFLite
does it: nearest in float32, linear with a scale rounded to 1/1024.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgekit.graph import Node

#: Fractional bits of places and weights in integers.
Q = 10


def _half_pixel(o: np.ndarray, scale: float, before: int, after: int) -> np.ndarray:
    return (o + 0.5) / scale - 0.5


def _half_pixel_symmetric(o: np.ndarray, scale: float, before: int, after: int) -> np.ndarray:
    # Of a result whose length was rounded, the middle stays in the middle.
    adjustment = after / (before * scale)
    offset = before / 2 * (1 - adjustment)
    return offset + (o + 0.5) / scale - 0.5


def _pytorch_half_pixel(o: np.ndarray, scale: float, before: int, after: int) -> np.ndarray:
    return _half_pixel(o, scale, before, after) if after > 1 else np.zeros_like(o)


def _align_corners(o: np.ndarray, scale: float, before: int, after: int) -> np.ndarray:
    # As the standard's tests have it, with the length before it is rounded down.
    length = before * scale
    return o * (before - 1) / (length - 1) if after > 1 else np.zeros_like(o)


def _asymmetric(o: np.ndarray, scale: float, before: int, after: int) -> np.ndarray:
    return o / scale


def _tf_half_pixel_for_nn(o: np.ndarray, scale: float, before: int, after: int) -> np.ndarray:
    return (o + 0.5) / scale


Coordinate = Callable[[np.ndarray, float, int, int], np.ndarray]
COORDINATES: dict[str, Coordinate] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "tf_half_pixel_for_nn": _tf_half_pixel_for_nn,
}
NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _coordinate_name(node: Node) -> str:
    return str(node.attrs.get("coordinates", "half_pixel"))


def _scale(node: Node, axis: int, before: int) -> float:
    """Result elements for one of the operand."""
    scales = node.attrs.get("scales")
    return float(scales[axis]) if scales else int(node.attrs["size"][axis]) / before


def places(node: Node, axis: int, before: int) -> np.ndarray:
    """float64 [after]: where each element of the result lies in an operand of length `before`."""
    after = int(node.attrs["size"][axis])
    o = np.arange(after, dtype=np.float64)
    return COORDINATES[_coordinate_name(node)](o, _scale(node, axis, before), before, after)


def nearest_places(node: Node, axis: int, before: int) -> np.ndarray:
    """int64 [after]: the element that each element of the result is."""
    if node.attrs.get("as_tflite"):
        return _tflite_nearest(node, axis, before)
    mode = str(node.attrs.get("nearest_mode", "round_prefer_floor"))
    x = places(node, axis, before)
    # Quotients that are whole numbers or halves in exact arithmetic are taken as such.
    exact = np.round(x * 2) / 2
    x = np.where(np.abs(x - exact) < 1e-9 * (1 + before), exact, x)
    return np.clip(NEAREST[mode](x), 0, before - 1).astype(np.int64)


def _tflite_nearest(node: Node, axis: int, before: int) -> np.ndarray:
    """TFLite's GetNearestNeighbor, in float32."""
    after, name = int(node.attrs["size"][axis]), _coordinate_name(node)
    f32 = np.float32
    corners = name == "align_corners"
    scale = f32(before) / f32(after)
    if corners and after > 1:
        scale = f32(before - 1) / f32(after - 1)
    offset = f32(0.5 if name in ("half_pixel", "tf_half_pixel_for_nn") else 0)
    x = (np.arange(after).astype(f32) + offset) * scale
    whole = np.floor(x + f32(0.5)) if corners else np.floor(x)
    return np.clip(whole, 0, before - 1).astype(np.int64)


def taps_of(
    node: Node, axis: int, before: int, *, whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(places int64 [after, T], weights [after, T]) of a linear or cubic resize along `axis`.

    Args:
        before: length of the operand along `axis`.
        whole: weights as int64 in units of 1/1024 that sum to 1024, else float64 that sum to 1.
    """
    if node.attrs.get("mode") == "linear" and not node.attrs.get("antialias"):
        return _linear(node, axis, before, whole)
    x = places(node, axis, before)
    at, weights = _kernel_taps(node, x, _scale(node, axis, before), before)
    if node.attrs.get("exclude_outside"):
        weights = np.where((at < 0) | (at >= before), 0, weights)
    weights = weights / weights.sum(1, keepdims=True)
    at = np.clip(at, 0, before - 1)
    return (at, _whole(weights)) if whole else (at, weights)


def _linear(node: Node, axis: int, before: int, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two taps; the coordinates are limited to the operand."""
    if node.attrs.get("as_tflite"):
        q = _tflite_places(node, axis, before)
    elif whole:
        q = np.floor(places(node, axis, before) * (1 << Q) + 0.5).astype(np.int64)
    else:
        x = np.clip(places(node, axis, before), 0, before - 1)
        low = np.floor(x).astype(np.int64)
        at = np.stack([low, np.minimum(low + 1, before - 1)], 1)
        return at, np.stack([1 - (x - low), x - low], 1)
    q = np.clip(q, 0, (before - 1) << Q)
    low, part = q >> Q, q & ((1 << Q) - 1)
    at, weights = (
        np.stack([low, np.minimum(low + 1, before - 1)], 1),
        np.stack([(1 << Q) - part, part], 1),
    )
    return (at, weights) if whole else (at, weights / (1 << Q))


def _tflite_places(node: Node, axis: int, before: int) -> np.ndarray:
    """int64 [after] in 1/1024: TFLite's ComputeInterpolationValuesInteger."""
    after, name = int(node.attrs["size"][axis]), _coordinate_name(node)
    scale = ((before << Q) + after // 2) // after
    if name == "align_corners" and after > 1:
        scale = (((before - 1) << Q) + (after - 1) // 2) // (after - 1)
    q = np.arange(after, dtype=np.int64) * scale
    return q + scale // 2 - (1 << (Q - 1)) if name == "half_pixel" else q


def _kernel_taps(
    node: Node, x: np.ndarray, scale: float, before: int
) -> tuple[np.ndarray, np.ndarray]:
    """Taps of an interpolation kernel around `x`; with antialias it is as wide as 1 / scale."""
    cubic = node.attrs.get("mode") == "cubic"
    a = float(node.attrs.get("cubic_coeff_a", -0.75))
    shrink = min(scale, 1.0) if node.attrs.get("antialias") else 1.0
    reach = (2.0 if cubic else 1.0) / shrink
    first = np.floor(x - reach).astype(np.int64) + 1
    count = int(np.ceil(2 * reach))
    at = first[:, None] + np.arange(count)
    distance = np.abs(at - x[:, None]) * shrink
    return at, _cubic(distance, a) if cubic else np.maximum(1 - distance, 0)


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel of Keys (IEEE Trans. ASSP 29, 1981) at distances `d` >= 0."""
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _whole(weights: np.ndarray) -> np.ndarray:
    """Weights in 1/1024 whose sum is 1024: the largest takes what rounding leaves over."""
    w = np.floor(weights * (1 << Q) + 0.5).astype(np.int64)
    rows = np.arange(len(w))
    w[rows, np.abs(w).argmax(1)] += (1 << Q) - w.sum(1)
    return w
