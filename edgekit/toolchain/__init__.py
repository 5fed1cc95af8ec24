"""C compilers: objects for a target or the host, linking, sizes.

    compiler = find_compiler("zig", target("cortex-m4"))
    objects = compiler.objects([Path("conv.c")], include=[Path("include")])
    elf = link(compiler, objects, board("virtual-cortex-m4"), output=Path("firmware.elf"))
    read_sizes(elf).flash

Objects are cached by the content of the source and of every header it includes, so that a second
build of the same text starts no compiler, wherever the text lies.
"""

from edgekit.toolchain.cache import cache_dir
from edgekit.toolchain.compiler import COMPILERS, Compiler, find_compiler, freestanding_include
from edgekit.toolchain.host import host_executable, host_library
from edgekit.toolchain.link import link, linker_script
from edgekit.toolchain.sizes import ElfSizes, Symbol, read_sizes

__all__ = [
    "COMPILERS",
    "Compiler",
    "ElfSizes",
    "Symbol",
    "cache_dir",
    "find_compiler",
    "freestanding_include",
    "host_executable",
    "host_library",
    "link",
    "linker_script",
    "read_sizes",
]
