"""The accelerator's simulator in C as a library, a configuration each."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import numpy as np

from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import host_library
from targets.npu.config import Accelerator

from .execute import Simulator

_NPU = firmware_folder() / "npu"


class _Region(ctypes.Structure):
    """ek_npu_region_t."""

    _fields_ = [("data", ctypes.c_void_p), ("nbytes", ctypes.c_uint32)]


@cache
def in_c(config: Accelerator) -> Simulator:
    """firmware/npu/ek_npu_sim.c; its memories keep what the stream before left."""
    sources = [_NPU / "ek_npu_sim.c", _NPU / "ek_npu_check.c", _NPU.parent / "app/ek_npu_host.c"]
    library = ctypes.CDLL(
        str(host_library(sources, include=[_NPU.parent / "include", _NPU], defines=config.defines))
    )

    def run(words: np.ndarray, regions: Sequence[np.ndarray]) -> None:
        table = (_Region * len(regions))(*((r.ctypes.data, r.nbytes) for r in regions))
        library.ek_npu_start(ctypes.c_void_p(words.ctypes.data), len(words), table, len(regions))
        library.ek_npu_wait(0, 0)

    return run
