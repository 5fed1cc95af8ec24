"""The GPU runtime calls nothing of a C library: what its objects do not define."""

from __future__ import annotations

from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from pace import thinned
from tools import need

from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import find_compiler
from targets import target

pytestmark = pytest.mark.apt
ROOT = firmware_folder()
MEMORY = {"memcpy", "memmove", "memset", "memcmp"}
#: Arm's run-time ABI: division, 64-bit integers and copies, from the compiler's own library.
HELPERS = "__aeabi_"
CASES = [(c, t) for c in ("zig", "gcc") for t in ("linux-aarch64", "linux-x86_64", "armv7-neon")]


def undefined(objects: list[Path]) -> set[str]:
    """Names that objects want and none of them defines."""
    defined, wanted = set(), set()
    for path in objects:
        with path.open("rb") as file:
            for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols():
                if symbol.name:
                    (wanted if symbol["st_shndx"] == "SHN_UNDEF" else defined).add(symbol.name)
    return wanted - defined


@pytest.mark.parametrize(
    ("compiler", "name"), thinned(CASES, lambda case: case == ("zig", "linux-aarch64"))
)
def test_nothing_is_undefined_but_memory_functions(compiler: str, name: str) -> None:
    on = target(name)
    if compiler == "gcc":
        need(str(on.gcc_command))
    sources = [p for folder in ("gpu", "linux") for p in sorted((ROOT / folder).glob("ek_*.c"))]
    sources += [ROOT / "src" / f"ek_{part}.c" for part in ("runtime", "verify")]
    include = [ROOT / folder for folder in ("include", "src", "gpu", "linux")]
    objects = find_compiler(compiler, on).objects(sources, include=include, flags=["-fPIC"])
    assert len(objects) > 15
    missing = undefined(objects)
    # Code of a shared library finds its own data through this name of the linker's.
    missing -= {"_GLOBAL_OFFSET_TABLE_"}
    if on.architecture == "arm":
        missing = {name for name in missing if not name.startswith(HELPERS)}
    assert missing <= MEMORY, missing - MEMORY
