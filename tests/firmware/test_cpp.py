"""The C++ wrapper: no warning, nothing but the C functions behind it, and the model's bytes."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import DIGITS, raw_samples
from state_graphs import accumulator
from tools import need

from codegen.bindings import bindings
from codegen.lower import build_program
from codegen.program import Program
from edgekit.devices.emulators.bench import Bench, Out, link_functions
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import RUNTIME, RUNTIME_FOLDER, support_files
from edgekit.output import BUNDLE, Output
from edgekit.reference import run
from edgekit.toolchain import find_compiler
from edgekit.toolchain.compiler import Compiler, freestanding_include
from edgekit.toolchain.host import SANITIZE
from targets import Target, board, target

HERE = Path(__file__).parent
M4 = board("virtual-cortex-m4")
STRICT = (
    "-std=c++11", "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wpedantic", "-Wold-style-cast",
    "-fno-exceptions", "-fno-rtti",
)  # fmt: skip
BARE = ("-ffreestanding", "-nostdinc++", "-fno-threadsafe-statics", "-fno-unwind-tables")
WAYS = range(5)
MAIN = """\
#include <stdint.h>
#include <stdio.h>
int ready(const void *bundle, uint32_t nbytes);
uint32_t turn(uint32_t way, const int8_t *in, int8_t *out);
static uint8_t bundle[1u << 20] __attribute__((aligned(16)));
int main(int argc, char **argv)
{
    int8_t in[64], out[10];
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    int status = f == NULL ? 9 : ready(bundle, (uint32_t)fread(bundle, 1, sizeof bundle, f));
    if (status != 0) return status;
    fclose(f);
    while (fread(in, 1, sizeof in, stdin) == sizeof in) {
        for (uint32_t way = 0; way < 5u; ++way) {
            if (turn(way, in, out) != sizeof out) return 10;
            fwrite(out, 1, sizeof out, stdout);
        }
    }
    return 0;
}
"""


def include_of(folder: Output) -> list[str]:
    return [f"-I{folder.sources}", f"-I{folder.sources / RUNTIME_FOLDER}"]


def cpp(
    compiler: Compiler, source: Path, folder: Output, to: Path, *flags: str, opt: str = "-O2"
) -> Path:
    """Compile a C++ file of a model's for the compiler's target."""
    command = compiler.command
    if compiler.name == "gcc":
        command = (command[0].removesuffix("gcc") + "g++",)
        need(command[0])
    elif compiler.name == "zig":
        command = (command[0], "c++")
    bare = (*BARE, f"-I{freestanding_include()}") if compiler.target else ()
    done = subprocess.run(
        [*command, *compiler.target_flags, *STRICT, *bare, opt, *flags, *include_of(folder),
         f'-DMODEL_HPP="{folder.name}.hpp"', f"-DMODEL={folder.name}", "-c", source, "-o", to],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]
    return to


def sources_of(folder: Output, *suffixes: str) -> list[Path]:
    src = folder.sources
    found = [src / name for name in ("kernels.c", "registry.c", f"{folder.name}.c")]
    found += [src / RUNTIME_FOLDER / name for name in (*RUNTIME, *support_files())]
    return [p for p in found if p.suffix in suffixes]


@pytest.mark.apt
def test_every_way_gives_the_models_bytes(digits: Output, tmp_path: Path) -> None:
    need("gcc", "g++")
    cc = find_compiler("gcc")
    include = [digits.sources, digits.sources / RUNTIME_FOLDER]
    objects = cc.objects(sources_of(digits, ".c"), include=include, opt="-O1", flags=SANITIZE)
    (tmp_path / "main.c").write_text(MAIN)
    objects.append(cc.compile(tmp_path / "main.c", flags=SANITIZE))
    wrapped = cpp(cc, HERE / "cpp_model.cpp", digits, tmp_path / "cpp.o", *SANITIZE, opt="-O1")
    program = tmp_path / "program"
    # Linked as C: nothing of the C++ runtime may be needed.
    cc.run([*SANITIZE, *map(str, objects), str(wrapped), "-o", str(program)], "E503", "linking")
    inputs = raw_samples(DIGITS, digits.graph, 6)
    want = run(digits.graph, inputs)[digits.graph.outputs[0]]
    (samples,) = inputs.values()
    done = subprocess.run(
        [program, digits.path / BUNDLE], input=samples.tobytes(), capture_output=True, timeout=60
    )
    assert done.returncode == 0, (done.returncode, done.stderr.decode(errors="replace")[:3000])
    assert done.stdout == np.repeat(want, len(WAYS), axis=0).tobytes()


def test_on_a_core(digits: Output, tmp_path: Path) -> None:
    cc = find_compiler("zig", M4.target)
    include = [digits.sources, digits.sources / RUNTIME_FOLDER]
    objects = cc.objects(sources_of(digits, ".c", ".S"), include=include, opt=M4.target.kernel_opt)
    wrapped = cpp(cc, HERE / "cpp_model.cpp", digits, tmp_path / "cpp.o", opt="-Os")
    bench = Bench(link_functions([*objects, wrapped], M4, ["ready", "turn"]), M4)
    bundle = (digits.path / BUNDLE).read_bytes()
    # Where arguments lie is free after a call: the bundle goes to the end of the RAM.
    at = (M4.ram.end - len(bundle)) // 16 * 16
    assert bench.call("ready", [at, len(bundle)], memory={at: bundle}).result == 0
    sample = digits.bundle.golden[0]
    for way in WAYS:
        done = bench.call("turn", [way, sample.inputs[0], Out(len(sample.outputs[0]))])
        assert done.outputs[0] == sample.outputs[0], way


@pytest.mark.parametrize("core", ["host", "cortex-m4", "riscv32"])
@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=pytest.mark.apt)])
def test_no_warning_and_no_cpp_runtime(
    core: str, compiler: str, digits: Output, tmp_path: Path
) -> None:
    chosen: Target | None = None if core == "host" else target(core)
    if compiler == "gcc":
        need(chosen.gcc_command if chosen else "gcc")
    cc = find_compiler(compiler, chosen)
    for opt in ("-O0", "-Os"):
        path = cpp(cc, HERE / "cpp_model.cpp", digits, tmp_path / "cpp.o", opt=opt)
        asked = undefined(path)
        # Nothing runs before main either: objects are constants of zeros.
        assert not [name for name in section_names(path) if "init_array" in name or "ctors" in name]
        runtime = {"ek_open", "ek_invoke", "ek_step", "ek_reset", "ek_input", "ek_output",
                   "ek_state", "ek_kernels", "ek_kernel_count"}  # fmt: skip
        allowed = {"memset", "memcpy", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}
        assert {n for n in asked - runtime - allowed if not n.startswith("digits_")} == set()


def section_names(path: Path) -> list[str]:
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        return [s.name for s in ELFFile(file).iter_sections()]


def undefined(path: Path) -> set[str]:
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {s.name for s in table.iter_symbols() if s.name and s["st_shndx"] == "SHN_UNDEF"}


@pytest.mark.parametrize("header", ["ek_status.h", "ek_yield.h", "ek_profile.h", "edgekit.h",
                                    "kernels.h", "digits.h"])  # fmt: skip
def test_c_headers_in_cpp(header: str, digits: Output, tmp_path: Path) -> None:
    """Each alone, twice, with every hook on; what it declares has C names."""
    (tmp_path / "a.cpp").write_text(f'#include "{header}"\n' * 2 + CALLS.get(header, ""))
    flags = ("-DEK_PROFILE", "-DEK_YIELD_HOOK")
    path = cpp(find_compiler("zig"), tmp_path / "a.cpp", digits, tmp_path / "a.o", *flags)
    assert not [name for name in undefined(path) if name.startswith("_Z")]


#: A use of what each header declares.
CALLS = {
    "ek_yield.h": "void f(); void f() { EK_YIELD(1u); }\n",
    "ek_profile.h": "void f(); void f() { EK_EDGE(1u); }\n",
    "edgekit.h": "ek_status_t f(ek_model_t *m); ek_status_t f(ek_model_t *m)\n"
    "{ ek_run_t run = {0}; return ek_step(m, &run); }\n",
    "digits.h": "void f(); void f() { digits_run(); }\n",
}


@cache
def small() -> Program:
    return build_program(accumulator([0, 0, 0, 1]), target("cortex-m4"))


def test_names_that_cpp_keeps_for_itself() -> None:
    program = small()
    for name, struct in (("class", "class_"), ("step", "step_"), ("input", "input_"), ("a", "a")):
        text = bindings(replace(program, name=name))[f"{name}.hpp"]
        assert f"struct {struct} {{" in text


@given(st.floats(2.0**-149, 2.0**60, width=32))
def test_scales_are_exact_in_both_languages(scale: float) -> None:
    program = small()
    (x,) = program.inputs
    texts = bindings(replace(program, inputs=(replace(x, scale=scale),)))
    (cpp,) = re.findall(r"float input_scale\(\) \{ return (\S+)f; \}", texts["accumulator.hpp"])
    (rust,) = re.findall(r"const INPUT_SCALE: f32 = (\S+);", texts["accumulator.rs"])
    for text in (cpp, rust):
        assert np.float32(text) == np.float32(scale)
        assert re.fullmatch(r"\d+(\.\d+)?e[+-]?\d+|\d+\.\d+", text)


def test_the_wrapper_is_part_of_every_output(digits: Output) -> None:
    for name in ("edgekit.hpp", "edgekit.rs"):
        copy = digits.sources / RUNTIME_FOLDER / name
        assert copy.read_bytes() == (firmware_folder() / "include" / name).read_bytes()
    assert {p.suffix for p in digits.sources.glob("digits.*")} == {".c", ".h", ".hpp", ".rs"}
