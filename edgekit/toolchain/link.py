"""Linking for a board: the linker script (GNU ld and LLD both take it) and the ELF file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.toolchain.cache import cached, key_of, write_atomic
from edgekit.toolchain.compiler import Compiler
from edgekit.toolchain.link_linux import link_linux, link_loaded
from targets import Board, Region

STACK_BYTES = 4096
_OVERFLOW = re.compile(r"region [`'](\w+)'(?:: | )overflowed by (\d+) bytes")

# The stack is the lowest thing in RAM and grows down: running out of it leaves the RAM and
# faults, instead of overwriting data silently.
_SCRIPT = """\
MEMORY {{
{memory}
}}
SECTIONS {{
  __flash_start = ORIGIN({flash});
  __flash_end = ORIGIN({flash}) + LENGTH({flash});
  .text : {{
    KEEP(*(.ek_boot))
    __vectors_start = .;
    KEEP(*(.vectors))
    KEEP(*(.ek_image))
    *(.text .text.*)
    . = ALIGN({align});
  }} > {flash}
  .rodata {rodata_at}: {rodata_load}ALIGN(8) {{
    *(.rodata .rodata.* .srodata .srodata.*)
    . = ALIGN({align});
  }} > {constants}
  .ek_bundle : {bundle_load}ALIGN(16) {{
    ek_bundle_start = .;
    KEEP(*(.ek_bundle))
    ek_bundle_end = .;
    . = ALIGN(8);
  }} > {constants}
  .stack (NOLOAD) : ALIGN(8) {{
    __stack_start = .;
    . = . + {stack};
    __stack_end = .;
  }} > {ram}
  .data : {data_at}ALIGN(8) {{
    __data_start = .;
    *(.data .data.* .sdata .sdata.*)
    . = ALIGN(8);
    __data_end = .;
  }} > {ram} {data_load}
  __data_load = LOADADDR(.data){window};
  .bss (NOLOAD) : ALIGN(8) {{
    __bss_start = .;
    *(.bss .bss.* .sbss .sbss.* COMMON)
    . = ALIGN(8);
    __bss_end = .;
  }} > {ram}
  /DISCARD/ : {{ *(.comment) *(.note*) *(.ARM.exidx*) *(.ARM.extab*) *(.eh_frame*) }}
}}
"""


#: Where a flash is read at another address than it is run at: its name in MEMORY.
WINDOW = "DATA"


def linker_script(regions: Sequence[Region], stack_bytes: int = STACK_BYTES) -> str:
    """The script for a board's memories; code goes to the first flash, data to the first RAM."""
    lines = [
        f"  {r.name} ({'rx' if r.kind == 'flash' else 'rwx'}) : "
        f"ORIGIN = {r.start:#x}, LENGTH = {r.size:#x}"
        for r in regions
    ]
    flash = next(r.name for r in regions if r.kind == "flash")
    ram = next(r.name for r in regions if r.kind == "ram")
    stack = (stack_bytes + 7) & ~7
    places = _in_one_place(flash)
    first = next(r for r in regions if r.kind == "flash")
    if first.data_start >= 0:
        lines.append(f"  {WINDOW} (r) : ORIGIN = {first.data_start:#x}, LENGTH = {first.size:#x}")
        places = _in_a_window(flash, first.data_start - first.start)
    return _SCRIPT.format(memory="\n".join(lines), flash=flash, ram=ram, stack=stack, **places)


def _in_one_place(flash: str) -> dict[str, str]:
    """Constants behind the code, initial values of data behind them."""
    return {
        **dict.fromkeys(("rodata_at", "rodata_load", "bundle_load", "data_at", "window"), ""),
        "constants": flash,
        "align": "8",
        "data_load": f"AT> {flash}",
    }


def _in_a_window(flash: str, distance: int) -> dict[str, str]:
    """The same places in flash, but addresses of constants are `distance` away from those of code.

    A section's end is aligned like the next one's start: both addresses then go on together.
    """
    return {
        "rodata_at": f"ORIGIN({WINDOW}) + SIZEOF(.text) ",
        "rodata_load": f"AT(ORIGIN({flash}) + SIZEOF(.text)) ",
        "bundle_load": "AT(LOADADDR(.rodata) + SIZEOF(.rodata)) ",
        "data_at": "AT(LOADADDR(.ek_bundle) + SIZEOF(.ek_bundle)) ",
        "data_load": "",
        "window": f" + {distance & 0xFFFFFFFF:#x}" if distance >= 0 else f" - {-distance:#x}",
        "constants": WINDOW,
        "align": "16",
    }


def link(
    compiler: Compiler,
    objects: Sequence[Path],
    board: Board,
    *,
    output: Path | None = None,
    entry: str = "Reset_Handler",
    keep: Sequence[str] = (),
    stack_bytes: int = STACK_BYTES,
) -> Path:
    """Link objects to an ELF file for `board`, dropping what nothing refers to.

    Args:
        output: where the file goes; None leaves it in the cache and returns its path there.
        entry: the symbol that execution starts at.
        keep: further symbols that must stay (functions that a bench calls by name).

    Raises:
        EdgekitError: E504 when a memory is too small (need, have, short), E503 otherwise.
    """
    if board.target.gpu:
        return link_loaded(compiler, objects, board, output=output, keep=keep)
    if board.linux:
        return link_linux(compiler, objects, output=output, keep=keep)
    script = linker_script(board.regions, stack_bytes)
    libraries = ["-lcompiler_rt"]
    if compiler.name == "gcc":
        libraries = list(board.target.gcc_libraries)
    flags = [
        *compiler.target_flags,
        "-nostdlib",
        "-Wl,--gc-sections",
        # Pages as small as the alignment of sections: in larger ones a linker finds room for the
        # ELF headers in front of the first section, where a boot loader may be.
        "-Wl,-z,max-page-size=16",
        f"-Wl,-e,{entry}",  # zig ignores ENTRY() of the script
        *(f"-Wl,-u,{name}" for name in keep),
    ]

    def make(path: Path) -> None:
        script_path = path.parent / "board.ld"
        script_path.write_text(script)
        inputs = [*map(str, objects), *libraries, "-T", str(script_path), "-o", str(path)]
        try:
            compiler.run([*flags, *inputs], "E503", f"linking for {board.name}")
        except EdgekitError as error:
            raise _too_big(error, board) or error from None

    contents = [p.read_bytes() for p in objects]
    key = key_of((compiler.version, *flags, *libraries, script, "--", *contents))
    elf = cached(key, ".elf", make)
    if output is None:
        return elf
    write_atomic(output, elf.read_bytes())
    shutil.copymode(elf, output)
    return output


def _too_big(error: EdgekitError, board: Board) -> EdgekitError | None:
    short: dict[str, int] = {}
    for name, over in _OVERFLOW.findall("\n".join(error.details)):
        short[name] = max(short.get(name, 0), int(over))
    sizes = {r.name: r.size for r in board.regions} | {WINDOW: board.flash.size}
    if not short or not short.keys() <= sizes.keys():
        return None
    lines = [
        f"{name}: need {sizes[name] + over} B, have {sizes[name]} B, short {over} B"
        for name, over in short.items()
    ]
    return EdgekitError(
        "E504",
        f"the firmware does not fit board '{board.name}'",
        details=lines,
        help="choose a board with more memory or a smaller model ('edgekit boards' lists sizes)",
    )
