"""Functions of the firmware's headers called from tests: on this machine and on the virtual M4."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgekit.devices.emulators.bench import Bench, InOut, link_functions
from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import find_compiler, host_library
from targets import board

HERE = Path(__file__).parent / "firmware"
ROOT = firmware_folder()
SOURCES = [
    *(HERE / f"{n}_math.c" for n in ("kernel", "norm")),
    *(ROOT / "src" / f"ek_{n}.c" for n in ("dsp", "softmax")),
]
M4 = board("virtual-cortex-m4")
EXPORTED = [
    "srdhm", "rounding_shift", "multiply", "requantize", "average", "clamp8", "softmax",
    "softmax_scale", "rescale", "rescale_relu", "smlad", "smmulr", "smmlar", "ssat8", "add_sign",
    "pack4", "int8x4", "int4", "requantize16", "ssat16", "interpolate", "softmax16_at",
    "rescaled_right", "softmax16_inverse_at", "softmax16_value", "quantize", "dequantize", "clampf",
    "multiply_add", "norm_inverse_root", "norm_floor_sqrt", "norm_scaled", "norm_affine",
    "norm_inverse_sqrt", "norm_log", "wide",
]  # fmt: skip
DOTS = ["ek_dot_5x1", "ek_dot_1x4"]
DOTS_W4 = [f"{name}_w4" for name in DOTS]
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
EDGES = np.array([INT32_MIN, INT32_MIN + 1, -(2**30), -129, -128, -1, 0, 1, 127, 128, 2**30,
                  2**30 + 1, INT32_MAX - 1, INT32_MAX])  # fmt: skip
#: Calls a function with input arrays, an array that it updates, and a count.
Call = Callable[[str, list[np.ndarray], np.ndarray, int], np.ndarray]


@cache
def host_functions(short: bool = False) -> ctypes.CDLL:
    """The functions on this machine; `short`: as on a core whose products have 32 bits."""
    defines = {"EK_SHORT_MULTIPLY": ""} if short else {}
    return ctypes.CDLL(str(host_library(SOURCES, include=[ROOT / "include"], defines=defines)))


@cache
def m4_library(compiler: str, flags: tuple[str, ...] = ()) -> Bench:
    cc = find_compiler(compiler, M4.target)
    sources = [*SOURCES, ROOT / "src" / "ek_dsp_dot.S"]
    names = [*(f"each_{name}" for name in EXPORTED), *DOTS, *DOTS_W4]
    objects = cc.objects(sources, include=[ROOT / "include"], flags=flags)
    return Bench(link_functions(objects, M4, names, compiler), M4)


def on_host(
    name: str, inputs: list[np.ndarray], out: np.ndarray, n: int, short: bool = False
) -> np.ndarray:
    arrays = [np.ascontiguousarray(a) for a in (*inputs, out)]
    result = arrays[-1] = arrays[-1].copy()
    getattr(host_functions(short), name)(*(ctypes.c_void_p(a.ctypes.data) for a in arrays), n)
    return result


def on_short_host(name: str, inputs: list[np.ndarray], out: np.ndarray, n: int) -> np.ndarray:
    return on_host(name, inputs, out, n, short=True)


def on_m4(name: str, inputs: list[np.ndarray], out: np.ndarray, n: int) -> np.ndarray:
    """In pieces, because the virtual core has little RAM."""
    step, parts = 1500, []
    for i in range(0, n, step):
        count = min(step, n - i)
        piece = [a[i * len(a) // n : (i + count) * len(a) // n].tobytes() for a in (*inputs, out)]
        done = m4_library("zig").call(name, [*piece[:-1], InOut(piece[-1]), count])
        parts.append(np.frombuffer(done.outputs[0], out.dtype))
    return np.concatenate(parts)


@pytest.fixture(params=["host", "short", "m4"])
def each_way(request: pytest.FixtureRequest) -> Iterator[Call]:
    yield {"host": on_host, "short": on_short_host, "m4": on_m4}[request.param]


def int32(values: np.ndarray | list[int]) -> np.ndarray:
    return np.ascontiguousarray(values).astype(np.int32)


def random(call: Call, low: int, high: int, seed: int = 0) -> np.ndarray:
    """Many numbers on the host, fewer on the emulator; small ones as often as large ones."""
    chance = np.random.default_rng(seed)
    count = 200_000 if call is on_host else 20_000
    wide = chance.integers(low, high, count, endpoint=True)
    return np.where(chance.random(count) < 0.5, wide, wide >> chance.integers(0, 31, count))


def zeros(n: int) -> np.ndarray:
    return np.zeros(n, np.int32)


def multipliers(n: int, seed: int = 1) -> np.ndarray:
    m = np.random.default_rng(seed).integers(2**30, 2**31, n)
    m[::7], m[1::7] = 2**30, INT32_MAX
    return m


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_array_equal(found, wanted.astype(found.dtype))
