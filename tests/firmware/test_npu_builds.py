"""The accelerator's checker and simulator compile for hosts and small cores without a warning."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tools import need

from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import find_compiler, read_sizes
from edgekit.toolchain.host import host_executable
from targets import target
from targets.npu.config import CONFIGURATIONS

ROOT = firmware_folder()
CHECK, SIMULATOR = (ROOT / "npu" / f"ek_npu_{name}.c" for name in ("check", "sim"))
INCLUDE = (ROOT / "include", ROOT / "npu")
#: With -std=c99 -Wall -Wextra -Werror of every build, what else finds real mistakes.
STRICT = ("-Wshadow", "-Wpointer-arith", "-Wcast-align", "-Wundef", "-Wstrict-prototypes")

compilers = pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=pytest.mark.apt)])


@compilers
@pytest.mark.parametrize("name", ["npu8", "npu64"])
def test_on_this_machine(compiler: str, name: str) -> None:
    if compiler == "gcc":
        need("gcc")
    for opt in ("-Os", "-O2"):
        find_compiler(compiler).objects(
            [CHECK, SIMULATOR],
            include=INCLUDE,
            defines=CONFIGURATIONS[name].defines,
            opt=opt,
            flags=STRICT,
        )


@compilers
@pytest.mark.parametrize(
    ("core", "command"),
    [("riscv32", "riscv64-unknown-elf-gcc"), ("cortex-m0plus", "arm-none-eabi-gcc")],
)
def test_the_checker_is_small_and_has_no_state(compiler: str, core: str, command: str) -> None:
    if compiler == "gcc":
        need(command)
    (built,) = find_compiler(compiler, target(core)).objects(
        [CHECK], include=INCLUDE, opt="-Os", flags=STRICT
    )
    sizes = read_sizes(built)
    assert 0 < sizes.flash < 4096
    assert sizes.sections.get(".data", 0) + sizes.sections.get(".bss", 0) == 0


@compilers
def test_the_simulator_has_the_hardwares_memories_and_no_other(compiler: str) -> None:
    if compiler == "gcc":
        need("arm-none-eabi-gcc")
    config = CONFIGURATIONS["npu16"]
    (built,) = find_compiler(compiler, target("cortex-m4")).objects(
        [SIMULATOR], include=INCLUDE, defines=config.defines, opt="-Os", flags=STRICT
    )
    sections = read_sizes(built).sections
    memories = config.a_bytes + config.w_bytes + config.p_channels * 12 + 512 * 4
    assert sections[".data"] + sections[".bss"] == memories


@pytest.mark.parametrize("content", ["0", "0xFFFFFFFF"])
def test_the_driver_says_so_where_no_accelerator_answers(content: str) -> None:
    """A wrong EK_NPU_BASE is never an inference without results."""
    source = Path(__file__).parent / "npu_driver.c"
    program = host_executable([source], include=INCLUDE, flags=STRICT, compiler="zig")
    done = subprocess.run([program, content], capture_output=True, timeout=10, check=False)
    assert (done.returncode, done.stdout) == (3, b"0\n")
