"""Linking for Linux: static without a C library, or with one for programs that load a driver."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from edgekit.toolchain.cache import cached, key_of, write_atomic
from edgekit.toolchain.compiler import Compiler

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
#: The same of a program with a C library, whose own sections stay.
_HOSTED_SCRIPT = """\
SECTIONS {
  .ek_bundle : ALIGN(128) { ek_bundle_start = .; KEEP(*(.ek_bundle)) ek_bundle_end = .; }
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


def link_hosted(
    compiler: Compiler,
    objects: Sequence[Path],
    *,
    output: Path | None = None,
    keep: Sequence[str] = (),
) -> Path:
    """Link objects with the C library to an executable that starts at ``main``.

    Raises:
        EdgekitError: E503.
    """
    flags = [*compiler.target_flags, "-Wl,--gc-sections", *(f"-Wl,-u,{name}" for name in keep)]
    return _link(compiler, objects, flags, ["-ldl"], _HOSTED_SCRIPT, output)


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
