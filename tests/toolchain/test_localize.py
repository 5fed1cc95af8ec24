"""Objects whose inner symbols are made local: they link with others that have the same names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from tools import need

from edgekit.toolchain import find_compiler
from edgekit.toolchain.localize import localize
from targets import target

#: Data, a table of pointers, static functions, a call from one object to the other: every kind of
#: relocation and of symbol.
INNER = """\
#include <string.h>
static int twice(int x) { return 2 * x; }
int inner(int x) { return twice(x) + SHIFT; }
const char *const words[] = {"one", "two"};
int counter;
"""
OUTER = """\
int inner(int x);
extern const char *const words[];
extern int counter;
int API(int x);
int API(int x) { return inner(x) + words[1][1] + counter++; }
"""
FLAGS = ("-fPIC", "-g0", "-fno-addrsig")


def whole(folder: Path, name: str, shift: int, cpu: str) -> bytes:
    """Both sources as one relocatable object for `cpu`."""
    compiler = find_compiler("zig", target(cpu))
    objects = []
    for file, text in (("inner", INNER), ("outer", OUTER)):
        source = folder / f"{name}_{file}.c"
        source.write_text(text.replace("SHIFT", str(shift)).replace("API", name))
        objects.append(str(compiler.compile(source, flags=FLAGS)))
    made = folder / f"{name}.o"
    flags = [*compiler.target_flags, "-r", "-nostdlib"]
    compiler.run([*flags, *objects, "-o", str(made)], "E503", name)
    return made.read_bytes()


@pytest.mark.parametrize("cpu", ["linux-x86_64", "linux-aarch64", "linux-armv7"])
def test_names_of_symbols(tmp_path: Path, cpu: str) -> None:
    before = whole(tmp_path, "first", 1, cpu)
    path = tmp_path / "localized.o"
    path.write_bytes(localize(before, ["first"]))
    with path.open("rb") as file, (tmp_path / "first.o").open("rb") as old:
        tables = [ELFFile(f).get_section_by_name(".symtab") for f in (file, old)]
        new, was = (
            [(s.name, s["st_value"], s["st_size"]) for s in t.iter_symbols()] for t in tables
        )
        assert sorted(new) == sorted(was)
        kinds = [s["st_info"]["bind"] == "STB_LOCAL" for s in tables[0].iter_symbols()]
        assert kinds == sorted(kinds, reverse=True)
        assert tables[0]["sh_info"] == sum(kinds)
        assert [s.name for s in tables[0].iter_symbols()][tables[0]["sh_info"] :] == ["first"]


def test_two_of_them_in_one_program(tmp_path: Path) -> None:
    need("gcc")
    source = tmp_path / "main.c"
    source.write_text(
        "int first(int x); int second(int x);\n"
        "int main(void) { first(0); first(0); second(0);\n"
        "return first(5) != 10 + 1 + 'w' + 2 || second(5) != 10 + 7 + 'w' + 1; }\n"
    )
    objects = []
    for name, shift in (("first", 1), ("second", 7)):
        made = tmp_path / f"{name}.o"
        made.write_bytes(localize(whole(tmp_path, name, shift, "linux-x86_64"), [name]))
        objects.append(str(made))
    program = tmp_path / "main"
    subprocess.run(["gcc", str(source), *objects, "-o", str(program)], check=True)
    assert subprocess.run([program]).returncode == 0


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" * 100, b"\x7fELF\x02\x02" + bytes(200)])
def test_what_is_no_object(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a little-endian ELF object"):
        localize(data, [])
