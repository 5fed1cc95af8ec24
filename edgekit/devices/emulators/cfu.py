"""The custom function unit of docs/CFU.md for a `Machine`, whose core does not know it."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unicorn import riscv_const

from edgekit.toolchain import host_library
from targets.cfu.isa import CHANNELS, PIXELS

_OTHER = ctypes.CFUNCTYPE(None, ctypes.c_uint32)


class Unit(ctypes.Structure):
    """Mirrors cfu_t of native/cfu.c."""

    _fields_ = [
        ("read_register", ctypes.c_void_p),
        ("write_register", ctypes.c_void_p),
        ("read_memory", ctypes.c_void_p),
        ("other", _OTHER),
        ("pc", ctypes.c_int32),
        ("x0", ctypes.c_int32),
        ("enabled", ctypes.c_uint32),
        ("acc", ctypes.c_int32 * CHANNELS * PIXELS),
        ("bias", ctypes.c_int32 * CHANNELS),
        ("multiplier", ctypes.c_int32 * CHANNELS),
        ("right", ctypes.c_uint32 * CHANNELS),
        ("output", ctypes.c_uint32),
    ]


@functools.cache
def native() -> ctypes.CDLL:
    """The native half, compiled on first use."""
    source = Path(__file__).parent / "native" / "cfu.c"
    return ctypes.CDLL(str(host_library([source], flags=["-ffreestanding"])))


def unit(library: Any, other: Callable[[int], None]) -> Unit:
    """A unit whose instructions are enabled.

    Args:
        library: unicorn's shared library.
        other: what is to be done with an exception that the unit has nothing to do with.
    """
    return Unit(
        read_register=ctypes.cast(library.uc_reg_read, ctypes.c_void_p),
        write_register=ctypes.cast(library.uc_reg_write, ctypes.c_void_p),
        read_memory=ctypes.cast(library.uc_mem_read, ctypes.c_void_p),
        other=_OTHER(other),
        pc=riscv_const.UC_RISCV_REG_PC,
        x0=riscv_const.UC_RISCV_REG_X0,
        enabled=1,
    )
