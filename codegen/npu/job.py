"""What the accelerator does of one layer, before it is known where anything lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from targets.npu.config import BLOCK, Accelerator
from targets.npu.footprint import group_lanes
from targets.npu.isa import Window


@dataclass(frozen=True)
class Image:
    """A tensor as the accelerator sees it: pixels in rows, channels in blocks of 8."""

    height: int
    width: int
    channels: int

    @property
    def blocks(self) -> int:
        return -(-self.channels // BLOCK)

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def words(self) -> int:
        """Words of the activation memory."""
        return self.blocks * self.pixels

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in external memory."""
        return self.width * self.channels


def image_of(shape: tuple[int, ...]) -> Image:
    """A tensor [1, H, W, C] as it is, [1, N, C] as one row of pixels, [1, C] as one pixel."""
    *front, channels = shape[1:] if len(shape) > 1 else (1, *shape)
    if len(front) == 2:
        return Image(front[0], front[1], channels)
    return Image(1, int(np.prod(front, dtype=np.int64)), channels)


@dataclass(frozen=True)
class Part:
    """Pixels of a result that are rescaled alike: the first `columns` of rows `top` to `bottom` - 1
    with the parameters from entry `entry` on. A later part overwrites an earlier one."""

    top: int
    bottom: int
    columns: int
    entry: int = 0


@dataclass(frozen=True)
class WindowJob:
    """A window over value `x`: `window` is the command for the whole image, with every base 0.

    `weights` has the bytes of external memory, uint8 [groups, bytes of a group], None where there
    are none; `parameters` are int32 [entries, 3]: bias, multiplier, shifts.
    """

    x: str
    y: str
    image: Image
    result: Image
    window: Window
    parameters: NDArray[np.int32]
    weights: NDArray[np.uint8] | None = None
    half: bool = False
    parts: tuple[Part, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.x,)

    def image_of(self, value: str) -> Image:
        """The image that operand `value` is."""
        return self.image

    def moved(self, names: Mapping[str, str]) -> WindowJob:
        """The same with the names that operands have in a run."""
        return replace(self, x=names.get(self.x, self.x))

    def rows_of(self, top: int, bottom: int) -> tuple[int, int]:
        """Rows of the image that result rows `top` to `bottom` - 1 need, first and behind."""
        w = self.window
        first = top * w.stride_h - w.pad_top
        last = (bottom - 1) * w.stride_h - w.pad_top + (w.kernel_h - 1) * w.step_h
        return max(first, 0), min(last + 1, self.image.height)

    def lanes(self, a: Accelerator) -> int:
        """Channels of a group."""
        return group_lanes(self.window, a)


@dataclass(frozen=True)
class AddJob:
    """The sum of a function of each byte of `a` and one of each byte of `b`.

    `tables` are int32 [512]; `parameters` one entry for each rescaling lane.
    """

    a: str
    b: str
    y: str
    result: Image
    tables: NDArray[np.int32]
    parameters: NDArray[np.int32]
    zero_point: int
    low: int
    high: int

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.a,) if self.a == self.b else (self.a, self.b)

    def image_of(self, value: str) -> Image:
        return self.result

    def moved(self, names: Mapping[str, str]) -> AddJob:
        return replace(self, a=names.get(self.a, self.a), b=names.get(self.b, self.b))

    def rows_of(self, top: int, bottom: int) -> tuple[int, int]:
        return top, bottom


@dataclass(frozen=True)
class ConcatJob:
    """Functions of each byte of several values, one behind the other in the result's channels:
    part i goes to its blocks from `blocks[i]` on."""

    parts: tuple[AddJob, ...]
    blocks: tuple[int, ...]
    y: str
    result: Image

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.a for part in self.parts))

    def image_of(self, value: str) -> Image:
        return next(part.result for part in self.parts if part.a == value)

    def moved(self, names: Mapping[str, str]) -> ConcatJob:
        return replace(self, parts=tuple(part.moved(names) for part in self.parts))

    def rows_of(self, top: int, bottom: int) -> tuple[int, int]:
        return top, bottom


Job = WindowJob | AddJob | ConcatJob


def parameters(
    bias: NDArray[np.int64], multiplier: NDArray[np.int32], shift: NDArray[np.int32], entries: int
) -> NDArray[np.int32]:
    """int32 [entries, 3] as they lie in external memory; channels beyond those given are zero.

    Args:
        bias: any integers; the accumulator's 32 bits are taken.
        shift: to the left where positive, as in `edgekit.ops.requant`.
    """
    found = np.zeros((entries, 3), np.int32)
    n = shift.size
    found[:n, 0] = bias.astype(np.int32)
    found[:n, 1] = multiplier
    found[:n, 2] = np.maximum(shift, 0) | np.maximum(-shift, 0) << 8
    return found


def alike(multiplier: int, left: int, right: int, entries: int) -> NDArray[np.int32]:
    """The same without a bias and with both shifts, for channels that are all rescaled alike."""
    return np.tile(np.array([0, multiplier, left | right << 8], np.int32), (entries, 1))


def as_it_is(entries: int) -> NDArray[np.int32]:
    """Parameters that leave a number as it is."""
    return alike(1 << 30, 1, 0, entries)
