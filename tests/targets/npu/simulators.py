"""Both simulators on the same streams, with what they leave in memory."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import host_executable, host_library
from targets.npu.check import check
from targets.npu.config import TABLE_WORDS, Accelerator
from targets.npu.isa import CommandError, Error
from targets.npu.model import Model

from .streams import Case

HERE = Path(__file__).parent
ROOT = firmware_folder()
SOURCES = (HERE / "simulate.c", ROOT / "npu" / "ek_npu_check.c")
INCLUDE = (ROOT / "include", ROOT / "npu")


@dataclass
class Outcome:
    """What is left after a stream; only the error where it was refused.

    Attributes:
        memories: the bytes of A, W, P and T.
    """

    error: Error
    command: int = 0
    regions: Sequence[bytes] = ()
    memories: Sequence[bytes] = ()


def in_numpy(cases: Sequence[Case], compute_first: bool = False) -> list[Outcome]:
    """The outcomes of targets/npu/model.py, from memories that are zero."""
    outcomes = []
    for case in cases:
        model = Model(case.config)
        regions = [bytearray(r) if i in case.writable else r for i, r in enumerate(case.regions)]
        try:
            model.run(case.words, regions, compute_first=compute_first)
        except CommandError as refused:
            outcomes.append(Outcome(refused.error, refused.command))
            continue
        memories = [m.tobytes() for m in (model.a, model.w, model.p, model.t)]
        outcomes.append(Outcome(Error.NONE, 0, [bytes(r) for r in regions], memories))
    return outcomes


def in_c(
    cases: Sequence[Case], run: Callable[[bytes, int], bytes], check_only: bool = False
) -> list[Outcome]:
    """The outcomes of ek_npu_sim.c; `run` is `library(...)` or `sanitized(...)`.

    With `check_only` the streams are only checked.
    """
    room = sum(4 + sum(map(len, c.regions)) + sum(_memory_bytes(c.config)) for c in cases)
    found, at = run(b"".join(_packed(c, not check_only) for c in cases), room), 0
    outcomes = []
    for case in cases:
        (status,) = struct.unpack_from("=I", found, at)
        at += 4
        if status:
            assert status & 0xFF == 4
            outcomes.append(Outcome(Error(status >> 8 & 0xFF), status >> 16))
            continue
        if check_only:
            outcomes.append(Outcome(Error.NONE))
            continue
        parts = []
        for size in (*map(len, case.regions), *_memory_bytes(case.config)):
            parts.append(found[at : at + size])
            at += size
        count = len(case.regions)
        outcomes.append(Outcome(Error.NONE, 0, parts[:count], parts[count:]))
    assert at == len(found)
    return outcomes


@cache
def library(config: Accelerator, compiler: str) -> Callable[[bytes, int], bytes]:
    """The simulator as a compiler optimizes it."""
    path = host_library(
        SOURCES, include=INCLUDE, defines=config.defines, opt="-O2", compiler=compiler
    )
    simulate = ctypes.CDLL(str(path)).simulate
    simulate.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    simulate.restype = ctypes.c_size_t

    def run(data: bytes, room: int) -> bytes:
        out = ctypes.create_string_buffer(room)
        size = simulate(data, len(data), out)
        return out.raw[:size]

    return run


@cache
def sanitized(config: Accelerator) -> Callable[[bytes, int], bytes]:
    """The simulator under the address and undefined-behaviour sanitizers."""
    program = host_executable(
        SOURCES, include=INCLUDE, defines=config.defines, opt="-O1", sanitize=True
    )

    def run(data: bytes, room: int) -> bytes:
        command = [str(program), str(len(data)), str(room)]
        done = subprocess.run(command, input=data, capture_output=True, timeout=300)
        assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
        return done.stdout

    return run


def checked(cases: Sequence[Case], races: bool = False) -> list[Outcome]:
    """What targets/npu/check.py says."""
    outcomes = []
    for case in cases:
        try:
            check(case.words, case.config, [len(r) for r in case.regions], races=races)
            outcomes.append(Outcome(Error.NONE))
        except CommandError as refused:
            outcomes.append(Outcome(refused.error, refused.command))
    return outcomes


def differences(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> list[str]:
    """What is not the same, in words; the regions' and memories' differing bytes counted."""
    found = []
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if (a.error, a.command) != (b.error, b.command):
            found.append(f"{number}: {a.error!r} at {a.command}, {b.error!r} at {b.command}")
            continue
        for what, left, right in (
            ("region", a.regions, b.regions),
            ("memory", a.memories, b.memories),
        ):
            for i, (x, y) in enumerate(zip(left, right, strict=True)):
                if x != y:
                    bytes_ = np.frombuffer(x, np.uint8) != np.frombuffer(y, np.uint8)
                    found.append(f"{number}: {what} {i}: {bytes_.sum()} bytes")
    return found


def _packed(case: Case, execute: bool) -> bytes:
    numbers = [int(execute), len(case.words), *case.words, len(case.regions)]
    regions = [struct.pack("=I", len(r)) + r for r in case.regions]
    return struct.pack(f"={len(numbers)}I", *numbers) + b"".join(regions)


def _memory_bytes(config: Accelerator) -> tuple[int, int, int, int]:
    return config.a_bytes, config.w_bytes, config.p_channels * 12, TABLE_WORDS * 4


__all__ = ["Outcome", "checked", "differences", "in_c", "in_numpy", "library", "sanitized"]
