"""The caches of a core and the memory behind them, as native/memory.c has them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from targets.npu.costs import BUS

_LINES, _WRITES = 128, 8
#: The cycle and the words of a burst; returns the cycle after its last word.
Shared = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32)


class Caches(ctypes.Structure):
    """Mirrors ek_caches_t of native/memory.h."""

    _fields_ = [
        ("latency", ctypes.c_uint32),
        ("refill", ctypes.c_uint32),
        ("writes", ctypes.c_uint32),
        ("io_read", ctypes.c_uint32),
        ("io_start", ctypes.c_uint64),
        ("instructions", ctypes.c_uint32 * _LINES),
        ("data", ctypes.c_uint32 * _LINES),
        ("first", ctypes.c_uint64),
        ("free", ctypes.c_uint64),
        ("done", ctypes.c_uint64 * _WRITES),
        ("now", ctypes.c_uint64),
        ("next_write", ctypes.c_uint32),
        ("nth", ctypes.c_uint32),
        ("instruction_fills", ctypes.c_uint64),
        ("data_fills", ctypes.c_uint64),
        ("written", ctypes.c_uint64),
        ("shared", Shared),
    ]


@dataclass(frozen=True)
class CacheCosts:
    """Cycles of a core's caches: see native/memory.h. Sizes are 4 KiB each, lines of 32 bytes."""

    refill: int
    writes: int
    io_read: int
    io_start: int
    latency: int = BUS.latency


#: Measured with the core's Verilog on memory of that latency (docs/CYCLES.md).
VEXRISCV = CacheCosts(refill=4, writes=6, io_read=4, io_start=0x8000_0000)


def caches(costs: CacheCosts) -> Caches:
    """Empty caches."""
    return Caches(
        latency=costs.latency,
        refill=costs.refill,
        writes=costs.writes,
        io_read=costs.io_read,
        io_start=costs.io_start,
    )
