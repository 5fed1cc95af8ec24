"""Packages built by their own tools, and their examples run, where the labels say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pace import thinned
from packaged import BUILDERS, PLACES, RIGHT, run
from tools import need

from edgekit.packages import MODES
from edgekit.packages.labels import LABELS

pytestmark = pytest.mark.apt

Packer = Callable[..., Path]
PROVEN = [(form, place) for form, label in LABELS.items() for place in label.run]


def mode_of(form: str, place: str) -> str:
    """Each mode has its turn at each place."""
    before = [f for f, p in PROVEN if p == place].index(form)
    return MODES[(before + sorted(PLACES).index(place)) % 2]


#: Builds the core of Arduino first; others are built for RISC-V in `make test`.
LONG = ("arduino", "riscv32")


@pytest.mark.parametrize(("form", "place"), thinned(PROVEN, lambda pair: pair != LONG))
def test_the_example_runs_where_the_label_says(form: str, place: str, pack: Packer) -> None:
    need(*PLACES[place])
    package = pack(form, mode_of(form, place), place)
    assert RIGHT in BUILDERS[form](package, place)


def test_both_modes_are_built_for_each_place() -> None:
    pairs = {(place, mode_of(form, place)) for form, place in PROVEN}
    assert pairs == {(place, mode) for place in PLACES for mode in MODES}


def test_the_example_says_when_bytes_differ(pack: Packer) -> None:
    """A package whose arithmetic is wrong is no success, and says how wrong."""
    need("make", "gcc")
    package = pack("makefile")
    golden = package / "example" / "digits_golden.h"
    text = golden.read_text()
    at = text.index("{", text.index("golden_output0")) + 1
    first = text[at:].split(",")[0].strip()
    golden.write_text(text[:at] + text[at:].replace(first, hex(int(first, 16) ^ 1), 1))
    said = run("make", "-j2", "OPT=-O0", "run", cwd=package, status=2)
    assert "edgekit: 9 of 10 bytes equal" in said


CONSUMER = """\
cmake_minimum_required(VERSION 3.16...3.25)
project(firmware LANGUAGES C ASM CXX)
{how}
add_executable(firmware main.cpp)
target_link_libraries(firmware PRIVATE edgekit::digits)
"""
MAIN = """\
#include <cstdio>
#include "digits.h"

int main()
{
    static int8_t in[DIGITS_INPUT_BYTES], out[DIGITS_OUTPUT_BYTES];
    digits_reset();
    digits_invoke(in, out);
    std::printf("%d\\n", (int)sizeof out);
}
"""
#: FetchContent calls add_subdirectory with what it has unpacked.
FETCH = """\
include(FetchContent)
FetchContent_Declare(digits URL ${PACKAGE})
FetchContent_MakeAvailable(digits)"""
FIND = "find_package(digits 0.1 CONFIG REQUIRED)"


def test_a_project_takes_the_cmake_package(pack: Packer, tmp_path: Path) -> None:
    """As a part of its build, which may install it; then as an installed package."""
    need("cmake", "make", "gcc", "g++")
    archive, prefix = pack("cmake", to="digits.zip"), tmp_path / "prefix"
    for how, options in (
        (FETCH, [f"-DPACKAGE={archive}", "-DDIGITS_OPTIMIZE=-O0", "-DDIGITS_INSTALL=ON"]),
        (FIND, [f"-DCMAKE_PREFIX_PATH={prefix}"]),
    ):
        user = tmp_path / f"user{len(options)}"
        user.mkdir()
        (user / "main.cpp").write_text(MAIN)
        (user / "CMakeLists.txt").write_text(CONSUMER.format(how=how))
        run("cmake", "-B", "build", *options, cwd=user)
        run("cmake", "--build", "build", "-j2", cwd=user)
        assert run("./build/firmware", cwd=user) == "10\n"
        assert not list(user.rglob("digits_check.c.o"))  # nobody asked for the example
        if how is FETCH:
            run("cmake", "--install", "build", "--prefix", prefix, cwd=user)


def test_make_builds_the_library_for_any_compiler(pack: Packer, tmp_path: Path) -> None:
    need("make", "arm-none-eabi-gcc", "arm-none-eabi-nm")
    package = pack("makefile", to="m0")
    cpu = "CPU=-mcpu=cortex-m0 -mthumb"
    run(
        "make",
        "-j2",
        "CROSS=arm-none-eabi-",
        cpu,
        "OPT=-O0",
        f"BUILD={tmp_path / 'b'}",
        cwd=package,
    )
    symbols = run("arm-none-eabi-nm", tmp_path / "b" / "libdigits.a", cwd=package)
    assert " T digits_invoke" in symbols
    assert "M0" not in run("make", "TARGET=cortex-m3", cwd=package, status=2)
