"""Linking for Linux: static without a C library, or for a dynamic loader, to load a driver."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from edgekit.toolchain.cache import cache_dir, cached, key_of, write_atomic
from edgekit.toolchain.compiler import Compiler
from targets import Board, linux

# The linker's own layout, and in it the bundle with its two symbols (GNU ld and LLD take both).
# zig's own library comes with a megabyte for debuggers, and its --strip-debug takes symbols too.
_SCRIPT = """\
SECTIONS {
  .ek_bundle : ALIGN(16) { ek_bundle_start = .; KEEP(*(.ek_bundle)) ek_bundle_end = .; }
  /DISCARD/ : { *(.debug*) *(.comment) *(.eh_frame) *(.ARM.exidx*) *(.ARM.extab*) }
}
INSERT AFTER .rodata;
__text_start = ADDR(.text);
__text_end = ADDR(.text) + SIZEOF(.text);
__constants_start = ADDR(.rodata);
__constants_end = ADDR(.ek_bundle) + SIZEOF(.ek_bundle);
__zeros_start = ADDR(.bss);
__zeros_end = ADDR(.bss) + SIZEOF(.bss);
__flash_start = __executable_start;
__flash_end = MAX(ADDR(.ek_bundle) + SIZEOF(.ek_bundle), ADDR(.text) + SIZEOF(.text));
"""
#: The same of a program that a loader moves, whose symbols of the linker's are not asked for.
_LOADED_SCRIPT = """\
SECTIONS {
  .ek_bundle : ALIGN(128) { ek_bundle_start = .; KEEP(*(.ek_bundle)) ek_bundle_end = .; }
  /DISCARD/ : { *(.debug*) *(.comment) *(.eh_frame) *(.note.gnu.*) }
}
INSERT AFTER .rodata;
"""


def link_linux(
    compiler: Compiler,
    objects: Sequence[Path],
    *,
    output: Path | None = None,
    keep: Sequence[str] = (),
) -> Path:
    """Link objects to an executable that starts at ``_start``; arguments as for `link`.

    Raises:
        EdgekitError: E503.
    """
    target = compiler.target
    libraries = ["-lcompiler_rt"]
    if compiler.name == "gcc" and target is not None:
        libraries = list(target.gcc_libraries)
    flags = [
        *compiler.target_flags,
        "-nostdlib",
        "-static",
        "-Wl,--gc-sections",
        "-Wl,-e,_start",
        *(["-no-pie", "-Wl,-z,noexecstack"] if compiler.name == "gcc" else []),
        *(f"-Wl,-u,{name}" for name in keep),
    ]

    return _link(compiler, objects, flags, libraries, _SCRIPT, output)


def link_loaded(
    compiler: Compiler,
    objects: Sequence[Path],
    board: Board,
    *,
    output: Path | None = None,
    keep: Sequence[str] = (),
) -> Path:
    """Link objects to a position-independent executable that `board`'s dynamic loader starts at
    ``_start``; arguments as for `link`.

    It needs the libraries of the board's C library for a few functions, no file of them being here.

    Raises:
        EdgekitError: E503.
    """
    libc = linux.LIBCS[board.libc]
    stubs = [_stub(compiler, name, functions, board) for name, functions in libc.libraries.items()]
    own = ["-lcompiler_rt"] if compiler.name == "zig" else list(board.target.gcc_libraries)
    flags = [
        *compiler.target_flags,
        *("-nostdlib", "-pie"),
        *(f"-Wl,{option}" for option in ("--gc-sections", "-e,_start", "-z,now", "-z,noexecstack")),
        "-Wl,-z,max-page-size=65536",  # Linux on Arm has pages of up to 64 KiB, Android of 16 KiB
        f"-Wl,--dynamic-linker={libc.loaders[board.target.architecture]}",
        *(f"-Wl,-u,{name}" for name in keep),
    ]
    libraries = [*map(str, stubs), *own]
    return _link(compiler, objects, flags, libraries, _LOADED_SCRIPT, output)


def _stub(compiler: Compiler, name: str, functions: Sequence[str], board: Board) -> Path:
    """A shared library called `name` that has `functions` and nothing in them: for the linker."""
    text = "".join(f"void {function}(void) {{}}\n" for function in functions)
    key = key_of((compiler.version, board.target.name, name, text))
    source = cache_dir() / "stubs" / key[:32] / f"{Path(name).stem}.c"
    if not source.exists():
        write_atomic(source, text.encode())
    flags = [*compiler.target_flags, "-shared", "-nostdlib", f"-Wl,-soname,{name}"]
    made = compiler.compile(source, flags=["-fvisibility=default", "-fno-builtin"])

    def make(path: Path) -> None:
        compiler.run([*flags, str(made), "-o", str(path)], "E503", name)

    return cached(key_of((compiler.version, *flags, "--", made.read_bytes())), ".so", make)


def _link(
    compiler: Compiler,
    objects: Sequence[Path],
    flags: Sequence[str],
    libraries: Sequence[str],
    script: str,
    output: Path | None,
) -> Path:
    def make(path: Path) -> None:
        script_path = path.parent / "bundle.ld"
        script_path.write_text(script)
        inputs = [*map(str, objects), *libraries, "-T", str(script_path), "-o", str(path)]
        compiler.run([*flags, *inputs], "E503", "linking for Linux")

    contents = [p.read_bytes() for p in objects]
    elf = cached(key_of((compiler.version, *flags, *libraries, script, "--", *contents)), "", make)
    if output is None:
        return elf
    write_atomic(output, elf.read_bytes())
    shutil.copymode(elf, output)
    return output
