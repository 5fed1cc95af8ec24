"""Linking for a board, by both compilers: what is kept, where it goes, what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tools import need

from edgekit.devices.emulators.bench import Bench, link_functions
from edgekit.devices.firmware.image import load_symbols
from edgekit.errors import EdgekitError
from edgekit.toolchain import find_compiler, link, read_sizes
from targets import Board, board

BOARD = board("virtual-cortex-m4")
SOURCE = """\
#include <stdint.h>
#include <string.h>
uint32_t counter = 41;
uint8_t zeros[100];
const uint8_t table[64] = {1, 2, 3};
uint32_t next(uint32_t i);
uint32_t unused(void);
uint32_t next(uint32_t i) { memset(zeros, 1, i); return ++counter + table[i] + zeros[99]; }
uint32_t unused(void) { return 7; }
"""


@pytest.fixture(params=["zig", pytest.param("gcc", marks=pytest.mark.apt)])
def compiler(request: pytest.FixtureRequest) -> str:
    if request.param == "gcc":
        need("arm-none-eabi-gcc")
    return str(request.param)


def small(flash: int, ram: int) -> Board:
    sizes = {"flash": flash, "ram": ram}
    regions = tuple(replace(r, size=sizes[r.kind]) for r in BOARD.regions)
    return replace(BOARD, regions=regions)


def test_sections_symbols_and_initial_data(tmp_path: Path, compiler: str) -> None:
    source = tmp_path / "f.c"
    source.write_text(SOURCE)
    cc = find_compiler(compiler, BOARD.target)
    elf = link_functions([cc.compile(source)], BOARD, ["next"], compiler)
    sizes = read_sizes(elf)
    by_name = {s.name: s for s in sizes.symbols}
    assert by_name["next"].section == ".text"
    assert (by_name["table"].section, by_name["table"].bytes) == (".rodata", 64)
    assert (by_name["counter"].section, by_name["counter"].bytes) == (".data", 4)
    assert (by_name["zeros"].section, by_name["zeros"].bytes) == (".bss", 100)
    assert "unused" not in by_name
    assert BOARD.flash.holds(by_name["table"].address)
    assert BOARD.ram.holds(by_name["counter"].address)
    assert sizes.sections[".stack"] == 4096
    assert sizes.ram == 4096 + sizes.sections[".data"] + sizes.sections[".bss"]
    assert sizes.flash_by_symbol()["table"] == 64
    assert sum(sizes.flash_by_symbol().values()) <= sizes.flash
    bench = Bench(elf)
    assert [bench.call("next", [0]).result for _ in range(2)] == [43, 44]


def test_the_stack_is_the_lowest_thing_in_ram(tmp_path: Path, compiler: str) -> None:
    source = tmp_path / "f.c"
    source.write_text(SOURCE)
    cc = find_compiler(compiler, BOARD.target)
    elf = link(cc, [cc.compile(source)], BOARD, entry="next", stack_bytes=1000)
    symbols = load_symbols(elf)
    assert symbols["__stack_start"] == BOARD.ram.start
    assert symbols["__stack_end"] == BOARD.ram.start + 1000
    assert symbols["ek_bundle_start"] == symbols["ek_bundle_end"]
    assert symbols["ek_bundle_start"] % 16 == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("unsigned char big[70000];", r"RAM: need \d+ B, have 65536 B, short \d+ B"),
        ("const unsigned char big[40000] = {1};", r"FLASH: need \d+ B, have 32768 B, short \d+ B"),
    ],
)
def test_too_big_names_need_have_and_short(
    tmp_path: Path, compiler: str, text: str, says: str
) -> None:
    source = tmp_path / "f.c"
    source.write_text(f"{text}\nunsigned char *f(int i);\nunsigned char *f(int i) {{\n")
    with source.open("a") as file:
        file.write("return (unsigned char *)&big[i]; }\n")
    cc = find_compiler(compiler, BOARD.target)
    on = small(0x8000, 0x10000)
    with pytest.raises(EdgekitError, match=says) as caught:
        link(cc, [cc.compile(source)], on, entry="f")
    assert caught.value.code == "E504"
    line = caught.value.details[0].replace(",", "").split()
    need_bytes, have, short = int(line[2]), int(line[5]), int(line[8])
    assert need_bytes - have == short > 0


def test_undefined_symbols_are_a_link_error(tmp_path: Path, compiler: str) -> None:
    source = tmp_path / "f.c"
    source.write_text("int g(void);\nint f(void);\nint f(void) { return g(); }\n")
    cc = find_compiler(compiler, BOARD.target)
    with pytest.raises(EdgekitError, match="g") as caught:
        link(cc, [cc.compile(source)], BOARD, entry="f")
    assert caught.value.code == "E503"


def test_not_an_elf_file(tmp_path: Path) -> None:
    path = tmp_path / "x.elf"
    path.write_bytes(b"hello")
    for wrong in (path, tmp_path / "absent.elf"):
        with pytest.raises(EdgekitError, match="as an ELF file"):
            read_sizes(wrong)
