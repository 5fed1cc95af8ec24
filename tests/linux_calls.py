"""Kernels of a program in qemu-user, one call at a time: in parts, and with no byte to spare.

Every operand ends where a page does that nobody may touch; kernels with units are called for parts
of them, in any order.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import numpy as np
from built import results_of

from codegen.program import Call, Program
from codegen.sources import kernel_sources
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import support_files
from edgekit.toolchain import find_compiler
from edgekit.toolchain.link_linux import link_linux
from targets import Target

PAGE = 4096

_MAIN = """\
#include "ek_linux.h"
#include "kernels.h"

static uint8_t memory[{size}] __attribute__((aligned({page})));

/* Read from memory, as the linker's script wants a program with constants. */
static const volatile intptr_t page = {page};

static void guard(uint32_t at)
{{
    if (ek_syscall(SYS_MPROTECT, (intptr_t)(memory + at), page, 0, 0) != 0) {{
        ek_exit(2);
    }}
}}

static void all(intptr_t number, intptr_t descriptor, uint32_t at, uint32_t n)
{{
    while (n > 0u) {{
        const intptr_t done = ek_syscall(number, descriptor, (intptr_t)(memory + at), n, 0);
        if (done <= 0) {{
            ek_exit(3);
        }}
        at += (uint32_t)done;
        n -= (uint32_t)done;
    }}
}}

void _start(void);
void _start(void)
{{
{body}    ek_exit(0);
}}
"""


def run_calls(
    program: Program,
    target: Target,
    folder: Path,
    feeds: dict[str, np.ndarray],
    *,
    cpu: str,
    compiler: str = "zig",
    seed: int = 0,
) -> list[np.ndarray]:
    """Outputs of a program of independent layers.

    Args:
        cpu: what qemu-user emulates.
        seed: of the order and the sizes of parts.
    """
    for file, body in kernel_sources(program).items():
        (folder / file).write_text(body)
    main, stream = _main(program, feeds, random.Random(seed))
    (folder / "calls.c").write_text(main)
    firmware = firmware_folder()
    support = [firmware / "src" / f for f in support_files() if f.endswith(".c")]
    port = firmware / "ports" / "linux"
    sources = [folder / "calls.c", folder / "kernels.c", *support, port / "memory.c"]
    cc = find_compiler(compiler, target)
    objects = cc.objects(sources, include=[folder, firmware / "include", firmware / "linux"],
                         opt=target.kernel_opt)  # fmt: skip
    elf = link_linux(cc, objects, output=folder / "calls")
    runner = "qemu-aarch64" if "aarch64" in target.zig_triple else "qemu-arm"
    done = subprocess.run([runner, "-cpu", cpu, elf], input=stream, capture_output=True,
                          timeout=120)  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr[:2000])
    return results_of(program, done.stdout)


def _main(program: Program, feeds: dict[str, np.ndarray], r: random.Random) -> tuple[str, bytes]:
    """The C file with a call after the other, and what it reads."""
    lines, stream, end = [], [], PAGE
    guards = [0]
    for call in program.calls:
        places = []
        for argument in call.arguments:
            end += -(-argument.nbytes // PAGE) * PAGE
            places.append(end - argument.nbytes)
            guards.append(end)
            end += PAGE
            if argument.role in ("constant", "input"):
                lines.append(f"    all(SYS_READ, 0, {places[-1]}u, {argument.nbytes}u);\n")
            if argument.role == "constant":
                at = argument.offset
                stream.append(program.constants[at : at + argument.nbytes])
            elif argument.role == "input":
                stream.append(np.ascontiguousarray(feeds[argument.value]).tobytes())
        pointers = ", ".join(f"(void *)(memory + {place})" for place in places)
        for part in _parts(call, r):
            lines.append(f"    {call.kernel.name}({pointers}{part});\n")
        for place, argument in zip(places, call.arguments, strict=True):
            if argument.role == "output":
                lines.append(f"    all(SYS_WRITE, 1, {place}u, {argument.nbytes}u);\n")
    lines = [f"    guard({at}u);\n" for at in guards] + lines
    return _MAIN.format(size=end, page=PAGE, body="".join(lines)), b"".join(stream)


def _parts(call: Call, r: random.Random) -> list[str]:
    """Further arguments of the calls that together make all of it."""
    units = call.kernel.units
    if not units:
        return [""]
    cuts = sorted(r.sample(range(1, units), min(units - 1, r.randint(0, 3))))
    parts = list(zip([0, *cuts], [*cuts, units], strict=True))
    r.shuffle(parts)
    return [f", {begin}u, {end}u" for begin, end in parts]
