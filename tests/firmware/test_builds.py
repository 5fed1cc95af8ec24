"""Every C file of the firmware compiles without a warning, and the runtime needs no libc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pace import thinned
from tools import need

from edgekit.devices.firmware.build import board_defines, firmware_folder, transport_defines
from edgekit.devices.firmware.model import RUNTIME
from edgekit.output import Output
from edgekit.toolchain import find_compiler, read_sizes
from targets import board, target

ROOT = firmware_folder()
M4 = board("virtual-cortex-m4")
PROFILE = {"EK_PROFILE": "", "EK_MAX_LAYERS": "8u"}
FIXED = {"EK_BUILD_ID": "1ull", "EK_FIRMWARE_VERSION": '"test"'}
PORTABLE = sorted((ROOT / "src").glob("*.c"))
#: With -std=c99 -Wall -Wextra -Werror of every build, what else finds real mistakes.
STRICT = ("-Wshadow", "-Wpointer-arith", "-Wcast-align", "-Wundef", "-Wstrict-prototypes")
#: What a freestanding program may be asked for by its compiler.
MEMORY = {"memcpy", "memmove", "memset", "memcmp"}


def gcc(compiler: str, *commands: str) -> None:
    if compiler == "gcc":
        need(*commands)


compilers = pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=pytest.mark.apt)])
profiles = pytest.mark.parametrize("defines", [{}, PROFILE], ids=["plain", "profile"])
#: What a compiler finds between the ends it finds at one of them, nearly always.
levels = pytest.mark.parametrize(
    "opt", thinned(["-O0", "-Os", "-O2", "-O3"], lambda opt: opt in ("-O0", "-O3"))
)


@compilers
@profiles
@levels
def test_the_runtime_on_this_machine(compiler: str, defines: dict[str, str], opt: str) -> None:
    gcc(compiler, "gcc")
    find_compiler(compiler).objects(
        PORTABLE, include=[ROOT / "include"], defines=defines, opt=opt, flags=STRICT
    )


@compilers
@profiles
@levels
def test_the_runtime_for_cortex_m4(compiler: str, defines: dict[str, str], opt: str) -> None:
    gcc(compiler, "arm-none-eabi-gcc")
    sources = [*PORTABLE, *sorted((ROOT / "src").glob("*.S"))]
    find_compiler(compiler, M4.target).objects(
        sources, include=[ROOT / "include"], defines=defines, opt=opt, flags=STRICT
    )


#: Each set of macros and each board once in `make test`.
DEVICES = [({}, "qemu-mps2-an386"), (PROFILE, "virtual-cortex-m4"), ({}, "virtual-cortex-m4"),
           (PROFILE, "qemu-mps2-an386")]  # fmt: skip


@compilers
@pytest.mark.parametrize(("defines", "name"), thinned(DEVICES, DEVICES[:2].__contains__))
def test_the_device_program(
    compiler: str, defines: dict[str, str], name: str, digits: Output
) -> None:
    gcc(compiler, "arm-none-eabi-gcc")
    cc = find_compiler(compiler, M4.target)
    elsewhere = ("uart_linux.c", "vexriscv.c", "ek_accelerator.c")
    ours = [*(ROOT / "device").glob("*.c"), *(ROOT / "ports").glob("*.c")]
    sources = [
        *sorted(p for p in ours if p.name not in elsewhere),
        *sorted((ROOT / "ports" / "cortex_m").glob("*.c")),
        ROOT / "app" / "ek_app_interpreter.c",
        ROOT / "app" / "ek_app_aot.c",
        *sorted(digits.sources.glob("*.c")),
    ]
    include = [digits.sources, *(ROOT / name for name in ("include", "device", "ports"))]
    pico = board_defines(board("raspberry-pi-pico"))
    usb = {name: value for name, value in pico.items() if name.startswith("EK_USB_")}
    macros = {**board_defines(board(name)), **usb, **transport_defines("rtt"), **FIXED, **defines}
    cc.objects(sources, include=include, defines=macros)


@compilers
@profiles
def test_the_accelerators_driver(compiler: str, defines: dict[str, str]) -> None:
    gcc(compiler, "riscv64-unknown-elf-gcc")
    on = board("sim-ecp5-soc")
    sources = [
        *sorted((ROOT / "device").glob("*.c")),
        *(ROOT / "npu" / f"ek_npu_{part}.c" for part in ("driver", "check")),
        ROOT / "ports" / "vexriscv.c",
    ]
    include = [ROOT / name for name in ("include", "device", "ports", "npu")]
    macros = {**board_defines(on), **FIXED, **defines}
    find_compiler(compiler, on.target).objects(
        sources, include=include, defines=macros, flags=STRICT
    )


@compilers
@levels
def test_what_programs_for_gpus_have(compiler: str, opt: str) -> None:
    on = board("gpu-pocl")
    gcc(compiler, str(on.target.gcc_command))
    port = [ROOT / "ports" / "loaded" / "loaded.c", ROOT / "ports" / "linux" / "ek_signal.c"]
    sources = [p for folder in ("gpu", "linux") for p in sorted((ROOT / folder).glob("*.c"))]
    folders = ("include", "src", "device", "ports", "ports/linux", "gpu", "linux")
    include = [ROOT / name for name in folders]
    macros = {**board_defines(on), **FIXED}
    cc = find_compiler(compiler, on.target)
    cc.objects([*sources, *port], include=include, defines=macros, opt=opt, flags=STRICT)
    macros["EK_LIBC_BIONIC"] = ""
    cc.objects(port, include=include, defines=macros, opt=opt, flags=STRICT)


@compilers
@pytest.mark.parametrize("name", ["linux-x86_64", "cortex-a53", "armv7-neon"])
def test_what_libraries_share(compiler: str, name: str) -> None:
    """The pool alone is for programs with a C library, whose compiler it takes."""
    on = target(name)
    gcc(compiler, str(on.gcc_command))
    include = [ROOT / folder for folder in ("include", "library", "linux")]
    sources = [ROOT / "library" / f"ek_{part}.c" for part in ("library", "cpu")]
    find_compiler(compiler, on).objects(sources, include=include, flags=STRICT)
    pool = [ROOT / "library" / "ek_pool.c"]
    find_compiler("zig").objects(pool, include=include, flags=STRICT)


@compilers
def test_the_host_program(compiler: str, digits: Output) -> None:
    gcc(compiler, "gcc")
    find_compiler(compiler).objects(
        [ROOT / "app" / "ek_app_host.c", *sorted(digits.sources.glob("*.c"))],
        include=[digits.sources, ROOT / "include"],
    )


@compilers
@pytest.mark.parametrize(("opt", "limit"), [("-Os", 3 * 1024), ("-O2", 6 * 1024)])
def test_the_interpreter_is_small_and_has_no_state(compiler: str, opt: str, limit: int) -> None:
    gcc(compiler, "arm-none-eabi-gcc")
    objects = find_compiler(compiler, target("cortex-m4")).objects(
        [ROOT / "src" / name for name in RUNTIME], include=[ROOT / "include"], opt=opt
    )
    sizes = [read_sizes(path) for path in objects]
    assert 0 < sum(s.flash for s in sizes) < limit
    assert [s.sections[".data"] + s.sections[".bss"] for s in sizes] == [0, 0]


@pytest.mark.apt
def test_nothing_but_memory_functions_is_asked_for() -> None:
    need("arm-none-eabi-gcc", "arm-none-eabi-nm")
    cc = find_compiler("gcc", target("cortex-m4"))
    sources = [*PORTABLE, *sorted((ROOT / "src").glob("*.S"))]
    objects = cc.objects(sources, include=[ROOT / "include"])
    listing = subprocess.run(
        ["arm-none-eabi-nm", *map(str, objects)], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listing.splitlines() if line and not line.endswith(":")]
    asked = {row[-1] for row in rows if row[0] == "U"}
    made = {row[-1] for row in rows if row[0] != "U"}
    # __aeabi_*: 64-bit division and the like, of the compiler's own library.
    assert {n for n in asked - made - MEMORY if not n.startswith("__aeabi_")} == set()


def test_no_global_state_and_no_libc_in_the_text() -> None:
    for path in [*PORTABLE, *(ROOT / "include").glob("*.h")]:
        included = {
            line.split()[1]
            for line in Path(path).read_text().splitlines()
            if line[:8] == "#include"
        }
        # arm_mve.h and arm_neon.h come with compilers, as stdint.h does.
        allowed = {"<stdint.h>", "<stddef.h>", "<stdbool.h>", "<string.h>"}
        allowed |= {"<arm_mve.h>", "<arm_neon.h>"}
        assert {name for name in included if name[0] == "<"} <= allowed, path
