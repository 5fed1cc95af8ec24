"""The compute engine under Verilator: many commands, with fields at their ends, and every fault.

An address outside is found by listing every word that a command touches, which says more than the
checkers do: they count whole rows of an image.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.toolchain.verilator import verilated_library
from targets.npu.check import check
from targets.npu.config import BLOCK, Accelerator
from targets.npu.footprint import group_lanes
from targets.npu.isa import Add, CommandError, Opcode, Window, encode, stream
from targets.npu.model import Model

from .bench import fill
from .commands import cycles_of, execute, extremes

_CONFIGURATIONS = (
    Accelerator("one", 1, 1, 256, 64, 64, lut_multipliers=True),
    Accelerator("two", 2, 1, 4096, 1024, 512),
    Accelerator("eight", 8, 4, 1024, 64, 64),
    Accelerator("thirty-two", 32, 8, 512, 64, 128),
)


@cache
def _library(config: Accelerator) -> ctypes.CDLL:
    from targets.npu.rtl.compute import Compute
    from targets.npu.rtl.memory import READ_LATENCY
    from targets.npu.rtl.verilog import verilog_of

    library = ctypes.CDLL(
        str(
            verilated_library(
                [verilog_of(Compute(config), "compute")],
                top="compute",
                harness=[Path(__file__).with_name("engine.cpp")],
                defines={"READ_LATENCY": str(READ_LATENCY)},
                opt="-O1",
            )
        )
    )
    library.engine_new.restype = ctypes.c_void_p
    return library


class _Engine:
    def __init__(self, config: Accelerator) -> None:
        self.config, self._library = config, _library(config)
        self._engine = ctypes.c_void_p(self._library.engine_new())

    def load(self, model: Model) -> None:
        c = self.config
        arrays = [np.ascontiguousarray(m) for m in (model.a, model.w, model.p, model.t)]
        a, w, p, t = (ctypes.c_void_p(m.ctypes.data) for m in arrays)
        self._library.engine_load(
            self._engine, a, c.a_words, w, c.w_words, c.word_bytes // 4, p, c.p_channels, t
        )

    def run(self, command: Window | Add) -> tuple[int, int]:
        words = (ctypes.c_uint32 * 14)(*encode(command))
        cycles = ctypes.c_uint32()
        end = self._library.engine_run(self._engine, words, 1_000_000, ctypes.byref(cycles))
        return end, cycles.value

    def dump(self) -> np.ndarray:
        a = np.zeros((self.config.a_words, BLOCK), np.uint8)
        self._library.engine_dump(self._engine, ctypes.c_void_p(a.ctypes.data), len(a))
        return a


def _outside(c: Window | Add, config: Accelerator) -> bool:
    """Whether a word that the command touches is outside of A, W or P."""
    if isinstance(c, Add):
        words = max(c.a_base, c.b_base, c.o_base) + c.count
        return words > config.a_words or c.p_base >= config.p_words
    channels = c.groups * group_lanes(c, config)
    weights = c.opcode in (Opcode.CONV, Opcode.DEPTHWISE)
    if weights and c.w_base + c.groups * c.steps > config.w_words:
        return True
    slices = 1 if c.uniform else channels // config.requant_lanes
    if c.p_base + slices > config.p_words:
        return True
    blocks = min(c.o_blocks, -(-channels // BLOCK))
    if c.o_base + (blocks - 1) * c.o_plane + c.out_h * c.out_w > config.a_words:
        return True
    block = c.blocks - 1 if c.opcode is Opcode.CONV else (channels - 1) // BLOCK
    row, column = _furthest(c)
    return min(row, column) >= 0 and c.a_base + block * c.a_plane + row * c.in_w + column >= (
        config.a_words
    )


def _furthest(c: Window) -> tuple[int, int]:
    """Last row and column of the image that are read, each -1 where none is."""
    y = np.arange(c.out_h)[:, None] * c.stride_h - c.pad_top + np.arange(c.kernel_h) * c.step_h
    lives = [c.taps] * (c.kernel_groups - 1) + [c.tail]
    starts = np.arange(c.out_w) * c.stride_w - c.pad_left
    x = np.concatenate(
        [starts + k * c.step_w + t for k, live in enumerate(lives) for t in range(live)]
    )
    rows, columns = y[(y >= 0) & (y < c.in_h)], x[(x >= 0) & (x < c.in_w)]
    return int(rows.max(initial=-1)), int(columns.max(initial=-1))


def _runs(command: Window | Add, config: Accelerator) -> bool:
    """Whether the checkers let it through, races included, so that its result is defined."""
    try:
        check(stream([command], config), config, [])
    except CommandError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("config", _CONFIGURATIONS, ids=lambda c: c.name)
def test_fields_at_their_ends(config: Accelerator) -> None:
    model, engine = Model(config), _Engine(config)
    fill(model, 1)
    engine.load(model)
    counts = {"faults": 0, "exact": 0}
    commands: Any = extremes(config, 1)
    for _ in range(800):
        command = next(commands)
        outside, exact = _outside(command, config), _runs(command, config)
        assert not (outside and exact)
        end, cycles = engine.run(command)
        assert end == (2 if outside else 1), command
        if exact:
            execute(model, command)
            assert cycles == cycles_of(command, config), command
            assert np.array_equal(engine.dump(), model.a), command
        else:
            model.a[:] = engine.dump()
        counts["faults"] += outside
        counts["exact"] += exact
    assert min(counts.values()) > 80, counts
