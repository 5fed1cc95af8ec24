"""Runs of the GPU runtime's core under sanitizers, on a device that does as it is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from bundles import TINY
from tools import need

from edgekit.bundle import Golden
from edgekit.bundle.gpu import (
    Gpu,
    GpuArgument,
    GpuFunction,
    GpuLaunch,
    GpuLayer,
    GpuSize,
    GpuTensor,
    GpuVariant,
)
from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import host_executable

HERE = Path(__file__).parent / "firmware" / "gpu"
ROOT = firmware_folder()
W1, W2 = np.arange(16, dtype=np.int8), np.arange(16, 32, dtype=np.int8)
TEXT = b"prelude one(w) two(w) fast exact no kernel for it"


def _text(word: str) -> tuple[int, int]:
    return TEXT.index(word.encode()), len(word)


#: Both layers of the tiny bundle on the device: the first in two variants, the second in one.
GPU = Gpu(
    text=TEXT,
    functions=tuple(
        GpuFunction(*_text(name), *_text(source), 0, 0, 64, 20)
        for name, source in (("one", "one(w)"), ("two", "two(w)"))
    ),
    arguments=(
        GpuArgument(0, 0, 16, 0), GpuArgument(1, 0, 16, 0), GpuArgument(0, 128, 16, 1),
        GpuArgument(0, 128, 16, 0), GpuArgument(1, 128, 16, 0), GpuArgument(0, 256, 16, 1),
    ),
    launches=(
        GpuLaunch(0, 0, 3, 0, 3, 16, 1, 1),
        GpuLaunch(1, 0, 3, 0, 3, 16, 1, 1),
        GpuLaunch(1, 3, 3, 0, 1, 16, 1, 1),
    ),
    sizes=(GpuSize(8, 1, 1), GpuSize(16, 1, 1), GpuSize(2, 1, 1)),
    variants=(
        GpuVariant(*_text("fast"), 0, 0, 1),
        GpuVariant(*_text("exact"), 0, 1, 1),
        GpuVariant(*_text("exact"), 0, 2, 1),
    ),
    tensors=(
        GpuTensor(1, 16, 1, 0, 16, 0, 0),
        GpuTensor(1, 16, 1, 128, 16, 16, 0),
        GpuTensor(1, 16, 1, 256, 16, 0, 0),
    ),
    operands=(0, 1, 1, 2),
    layers=(GpuLayer(0, 2, 0, 1, 1, 0, 0), GpuLayer(2, 1, 2, 1, 1, 0, 0)),
    inputs=(0,),
    outputs=(2,),
    constants=W1.tobytes() + bytes(112) + W2.tobytes(),
    arena_bytes=384,
    prelude=_text("prelude "),
)  # fmt: skip


def sample(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(-128, 128, 16).astype(np.int8).tobytes()


def right(x: bytes) -> bytes:
    return (np.frombuffer(x, np.int8) + W1 + W2).astype(np.int8).tobytes()


BUNDLE = replace(
    TINY, gpu=GPU, golden=tuple(Golden((sample(s),), (right(sample(s)),)) for s in (1, 2))
)
#: The first layer alone on the device.
HALF = replace(
    BUNDLE,
    gpu=replace(
        GPU, layers=(GPU.layers[0], GPU.layers[1]._replace(
            variant_count=0, why_not=_text("no kernel for it")[0], why_not_bytes=16))
    ),
)  # fmt: skip


@cache
def program() -> Path:
    need("gcc")
    sources = [ROOT / "src" / f"ek_{name}.c" for name in ("runtime", "verify")]
    sources += [p for p in sorted((ROOT / "gpu").glob("ek_gpu*.c"))
                if "opencl" not in p.name and "vulkan" not in p.name]  # fmt: skip
    sources += [HERE.parent / "tiny_kernels.c", HERE / "fake_device.c", HERE / "run_core.c"]
    sources.append(ROOT / "linux" / "ek_system.c")
    folders = [ROOT / name for name in ("include", "src", "gpu", "linux")]
    return host_executable(sources, include=[*folders, HERE], opt="-O1",
                           flags=("-fwrapv",), sanitize=True)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What run_core printed."""

    text: str
    said: list[str]
    layers: list[str]
    runs: list[tuple[int, bytes, int, int]]

    @property
    def statuses(self) -> list[int]:
        return [status for status, *_ in self.runs]

    @property
    def exact(self) -> bool:
        """Whether every inference gave the CPU's bytes."""
        return [y for _, y, *_ in self.runs] == [right(sample(s)) for s in range(10, 13)]


Run = Callable[..., Result]


def timed(found: Result) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    rows = re.findall(r"timed (\d+) (\d+) (\d+): (\d+) (\d+) (\d+)", found.text)
    return {(int(a), int(b), int(c)): (int(d), int(e), int(f)) for a, b, c, d, e, f in rows}
