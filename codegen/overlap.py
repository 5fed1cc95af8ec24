"""Which bytes of its input a kernel still needs while it writes its output.

A kernel runs in steps. Step t first reads, no input byte below `low`, and then has written output
bytes 0 to `end`. With W(t) the `end` of step t (or of an earlier one that wrote further) and R(t)
the lowest byte that any later step reads, the output may start d bytes below the input where
W(t) - R(t) <= d for every step t that has written and is not the last reader: then output byte
W(t) - 1 lies below input byte R(t). The smallest such d is the kernel's `overlap`.

A step whose reads and writes alternate is listed as two: what has been written before its last
read, and its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from codegen.kernel import BYTES, Candidate, Operand

#: Places in the arena are multiples of this many bytes.
ALIGN = 8
#: (lowest input byte read, end of the output bytes written), by step.
Steps = Iterable[tuple[int, int]] | np.ndarray


def overlap_of(steps: Steps, input_bytes: int) -> int:
    """The smallest d, in bytes, such that the output may start at or below input start - d.

    Args:
        steps: (lowest input byte that the step reads, end of what is written when it ends), in the
            order of execution; the reads of a step come before its writes.
        input_bytes: size of the input; -input_bytes is returned where everything is read before
            anything is written.
    """
    table = steps if isinstance(steps, np.ndarray) else np.array(list(steps), np.int64)
    table = table.reshape(-1, 2)
    end = np.maximum.accumulate(table[:-1, 1])
    later = np.minimum.accumulate(table[:0:-1, 0])[::-1]
    written = end > 0
    return max(int((end - later)[written].max(initial=-input_bytes)), -input_bytes)


def tile_steps(p: dict[str, Any], out_bytes: int, tile: int = 1) -> Steps:
    """Steps of a kernel that reads the windows of `tile` pixels and then writes these pixels.

    Args:
        p: a window's parameters as `codegen.schedules._window.params` gives them, with "x_dtype".
        out_bytes: bytes of the whole output.
        tile: pixels at a time, in the order of rows; the last tile may be smaller.
    """
    starts = _starts(p)
    pixel = out_bytes // starts.size
    firsts = np.arange(0, starts.size, tile)
    lows = np.minimum.reduceat(starts, firsts)
    return _pairs(lows, np.minimum(firsts + tile, starts.size) * pixel)


def channel_steps(p: dict[str, Any], out_bytes: int, channels: int) -> Steps:
    """Steps of a kernel that reads a pixel's window anew for each of its `channels` results."""
    starts = _starts(p)
    pixel = out_bytes // starts.size
    before_last = np.arange(starts.size) * pixel + pixel - pixel // channels
    ends = np.stack([before_last, (np.arange(starts.size) + 1) * pixel], 1)
    return _pairs(np.repeat(starts, 2), ends.ravel())


def window_steps(p: dict[str, Any], out_bytes: int, channels: int) -> Steps:
    """Steps of a kernel that works channel by channel of each pixel (pools, depthwise); result
    channel o of `channels` reads input channel o // (channels / C)."""
    starts = _starts(p)
    read = np.arange(channels) * p["C"] // channels * BYTES[p["x_dtype"]]
    lows = (starts[:, None] + read).ravel()
    return _pairs(lows, (np.arange(lows.size) + 1) * (out_bytes // lows.size))


def row_steps(p: dict[str, Any], out_bytes: int, channels: int) -> Steps:
    """Steps of a kernel that copies an output row's input rows before it writes any of it."""
    rows = np.arange(p["OH"])
    lows = np.maximum(rows * p["strides"][0] - p["pads"][0], 0).astype(np.int64)
    row_bytes = p["W"] * p["C"] * BYTES[p["x_dtype"]]
    return _pairs(lows * row_bytes, (rows + 1) * (out_bytes // p["OH"]))


def element_steps(read: np.ndarray, x_dtype: str, y_dtype: str) -> Steps:
    """Steps of a kernel that writes element i after it has read the input's element `read[i]`."""
    count = np.arange(read.size) + 1
    return _pairs(read.ravel() * BYTES[x_dtype], count * BYTES[y_dtype])


def sharing(candidate: Candidate, steps: Steps | None = None, *, same: bool = False) -> Candidate:
    """`candidate` with its first input and its output marked as operands that may share memory.

    Args:
        steps: the order of access, None where it allows nothing.
        same: the output may start exactly where the input starts, whatever `steps` say.

    Returns:
        the candidate as it was where sharing gains nothing, or where C lets a compiler assume that
        pointers of these two types are distinct.
    """
    x = next(o for o in candidate.spec.operands if o.role == "input")
    y = next(o for o in candidate.spec.operands if o.role == "output")
    if x.dtype != y.dtype and 1 not in (BYTES[x.dtype], BYTES[y.dtype]):
        return candidate
    overlap = overlap_of(steps, x.nbytes) if steps is not None else None
    if overlap is not None and aligned(overlap) >= aligned(y.nbytes):
        overlap = None
    if overlap is None and not same:
        return candidate

    def marked(operand: Operand) -> Operand:
        return replace(operand, alias=True) if operand in (x, y) else operand

    spec = replace(candidate.spec, operands=tuple(map(marked, candidate.spec.operands)))
    return replace(candidate, spec=spec, in_place=same, overlap=overlap)


def aligned(nbytes: int) -> int:
    """`nbytes` rounded up to a multiple of ALIGN; towards zero where it is negative."""
    return -(-nbytes // ALIGN) * ALIGN


def _starts(p: dict[str, Any]) -> np.ndarray:
    """int64 [OH * OW]: the lowest input byte in the window of each pixel."""
    rows = np.maximum(np.arange(p["OH"]) * p["strides"][0] - p["pads"][0], 0)
    columns = np.maximum(np.arange(p["OW"]) * p["strides"][1] - p["pads"][1], 0)
    pixels = rows[:, None] * p["W"] + columns
    return pixels.ravel().astype(np.int64) * (p["C"] * BYTES[p["x_dtype"]])


def _pairs(lows: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return np.stack([lows, ends], 1)
