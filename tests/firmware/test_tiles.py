"""ek_tile.h on this machine and on every core that has its own text of it, against numpy."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
import pytest
from kernel_math import ROOT, int32

from edgekit.devices.emulators.bench import Bench, InOut, link_functions
from edgekit.toolchain import find_compiler, host_library
from targets import board

SOURCES = [ROOT / "src" / name for name in ("ek_tile.c", "ek_tile_v6m.S", "ek_tile_v7m.S")]
NAMES = ["ek_tile_2x2", "ek_tile_1x4", "ek_tile_2x2_s16", "ek_tile_1x4_s16"]
#: Every remainder of four, none at all, and long rows.
TAPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 27, 64, 147)


@cache
def bench(core: str) -> Bench:
    on = board(f"virtual-{core}")
    objects = find_compiler("zig", on.target).objects(SOURCES, include=[ROOT / "include"])
    return Bench(link_functions(objects, on, NAMES), on, strict=True)


def on_host(name: str, x: np.ndarray, w: np.ndarray, acc: np.ndarray) -> np.ndarray:
    path = host_library(SOURCES[:1], include=[ROOT / "include"])
    found = acc.copy()
    arrays = [ctypes.c_void_p(a.ctypes.data) for a in (x, w, found)]
    getattr(ctypes.CDLL(str(path)), name)(*arrays[:2], x.shape[1], arrays[2])
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["host", "cortex-m0", "cortex-m3", "cortex-m33", "riscv32"])
def test_tiles(where: str, name: str) -> None:
    chance = np.random.default_rng(len(name))
    pixels, channels = (int(n) for n in name.removesuffix("_s16")[-3:].split("x"))
    dtype = np.dtype(np.int16 if name.endswith("_s16") else np.int8)
    limits = np.iinfo(dtype)
    for taps in TAPS:
        for fill in (None, (limits.min, -128), (limits.min, 127), (limits.max, -128)):
            x = chance.integers(limits.min, limits.max + 1, (pixels, taps))
            w = chance.integers(-128, 128, (channels, taps))
            if fill:
                x[:], w[:] = fill
            acc = int32(chance.integers(-(2**28), 2**28, pixels * channels))
            wanted = acc + (x @ w.T).ravel()
            x, w = x.astype(dtype), w.astype(np.int8)
            if where == "host":
                found = on_host(name, x, w, acc)
            else:
                arguments = [x.tobytes(), w.tobytes(), taps, InOut(acc.tobytes())]
                done = bench(where).call(name, arguments)
                found = np.frombuffer(done.outputs[0], np.int32)
            np.testing.assert_array_equal(found, wanted, err_msg=f"{name} {taps} {fill}")


@pytest.mark.parametrize(("core", "most"), [("cortex-m0", 3.8), ("cortex-m3", 2.4)])
def test_instructions_of_a_product(core: str, most: float) -> None:
    for name in ("ek_tile_2x2", "ek_tile_1x4"):
        done = bench(core).call(name, [bytes(1024), bytes(1024), 256, InOut(bytes(16))])
        assert done.instructions / (4 * 256) < most, name
