"""A stand-in for Android's user space: glibc behind the names of bionic's loader and libraries."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tools import need

from edgekit.devices.firmware.build import firmware_folder
from edgekit.output import Output

HERE = Path(__file__).parent
#: glibc's loader on this machine, and where Debian's cross compiler has AArch64's libraries.
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
SYSROOT = Path("/usr/aarch64-linux-gnu")
_SOURCE = """\
    .section .rodata
    .globl phone_source, phone_source_end
phone_source:
    .incbin "{path}"
phone_source_end:
    .section .note.GNU-stack,"",%progbits
"""


def libraries(folder: Path, compiler: str = "gcc") -> Path:
    """libdl.so, which is glibc's, and libc.so, which starts programs as bionic's does."""
    need(compiler)
    folder.mkdir(parents=True, exist_ok=True)
    glibc = ["-Wl,--no-as-needed", "-l:libc.so.6"]
    for name, sources in (("libdl.so", []), ("libc.so", [str(HERE / "bionic_libc.c")])):
        command = [compiler, "-shared", "-fPIC", "-O1", "-nostdlib", *sources]
        command += [*glibc, f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run(command, check=True, timeout=60)
    return folder


def runner_here(folder: Path) -> Path:
    """A command that starts a program of Android for x86-64 on this machine."""
    command = folder / "linker64"
    libraries(folder / "lib")
    command.write_text(f'#!/bin/sh\nexec {LOADER} --library-path {folder / "lib"} "$@"\n')
    command.chmod(0o755)
    return command


def phone(folder: Path) -> Path:
    """A root for qemu-aarch64 (QEMU_LD_PREFIX): /system/bin/linker64 and libraries."""
    need("qemu-aarch64", "aarch64-linux-gnu-gcc")
    loader = SYSROOT / "lib" / "ld-linux-aarch64.so.1"
    if not loader.exists():
        need("libc6-dev-arm64-cross")  # no command, but that is what is missing
    libraries(folder / "lib", "aarch64-linux-gnu-gcc")
    for path in (SYSROOT / "lib").glob("*.so.*"):
        (folder / "lib" / path.name).symlink_to(path)
    (folder / "system" / "bin").mkdir(parents=True)
    (folder / "system" / "bin" / "linker64").symlink_to(loader)
    return folder


def add_opencl(root: Path, model: Output) -> Path:
    """The vendor's library in a `phone`, which computes `model` on the (emulated) CPU."""
    need("clang-15")
    gpu = model.bundle.gpu
    assert gpu is not None
    vendor, made = root / "vendor" / "lib64", root / "opencl"
    vendor.mkdir(parents=True)
    made.mkdir()
    text = gpu.text[gpu.prelude[0] :][: gpu.prelude[1]]
    for function in gpu.functions:
        if not function.local_bytes:
            text += gpu.text[function.source :][: function.source_bytes]
    (made / "functions.cl").write_bytes(text)
    (made / "source.S").write_text(_SOURCE.format(path=made / "functions.cl"))
    # Functions of a CPU, where OpenCL's own kind has no calling convention.
    cl = ["clang-15", "--target=aarch64-linux-gnu", "-x", "cl", "-cl-std=CL1.2", "-O2", "-fPIC",
          "-D__kernel=", "-Xclang", "-finclude-default-header", "-c"]  # fmt: skip
    for name in (made / "functions.cl", HERE / "phone_builtins.cl"):
        subprocess.run([*cl, str(name), "-o", str(made / f"{name.stem}.o")], check=True, timeout=60)
    subprocess.run(
        ["aarch64-linux-gnu-gcc", "-shared", "-fPIC", "-O2", f"-I{firmware_folder() / 'gpu'}",
         str(HERE / "phone_opencl.c"), str(made / "source.S"), str(made / "functions.o"),
         str(made / "phone_builtins.o"), "-Wl,-z,defs", "-o", str(vendor / "libOpenCL.so")],
        check=True, timeout=60,
    )  # fmt: skip
    return vendor / "libOpenCL.so"
