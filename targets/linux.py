"""Boards that run Linux: the program is a process, and its file is what others call flash.

Addresses in "flash" are offsets in the executable; Linux decides where RAM is.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from targets.model import Region

PORT = "linux"
#: What a board file says instead of a target where it means the machine that edgekit runs on.
THIS_MACHINE = "linux-this-machine"
_FILE_BYTES = 1 << 30
#: Names of `platform.machine()` and `uname -m` by the architecture whose programs run there. Most
#: 64-bit Arms run 32-bit programs too; the others say so.
_MACHINES = {
    "x86_64": ("x86_64", "amd64"),
    "aarch64": ("aarch64", "arm64"),
    "arm": ("armv7l", "armv8l", "aarch64", "arm64"),
}
_THIS = {"x86_64": "linux-x86_64", "aarch64": "linux-aarch64", "arm": "linux-armv7"}
#: `e_machine` of their ELF files.
ELF_MACHINES = {"x86_64": 62, "aarch64": 183, "arm": 40}
#: Features of CPUs by their names in /proc/cpuinfo: the bit of AT_HWCAP that says that they are
#: there (Linux, arch/arm64/include/uapi/asm/hwcap.h and arch/arm/include/uapi/asm/hwcap.h; a 64-bit
#: kernel shows a 32-bit program the bits of the latter). Bits of AT_HWCAP2 are 32 places higher.
HWCAPS = {
    "aarch64": {"asimd": 1 << 1, "asimddp": 1 << 20, "i8mm": 1 << 32 + 13},
    "arm": {"neon": 1 << 12},
    "x86_64": {},
}
#: C libraries that drivers may be linked with.
GLIBC, BIONIC = "glibc", "bionic"


@dataclass(frozen=True)
class Libc:
    """The C library of a board whose programs load a driver.

    Attributes:
        loaders: the path of the dynamic loader by architecture.
        libraries: what programs need, by SONAME, with the functions that they call: those of the
            loader, and the one that a C library's own start files call.
    """

    loaders: Mapping[str, str]
    libraries: Mapping[str, tuple[str, ...]]


_LOADER_CALLS = ("dlopen", "dlsym")
LIBCS = {
    GLIBC: Libc(
        {
            "x86_64": "/lib64/ld-linux-x86-64.so.2",
            "aarch64": "/lib/ld-linux-aarch64.so.1",
        },
        # Since glibc 2.34 libdl.so.2 is empty: its functions are in libc.so.6.
        {"libdl.so.2": _LOADER_CALLS, "libc.so.6": ("__libc_start_main",)},
    ),
    BIONIC: Libc(
        {"x86_64": "/system/bin/linker64", "aarch64": "/system/bin/linker64"},
        {"libdl.so": _LOADER_CALLS, "libc.so": ("__libc_init",)},
    ),
}
#: The exit status of a program that its CPU lacks a feature for (EX_UNAVAILABLE of sysexits.h).
LACKS_FEATURE = 69


def this_machine() -> str:
    """The target of this machine, whatever its system; linux-x86_64 where it is none we know."""
    name = platform.machine().lower()
    return next((_THIS[a] for a, names in _MACHINES.items() if name in names), "linux-x86_64")


def runs_on(architecture: str, system: str, machine: str) -> bool:
    """Whether a machine (`uname -s`, `uname -m`) runs Linux programs of `architecture`."""
    return system == "Linux" and machine.lower() in _MACHINES[architecture]


def runs_here(architecture: str) -> bool:
    """Whether this machine runs Linux programs of `architecture`."""
    return runs_on(architecture, platform.system(), platform.machine())


def memories(ram_mib: int) -> tuple[Region, Region]:
    """The file and the RAM of a board that runs Linux."""
    return (
        Region("FILE", "flash", 0, _FILE_BYTES),
        Region("DRAM", "ram", _FILE_BYTES, ram_mib << 20),
    )
