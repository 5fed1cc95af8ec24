"""Kernels, strides and pads of ONNX's window operators as [height, width].

A sequence [N, C, L] is an image of one line, so that windows over it have a height of 1.
"""

from __future__ import annotations

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.node import OnnxNode


def pair(node: OnnxNode, key: str, default: int, axes: int = 2) -> list[int]:
    """An attribute of one positive integer for each of `axes` spatial axes, as [h, w]."""
    value = node.integers(key) or [default] * axes
    if len(value) != axes:
        raise Refused(f"{key} {value} does not fit an operand with {axes} spatial axes")
    if min(value) < 1:
        raise invalid(f"node '{node.name}' ({node.op}): {key} {value} must be positive")
    return value if axes == 2 else [1, *value]


def pads_of(
    node: OnnxNode,
    size: tuple[int, int],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    axes: int = 2,
) -> list[int]:
    """[top, left, bottom, right] from `pads` or `auto_pad`."""
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = [0, 0, 0, 0]
        for i in (0, 1):
            reach = dilations[i] * (kernel[i] - 1) + 1
            total = max((-(-size[i] // strides[i]) - 1) * strides[i] + reach - size[i], 0)
            pads[i], pads[i + 2] = halves(total, mode)
        return pads
    if mode == "VALID":
        return [0, 0, 0, 0]
    if mode not in ("NOTSET", ""):
        raise invalid(f"node '{node.name}' ({node.op}): auto_pad '{mode}'")
    pads = node.integers("pads") or [0, 0] * axes
    if len(pads) != 2 * axes:
        raise Refused(f"pads {pads} do not fit an operand with {axes} spatial axes")
    if min(pads) < 0:
        raise Refused(f"pads {pads} crop the image")
    return pads if axes == 2 else [0, pads[0], 0, pads[1]]


def halves(total: int, mode: str) -> tuple[int, int]:
    """Padding before and behind; SAME_LOWER has the odd one in front."""
    less = total // 2
    return (total - less, less) if mode == "SAME_LOWER" else (less, total - less)


def ceil_pads(
    size: tuple[int, int], kernel: list[int], strides: list[int], dilations: list[int],
    pads: list[int],
) -> list[int]:  # fmt: skip
    """Pads whose rounding down gives the windows that ceil_mode gives."""
    result = list(pads)
    for i in (0, 1):
        reach = dilations[i] * (kernel[i] - 1) + 1
        count = -(-(size[i] + pads[i] + pads[i + 2] - reach) // strides[i]) + 1
        if (count - 1) * strides[i] >= size[i] + pads[i]:
            count -= 1  # a window must not begin in the padding behind the image
        result[i + 2] = max((count - 1) * strides[i] + reach - size[i] - pads[i], 0)
    return result
