"""What templates of convolutions and fully connected layers have in common."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import Channels, analyse
from codegen.int8 import int8_weights
from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Operand
from codegen.overlap import sharing, tile_steps
from codegen.schedules import _window


def params(layer: Layer) -> dict[str, Any]:
    """Shapes of a conv2d or fully_connected layer; "taps" are a pixel's, in whole words.

    Raises:
        NotApplicable: for groups, floats, four-bit weights.
    """
    attrs = layer.node.attrs
    int8_weights(layer)
    if attrs.get("groups", 1) != 1:
        raise NotApplicable(f"{attrs['groups']} groups")
    shape = layer.inputs[1].shape
    if layer.node.op == "fully_connected":
        rows = layer.inputs[0].size // shape[1]
        p: dict[str, Any] = {"H": 1, "W": rows, "OH": 1, "OW": rows, "C": shape[1]}
        p |= {"kernel": [1, 1]}
        p |= {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]}
    else:
        p = _window.params(layer, (shape[1], shape[2]))
    kh, kw = p["kernel"]
    return p | {"O": shape[0], "taps": -(-kh * kw * p["C"] // 4) * 4, **layer.types}


def mode_of(p: dict[str, Any]) -> str:
    """ "pixels", "words" or "bytes"; `p` as `params` gives it."""
    if p["C"] % 4:
        return "bytes"
    tight = p["kernel"] == [1, 1] and not any(p["pads"]) and p["H"] * p["W"] == p["OH"] * p["OW"]
    return "pixels" if tight else "words"


def part_of(taps: int, most: int) -> int:
    """How many of `taps` weights (a multiple of 4) a loop's text has, `most` at most."""
    words = taps // 4
    return 4 * max(n for n in range(1, most // 4 + 1) if words % n == 0)


def channels_of(layer: Layer, taps: int) -> tuple[Channels, np.ndarray]:
    """The layer's channels, and their weights int8 [O, taps] with zeros at the end of each row."""
    channels = analyse(layer)
    weights = np.zeros((len(channels.weights), taps), np.int8)
    weights[:, : channels.weights.shape[1]] = channels.weights
    return channels, weights


def candidate(
    layer: Layer,
    p: dict[str, Any],
    packed: np.ndarray,
    cost: Cost,
    *,
    note: str = "",
    tile: int = 0,
) -> Candidate:
    """A kernel ``(x, w, y[, scratch])`` with parameters `p`, its constants in one array.

    Args:
        tile: pixels that are read as a whole before any of their results is written, the last tile
            being what is left; 0 where the output may not share memory with x.
    """
    spec = KernelSpec(
        layer.node.op,
        "thumb_dsp",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("w", str(packed.dtype), packed.size, "constant"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        {**p, "tile": tile} if tile else p,
    )
    found = Candidate(spec, (layer.inputs[0].name,), {"w": packed}, note=note, cost=cost)
    if not tile:
        return found
    return sharing(found, tile_steps({**p, "x_dtype": "int8"}, layer.output.nbytes, tile))
