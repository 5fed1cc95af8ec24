"""Objects to libNAME.a and libNAME.so, of which nothing but the API is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from elftools.elf.elffile import ELFFile

from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import RUNTIME, support_files
from edgekit.toolchain import find_compiler
from edgekit.toolchain.compiler import Compiler
from edgekit.toolchain.localize import localize
from targets import Target

_FLAGS = ("-fPIC", "-fvisibility=hidden", "-g0", "-fno-addrsig")
#: `NAME.h` is read here too, where there is no C library.
DEFINES = {"EK_GPU_NO_DLFCN": ""}
#: What of firmware/library goes into every library.
LIBRARY = tuple(firmware_folder() / "library" / name for name in ("ek_library.c", "ek_cpu.c"))
#: What the library asks of the program that it is linked into statically: any libc has them.
MEMORY_FUNCTIONS = {"memcpy", "memmove", "memset", "memcmp"}


@dataclass(frozen=True)
class Objects:
    """Compiled sources and the compiler that links them."""

    compiler: Compiler
    paths: tuple[Path, ...]


def compiled(sources: Path, names: Sequence[str], target: Target, gpu: bool = False) -> Objects:
    """Compile generated files and what of firmware/ they call, with `gpu` the runtime of GPUs.

    Raises:
        EdgekitError: E501 or E502.
    """
    compiler = find_compiler("zig", target)
    root = firmware_folder()
    include = [sources, *included(gpu)]
    wanted = [*(sources / name for name in names), *LIBRARY]
    support = [root / "src" / name for name in support_files()]
    made = [
        compiler.objects(paths, include=include, defines=DEFINES, opt=opt, flags=_FLAGS)
        for paths, opt in (
            (wanted, target.kernel_opt),
            (gpu_sources() if gpu else [], "-Os"),
            (support, target.kernel_opt),
        )
    ]
    mine = [*made[0], *made[1]]
    return Objects(compiler, (*mine, *_called(mine, made[2])))


def included(gpu: bool) -> list[Path]:
    """Folders of the headers that a library's sources ask for."""
    folders = ("library", "include", "src", "linux", *["gpu"] * gpu)
    return [firmware_folder() / folder for folder in folders]


def gpu_sources() -> list[Path]:
    """What of firmware/ goes into libraries for GPUs only."""
    root = firmware_folder()
    return [
        *sorted((root / "gpu").glob("*.c")),
        *(root / "library" / "ek_library_gpu.c", root / "linux" / "ek_system.c"),
        *(root / "src" / name for name in RUNTIME),
    ]


def _called(objects: Sequence[Path], support: Sequence[Path]) -> list[Path]:
    """Those of `support` that define what is missing."""
    taken: list[Path] = []
    missing = set().union(*(_symbols(path)[1] for path in objects))
    known = {path: _symbols(path) for path in support}
    while more := [p for p in support if p not in taken and known[p][0] & missing]:
        taken += more
        missing |= set().union(*(known[path][1] for path in more))
    return taken


def _symbols(path: Path) -> tuple[set[str], set[str]]:
    """Global names that an object defines and that it wants."""
    defined: set[str] = set()
    wanted: set[str] = set()
    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        for symbol in table.iter_symbols():
            if symbol["st_info"]["bind"] != "STB_LOCAL" and symbol.name:
                (wanted if symbol["st_shndx"] == "SHN_UNDEF" else defined).add(symbol.name)
    return defined, wanted


def pool_library(target: Target, output: Path) -> None:
    """libek_pool.so: the pool for programs that load it at run time.

    It takes pthread_create, pthread_join and syscall from whichever libc the process has: those
    are the same in glibc, musl and bionic.

    Raises:
        EdgekitError: E501, E502 or E503.
    """
    compiler = find_compiler("zig", target)
    root = firmware_folder()
    # Headers of a libc, no code of it.
    architecture, _, system = target.zig_triple.partition("-")
    triple = f"{architecture}-linux-musl" + ("eabihf" if "eabihf" in system else "")
    cpu = (f"-mcpu={target.zig_cpu}", *target.zig_flags)
    hosted = replace(compiler, target=None)
    made = hosted.compile(
        root / "library" / "ek_pool.c",
        include=[root / "include"],
        flags=("-target", triple, *cpu, "-fno-unwind-tables", "-fno-asynchronous-unwind-tables",
               "-fvisibility=default", "-g0"),
    )  # fmt: skip
    flags = [*compiler.target_flags, "-shared", "-nostdlib", "-s", f"-Wl,-soname,{output.name}"]
    compiler.run([*flags, str(made), "-lcompiler_rt", "-o", str(output)], "E503", output.name)


def static_library(objects: Objects, keep: Sequence[str], output: Path) -> None:
    """libNAME.a: one object, everything but `keep` local, so that two such libraries go into one
    program.

    Raises:
        EdgekitError: E503.
    """
    compiler = objects.compiler
    whole = output.with_suffix(".o")
    inputs = [*map(str, objects.paths), "-o", str(whole)]
    compiler.run([*compiler.target_flags, "-r", "-nostdlib", *inputs], "E503", output.name)
    whole.write_bytes(localize(whole.read_bytes(), keep))
    output.unlink(missing_ok=True)
    archiver = Compiler(compiler.name, (compiler.command[0], "ar"), None, compiler.version)
    archiver.run(["rcsD", str(output), str(whole)], "E503", output.name)
    whole.unlink()


def shared_library(objects: Objects, name: str, output: Path) -> None:
    """libNAME.so: needs no other library, exports ``NAME_*`` in version ``NAME_1``, is stripped.

    The SONAME has no number: Android takes none, and the symbols' version says the same.

    Raises:
        EdgekitError: E503.
    """
    script = output.with_suffix(".map")
    script.write_text(f"{name.upper()}_1 {{ global: {name}_*; local: *; }};\n")
    flags = [
        *objects.compiler.target_flags,
        *("-shared", "-nostdlib", "-s"),
        *(f"-Wl,{option}" for option in ("--gc-sections", "-z,defs", f"-soname,{output.name}")),
        "-Wl,-z,max-page-size=65536",  # Linux on Arm has pages of up to 64 KiB, Android of 16 KiB
        f"-Wl,--version-script={script}",
    ]
    inputs = [*map(str, objects.paths), "-lcompiler_rt", "-o", str(output)]
    objects.compiler.run([*flags, *inputs], "E503", output.name)
    script.unlink()
