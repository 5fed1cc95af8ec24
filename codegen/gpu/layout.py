"""How tensors lie in a device's memory: blocks of four channels (docs/GPU.md, "Layout")."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

BLOCK = 4


@dataclass(frozen=True)
class Blocked:
    """A tensor as ``[ceil(channels / 4)][pixels][4]``; the gap in the last block is zero bytes."""

    pixels: int
    channels: int
    dtype: str

    @property
    def blocks(self) -> int:
        return -(-self.channels // BLOCK)

    @property
    def count(self) -> int:
        """Elements, with the gap."""
        return self.blocks * self.pixels * BLOCK

    @property
    def nbytes(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize


def blocked(shape: tuple[int, ...], dtype: str) -> Blocked:
    """The layout of a tensor [..., channels]; all axes in front are pixels."""
    return Blocked(prod(shape[:-1]), shape[-1] if shape else 1, dtype)


def pack(array: np.ndarray, layout: Blocked) -> np.ndarray:
    """Elements of a tensor in row-major order as they lie on the device, flat."""
    out = np.zeros((layout.blocks * BLOCK, layout.pixels), layout.dtype)
    out[: layout.channels] = array.reshape(layout.pixels, layout.channels).T
    split = out.reshape(layout.blocks, BLOCK, layout.pixels)
    return np.ascontiguousarray(split.transpose(0, 2, 1)).reshape(-1)


def unpack(flat: np.ndarray, layout: Blocked) -> np.ndarray:
    """The inverse of `pack`: [pixels, channels]."""
    planes = flat.reshape(layout.blocks, layout.pixels, BLOCK).transpose(1, 0, 2)
    rows = planes.reshape(layout.pixels, layout.blocks * BLOCK)
    return np.ascontiguousarray(rows[:, : layout.channels])
