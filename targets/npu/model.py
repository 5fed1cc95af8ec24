"""The accelerator in numpy: what docs/ACCELERATOR.md says, executed.

Commands run one by one; a stream without races has one result in whatever order that it allows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from targets.npu.check import check, order
from targets.npu.config import BANKS, BLOCK, TABLE_WORDS, Accelerator
from targets.npu.footprint import External, blocks_of, external, group_lanes
from targets.npu.isa import Add, Load, Opcode, Space, Store, Window

Region = bytes | bytearray | memoryview | NDArray[np.uint8]
_Bytes = NDArray[np.uint8]
_Int32 = NDArray[np.int32]

#: Bytes of an image that are gathered at a time.
_CHUNK = 1 << 22


def rescale(acc: NDArray[np.int32], parameters: NDArray[np.int32]) -> NDArray[np.int64]:
    """The manual's `rescale`, before the zero point.

    Args:
        acc: int32, channels last.
        parameters: int32 [channels, 3], as in external memory: bias, multiplier, shifts.
    """
    bias, multiplier, shifts = (parameters[:, i].astype(np.int64) for i in range(3))
    left, right = shifts & 31, shifts >> 8 & 31
    summed = (acc.astype(np.int64) + bias).astype(np.int32).astype(np.int64)
    v = (summed << left).astype(np.int32).astype(np.int64)
    h = (v * (multiplier & 0x7FFFFFFF) + (1 << 30)) >> 31
    half = (np.int64(1) << right) >> 1
    # Halves of negative numbers go down: half up after one less.
    result: NDArray[np.int64] = (h + half - ((h < 0) & (right > 0))) >> right
    return result


class Model:
    """An accelerator with its memories; they keep their content from stream to stream.

    Attributes:
        a: uint8 [a_words, 8].
        w: uint8 [w_words, out_lanes, 8].
        p: int32 [p_channels, 3]: bias, multiplier, shifts.
        t: int32 [512].
    """

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        self.a: _Bytes = np.zeros((config.a_words, BLOCK), np.uint8)
        self.w: _Bytes = np.zeros((config.w_words, config.out_lanes, BLOCK), np.uint8)
        self.p: _Int32 = np.zeros((config.p_channels, 3), np.int32)
        self.t: _Int32 = np.zeros(TABLE_WORDS, np.int32)

    def run(
        self, words: Sequence[int], regions: Sequence[Region], *, compute_first: bool = False
    ) -> None:
        """Execute a stream; STORE writes into `regions`, one buffer of bytes for each region.

        Args:
            compute_first: let the compute engine run as far ahead as it may, not the other one.

        Raises:
            CommandError: what `check` without RACE raises, before anything is executed.
            ValueError: a STORE into a buffer that is read only.
        """
        buffers = [np.frombuffer(r, np.uint8) for r in regions]
        sizes = [b.size for b in buffers]
        commands = check([int(w) for w in words], self.config, sizes, races=False)
        for index in order(commands, compute_first):
            command = commands[index]
            outside = external(command, self.config)
            if isinstance(command, Load) and outside:
                self._load(command, _part(buffers, outside))
            elif isinstance(command, Store) and outside:
                self._store(command, _part(buffers, outside))
            elif isinstance(command, Add):
                self._add(command)
            elif isinstance(command, Window):
                self._window(command)

    def _load(self, c: Load, data: _Bytes) -> None:
        if c.space == Space.A:
            blocks = blocks_of(c.channels)
            pixels = np.full((c.count, blocks * BLOCK), np.uint8(c.fill & 0xFF), np.uint8)
            pixels[:, : c.channels] = data.reshape(c.count, c.channels)
            words = pixels.reshape(c.count, blocks, BLOCK)
            self.a[_planes(c.base, c.plane, blocks, c.count)] = words.transpose(1, 0, 2)
        elif c.space == Space.W:
            width = BLOCK // 2 if c.half else BLOCK
            shape = (c.count, self.config.out_lanes, width)
            self.w[c.base : c.base + c.count, :, :width] = data.reshape(shape)
        elif c.space == Space.P:
            self.p[c.base : c.base + c.count] = data.view("<i4").reshape(c.count, 3)
        else:
            self.t[c.base : c.base + c.count] = data.view("<i4")

    def _store(self, c: Store, data: _Bytes) -> None:
        blocks = blocks_of(c.channels)
        words = self.a[_planes(c.base, c.plane, blocks, c.count)]
        pixels = words.transpose(1, 0, 2).reshape(c.count, blocks * BLOCK)
        data.reshape(c.count, c.channels)[:] = pixels[:, : c.channels]

    def _add(self, c: Add) -> None:
        left = self.t[self.a[c.a_base : c.a_base + c.count]]
        right = self.t[self.a[c.b_base : c.b_base + c.count].astype(np.intp) + 256]
        channels = np.arange(BLOCK) % self.config.requant_lanes
        parameters = self.p[c.p_base * self.config.requant_lanes + channels]
        self.a[c.o_base : c.o_base + c.count] = _finish(left + right, parameters, c)

    def _window(self, c: Window) -> None:
        """A whole CONV, DEPTHWISE, SUM or MAX, a few rows of pixels at a time."""
        channels = c.groups * group_lanes(c, self.config)
        lanes = self.config.requant_lanes
        entries = np.arange(channels) % lanes if c.uniform else np.arange(channels)
        parameters = self.p[c.p_base * lanes + entries]
        compute = self._convolve if c.opcode is Opcode.CONV else self._per_channel
        blocks = min(c.o_blocks, blocks_of(channels))
        rows = max(1, _CHUNK // (c.out_w * (c.steps * BLOCK * BANKS + channels)))
        # No row of the output is read again, so that it may be written before the next ones.
        for y in range(0, c.out_h, rows):
            some = np.arange(y, min(y + rows, c.out_h))
            result = _finish(compute(c, some), parameters, c)
            for block in range(blocks):
                part = result[:, block * BLOCK : (block + 1) * BLOCK]
                at = c.o_base + block * c.o_plane + y * c.out_w
                self.a[at : at + len(part), : part.shape[1]] = part

    def _gather(self, c: Window, rows: NDArray[np.intp], taps: int, block: int) -> _Bytes:
        """Bytes under the window: uint8 [rows, out_w, kernel_h, kernel_groups, taps, 8]."""
        columns = np.arange(c.out_w) * c.stride_w - c.pad_left
        iy = (rows * c.stride_h - c.pad_top)[:, None] + np.arange(c.kernel_h) * c.step_h
        ix = columns[:, None] + np.arange(c.kernel_groups) * c.step_w
        iy = iy[:, None, :, None, None]
        ix = (ix[:, :, None] + np.arange(taps))[None, :, None]
        inside = (iy >= 0) & (iy < c.in_h) & (ix >= 0) & (ix < c.in_w)
        at = c.a_base + block * c.a_plane + iy * c.in_w + ix
        words = self.a[np.where(inside, at, 0)]
        return np.where(inside[..., None], words, np.uint8(c.pad & 0xFF))

    def _convolve(self, c: Window, rows: NDArray[np.intp]) -> _Int32:
        """Accumulators [pixels, channels] of a CONV.

        A product has 14 bits and a group at most 2^31 of them: their sum is exact in float64, and
        is wrapped at its end.
        """
        share = BLOCK // c.taps
        pixels = len(rows) * c.out_w
        parts = []
        for block in range(c.blocks):
            lanes = self._gather(c, rows, c.taps, block)[..., :share]
            lanes = lanes.view(np.int8).astype(np.float64)
            lanes[:, :, :, -1, c.tail :] = 0
            parts.append(lanes.reshape(pixels, c.kernel_h * c.kernel_groups, 1, BLOCK))
        operand = np.concatenate(parts, axis=2).reshape(pixels, c.steps * BLOCK)
        words = self.w[c.w_base : c.w_base + c.groups * c.steps].view(np.int8)
        weights = words.reshape(c.groups, c.steps, self.config.out_lanes, BLOCK)
        matrix = weights.transpose(1, 3, 0, 2).reshape(c.steps * BLOCK, -1).astype(np.float64)
        return (operand @ matrix).astype(np.int64).astype(np.int32)

    def _per_channel(self, c: Window, rows: NDArray[np.intp]) -> _Int32:
        """Accumulators [pixels, channels] of a DEPTHWISE, SUM or MAX."""
        group = self.config.depthwise_lanes
        channels = c.groups * group
        pixels = len(rows) * c.out_w
        steps = c.kernel_h * c.kernel_groups
        words = self.w[c.w_base : c.w_base + c.groups * steps].view(np.int8)
        if c.opcode is Opcode.DEPTHWISE:
            lanes = words.reshape(c.groups, steps, self.config.out_lanes, BLOCK)[:, :, :group]
            # [step, channel, tap]
            weights = lanes.transpose(1, 0, 2, 3).reshape(steps, channels, BLOCK)
        else:
            weights = np.ones((steps, channels, BLOCK), np.int8)
        largest = c.opcode is Opcode.MAX
        acc = np.full((pixels, channels), -128 if largest else 0, np.int32)
        for block in range(blocks_of(channels)):
            mine = slice(block * BLOCK, min((block + 1) * BLOCK, channels))
            values = self._gather(c, rows, c.taps, block).view(np.int8)
            values = values.reshape(pixels, steps, c.taps, BLOCK)[..., : mine.stop - mine.start]
            for step in range(steps):
                last = step % c.kernel_groups == c.kernel_groups - 1
                for tap in range(c.tail if last else c.taps):
                    v = values[:, step, tap].astype(np.int32)
                    if largest:
                        acc[:, mine] = np.maximum(acc[:, mine], v)
                    else:
                        acc[:, mine] += v * weights[step, mine, tap].astype(np.int32)
        return acc


def _finish(acc: _Int32, parameters: _Int32, c: Window | Add) -> _Bytes:
    """Bytes of accumulators [pixels, channels]."""
    q = rescale(acc, parameters) + c.zero_point
    return np.minimum(np.maximum(q, c.low), c.high).astype(np.int8).view(np.uint8)


def _part(buffers: Sequence[_Bytes], outside: External) -> _Bytes:
    return buffers[outside.region][outside.offset : outside.offset + outside.nbytes]


def _planes(base: int, plane: int, blocks: int, count: int) -> NDArray[np.intp]:
    """Words [blocks, count] of an image."""
    words: NDArray[np.intp] = base + np.arange(blocks)[:, None] * plane + np.arange(count)
    return words


__all__ = ["Model", "Region", "rescale"]
