"""The accelerator of a virtual board: its registers, a simulator behind them, and a clock.

A stream is done at once, by firmware/npu/ek_npu_sim.c; the registers tell of it as if each command
finished when the estimate of `targets.npu.progress` says. So a program that waits for a command
waits as many cycles as it takes, and one that does not wait is not caught.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import host_library
from targets.npu.config import REGIONS, Accelerator
from targets.npu.isa import MAGIC, Error, decode
from targets.npu.progress import Progress

#: Bytes of the registers' page.
PAGE = 0x1000
ID, CONFIG, CONTROL, STATUS, STREAM, LENGTH = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
COMPUTED, TRANSFERRED, CYCLES, STEPS, WAITED, MOVED, STALLED = range(0x18, 0x34, 4)
BASE = 0x40
START, RESET = 1, 2
BUSY, DONE, ERROR = 1, 2, 4
_WORD, _MASK = 4, 0xFFFF_FFFF


class _Region(ctypes.Structure):
    """Mirrors ek_npu_region_t of firmware/npu/ek_npu.h."""

    _fields_ = [("data", ctypes.c_void_p), ("nbytes", ctypes.c_uint32)]


@functools.cache
def _library(config: Accelerator) -> Path:
    """The simulator of a configuration, compiled."""
    npu = firmware_folder() / "npu"
    here = Path(__file__).parent / "native"
    return host_library(
        [npu / "ek_npu_sim.c", npu / "ek_npu_check.c", here / "accelerator.c"],
        include=[npu, firmware_folder() / "include"],
        defines=config.defines,
    )


class Board(Protocol):
    """What an accelerator needs of the board that it is on: a `Machine`."""

    def host_memory(self, address: int) -> tuple[int, int] | None: ...
    def cycles_now(self) -> int: ...
    @property
    def memory_busy(self) -> tuple[int, int]: ...
    def share_memory(
        self, burst: Callable[[int, int], int] | None, busy: tuple[int, int]
    ) -> None: ...


class AcceleratorModel:
    """Registers of one accelerator, with memories of its own.

    Args:
        config: the hardware's parameters.
        board: its memory and its clock. While a stream runs, the CPU's bursts and its own wait for
            each other.
        instant: every command is done as soon as the stream is started: nobody counts cycles.
    """

    def __init__(self, config: Accelerator, board: Board, instant: bool = False) -> None:
        self.config, self.board, self.instant = config, board, instant
        # The simulator has its memories in static arrays: each accelerator needs its own copy.
        folder = Path(tempfile.mkdtemp(prefix="edgekit-"))
        source = _library(config)
        library = shutil.copy(source, folder / source.name)
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._run = ctypes.CDLL(str(library)).ek_virtual_stream
        self._run.restype = ctypes.c_uint32
        self._bases = [0] * REGIONS
        self._stream = self._length = self._started = self._failed = 0
        #: The stream that was started last.
        self.progress: Progress | None = None
        self._shares = False

    def reset(self) -> None:
        """As by the reset bit: from any state; the memories keep their content."""
        self._detach()
        self.progress, self._failed = None, 0

    def read(self, offset: int) -> int:
        """A register's value now."""
        if BASE <= offset < BASE + _WORD * REGIONS:
            return self._bases[(offset - BASE) // _WORD]
        fixed = {ID: MAGIC, CONFIG: self.config.word, STREAM: self._stream, LENGTH: self._length}
        if offset in fixed:
            return fixed[offset]
        now = self._advance()
        if self._failed or self.progress is None:
            return self._failed if offset == STATUS else 0
        if offset == STATUS:
            return DONE if self.progress.over and now >= self.progress.cycles else BUSY
        if offset in (COMPUTED, TRANSFERRED):
            times = self.progress.computed if offset == COMPUTED else self.progress.transferred
            return bisect_right(times, now)
        counters = self.progress.timing.at(now)
        values = {
            CYCLES: counters.cycles,
            STEPS: counters.steps,
            WAITED: counters.waited,
            MOVED: counters.moved,
            STALLED: counters.stalled,
        }
        return values.get(offset, 0) & _MASK

    def write(self, offset: int, value: int) -> None:
        """Set a register; CONTROL starts or resets."""
        if BASE <= offset < BASE + _WORD * REGIONS:
            self._bases[(offset - BASE) // _WORD] = value
        elif offset == STREAM:
            self._stream = value & ~3
        elif offset == LENGTH:
            self._length = value
        elif offset == CONTROL and value & RESET:
            self.reset()
        elif offset == CONTROL and value & START and not self._busy():
            self._start()

    def _busy(self) -> bool:
        now = self._advance()
        running = self.progress is not None and not (
            self.progress.over and now >= self.progress.cycles
        )
        return bool(self._failed) or running

    def _advance(self) -> int:
        """Let everything happen until now; returns the cycles since the start."""
        if self.progress is None:
            return 0
        if self.instant:
            return self.progress.cycles
        now = self.board.cycles_now() - self._started
        self.progress.advance(now)
        if self.progress.over:
            self._detach()
        elif self.progress.stuck:
            self._fail(Error.TOKEN, self.progress.stuck)
        return now

    def _fail(self, error: Error, command: int) -> None:
        self._failed = ERROR | error << 8 | command << 16
        self._detach()

    def _start(self) -> None:
        self._started = self.board.cycles_now()
        self.progress = None
        found = self.board.host_memory(self._stream)
        address, left = found or (0, 0)
        words = min(self._length, left // _WORD)
        regions = (_Region * REGIONS)()
        for region, base in zip(regions, self._bases, strict=True):
            region.data, region.nbytes = self.board.host_memory(base) or (None, 0)
        self._failed = int(self._run(ctypes.c_void_p(address), words, regions, REGIONS))
        if self._failed:
            return
        commands = decode(
            memoryview(ctypes.string_at(address, _WORD * words)).cast("I"), self.config
        )
        self.progress = Progress(
            commands, self.config, stream=self._stream, bases=tuple(self._bases)
        )
        if self.instant:
            self._finish_now()
            return
        first, free = self.board.memory_busy
        self.progress.first = max(0, first - self._started)
        self.progress.free = max(0, free - self._started)
        self._shares = True
        self.board.share_memory(self._burst, (first, free))

    def _finish_now(self) -> None:
        assert self.progress is not None
        try:
            self.progress.finish()
        except ValueError:
            self._fail(Error.TOKEN, self.progress.stuck)

    def _burst(self, cycle: int, words: int) -> int:
        """The CPU asks for a burst; returns when it is over."""
        assert self.progress is not None
        _, free = self.progress.burst(cycle - self._started, words)
        if self.progress.over:
            self._detach()
        return free + self._started

    def _detach(self) -> None:
        if self._shares and self.progress is not None:
            busy = (self.progress.first + self._started, self.progress.free + self._started)
            self.board.share_memory(None, busy)
        self._shares = False
