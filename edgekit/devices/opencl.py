"""What OpenCL offers on this machine: ``python -m edgekit.devices.opencl`` prints it as JSON.

A process of its own asks, because a driver that is broken takes the process with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

LIBRARIES = ("libOpenCL.so.1", "libOpenCL.so")
#: Seconds that drivers have to say what they are.
PATIENCE = 30
_PLATFORM_NAME, _TYPE, _NAME, _DRIVER = 0x0902, 0x1000, 0x102B, 0x102D
_CPU, _GPU, _ALL = 2, 4, 0xFFFFFFFF


@dataclass(frozen=True)
class Device:
    """A device; `kind` is "GPU", "CPU" or "other"."""

    platform: str
    name: str
    driver: str
    kind: str


def devices() -> list[Device] | str:
    """Every device of every platform, or why that cannot be said."""
    command = [sys.executable, "-m", __name__]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return [Device(**entry) for entry in json.loads(done.stdout)]
    except subprocess.TimeoutExpired:
        return f"a driver says nothing for {PATIENCE} s"
    except (OSError, ValueError, TypeError):
        return "a driver fails when it is asked"


def _library() -> Any:
    given = os.environ.get("EDGEKIT_OPENCL_LIBRARY")
    for name in [given] if given else LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _handles(ask: Callable[[int, Any, Any], int]) -> list[int]:
    count = ctypes.c_uint()
    if ask(0, None, ctypes.byref(count)) or not count.value:
        return []
    handles = (ctypes.c_void_p * count.value)()
    return [] if ask(count.value, handles, None) else [h for h in handles if h]


def _text(ask: Any, handle: int, what: int) -> str:
    size = ctypes.c_size_t()
    arguments = (ctypes.c_void_p(handle), ctypes.c_uint(what))
    if ask(*arguments, ctypes.c_size_t(0), None, ctypes.byref(size)):
        return ""
    text = ctypes.create_string_buffer(size.value + 1)
    return "" if ask(*arguments, size, text, None) else text.value.decode(errors="replace")


def _ask() -> list[Device]:
    library, found = _library(), []
    if library is None:
        return []
    for platform in _handles(lambda n, ids, m: int(library.clGetPlatformIDs(n, ids, m))):
        platform_name = _text(library.clGetPlatformInfo, platform, _PLATFORM_NAME)

        def of_platform(n: int, ids: Any, m: Any, platform: int = platform) -> int:
            every = ctypes.c_uint64(_ALL)
            return int(library.clGetDeviceIDs(ctypes.c_void_p(platform), every, n, ids, m))

        for device in _handles(of_platform):
            kind = ctypes.c_uint64()
            library.clGetDeviceInfo(
                ctypes.c_void_p(device), ctypes.c_uint(_TYPE), ctypes.c_size_t(8),
                ctypes.byref(kind), None,
            )  # fmt: skip
            found.append(
                Device(
                    platform_name,
                    _text(library.clGetDeviceInfo, device, _NAME),
                    _text(library.clGetDeviceInfo, device, _DRIVER),
                    "GPU" if kind.value & _GPU else "CPU" if kind.value & _CPU else "other",
                )
            )
    return found


if __name__ == "__main__":
    print(json.dumps([asdict(device) for device in _ask()]))
