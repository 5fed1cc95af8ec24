"""Sliding windows in TE: which input pixel a tap reads, and whether it is one."""

from __future__ import annotations

from typing import Any

from codegen.kernel import Layer


def params(layer: Layer, kernel: tuple[int, int]) -> dict[str, Any]:
    """Shapes and attributes of a windowed layer that its code depends on."""
    attrs = layer.node.attrs
    _, height, width, channels = layer.inputs[0].shape
    _, out_height, out_width, _ = layer.output.shape
    return {
        "H": height,
        "W": width,
        "C": channels,
        "OH": out_height,
        "OW": out_width,
        "kernel": list(kernel),
        "strides": list(attrs.get("strides", [1, 1])),
        "dilations": list(attrs.get("dilations", [1, 1])),
        "pads": list(attrs.get("pads", [0, 0, 0, 0])),
    }


def row(p: dict[str, Any], oh: Any, kh: Any) -> Any:
    """Input row of tap `kh` for output row `oh`; negative or >= H in the padding."""
    return oh * p["strides"][0] + kh * p["dilations"][0] - p["pads"][0]


def column(p: dict[str, Any], ow: Any, kw: Any) -> Any:
    return ow * p["strides"][1] + kw * p["dilations"][1] - p["pads"][1]


def row_inside(p: dict[str, Any], ih: Any) -> Any:
    """Condition that row `ih` exists, or True where every row does."""
    from codegen.tvm_api import all_of

    span = (p["OH"] - 1) * p["strides"][0] + (p["kernel"][0] - 1) * p["dilations"][0]
    return all_of(*_inside(ih, p["pads"][0], span, p["H"]))


def column_inside(p: dict[str, Any], iw: Any) -> Any:
    from codegen.tvm_api import all_of

    span = (p["OW"] - 1) * p["strides"][1] + (p["kernel"][1] - 1) * p["dilations"][1]
    return all_of(*_inside(iw, p["pads"][1], span, p["W"]))


def run_inside(p: dict[str, Any], run: Any) -> list[Any]:
    """Conditions that byte `run` of an input row (pixels times channels) exists."""
    if not p["pads"][1] and not p["pads"][3]:
        return []
    return [run >= 0, run < p["W"] * p["C"]]


def _inside(index: Any, before: int, span: int, size: int) -> list[Any]:
    conditions = []
    if before > 0:
        conditions.append(index >= 0)
    if span - before >= size:
        conditions.append(index < size)
    return conditions


def padded(p: dict[str, Any]) -> bool:
    """Whether any window reaches into padding."""
    return any(p["pads"])


def pixel(p: dict[str, Any], x: Any, ih: Any, iw: Any, c: Any, outside: Any) -> Any:
    """``x[ih, iw, c]``, or `outside` where that is padding."""
    from codegen.tvm_api import all_of, select

    inside = all_of(row_inside(p, ih), column_inside(p, iw))
    return x[ih, iw, c] if inside is True else select(inside, x[ih, iw, c], outside)
