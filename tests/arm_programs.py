"""Programs for Linux on Arm in assembly, whose instructions are counted by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.firmware.counter import DESCRIPTOR
from edgekit.toolchain import find_compiler
from targets import target

_A64 = """
.globl _start
_start:
    sub sp, sp, #16
    mov x8, #63
    mov x0, #{descriptor}
    mov x1, sp
    mov x2, #8
    svc 0
    movz x9, #{low}
    movk x9, #{high}, lsl #16
1:  subs x9, x9, #1
    b.ne 1b
    mov x0, #{descriptor}
    add x1, sp, #8
    svc 0
    mov x8, #64
    mov x0, #1
    mov x1, sp
    mov x2, #16
    svc 0
    mov x8, #94
    mov x0, #0
    svc 0
"""
_A32 = """
.syntax unified
.arm
.globl _start
_start:
    sub sp, sp, #16
    mov r7, #3
    mov r0, #{descriptor}
    mov r1, sp
    mov r2, #8
    svc 0
    movw r9, #{low}
    movt r9, #{high}
1:  subs r9, r9, #1
    bne 1b
    mov r0, #{descriptor}
    add r1, sp, #8
    svc 0
    mov r7, #4
    mov r0, #1
    mov r1, sp
    mov r2, #16
    svc 0
    mov r7, #248
    mov r0, #0
    svc 0
"""


@dataclass(frozen=True)
class Counted:
    """Reads the counter of instructions, runs turns of two instructions, reads it again, and writes
    both readings to standard output.

    `before` are the instructions up to the end of the first reading, `between` those from there to
    the end of the second besides the loop's.
    """

    emulator: str
    source: str
    before: int = 6
    between: int = 5

    def text(self, loops: int) -> str:
        """The program with so many turns."""
        return self.source.format(descriptor=DESCRIPTOR, low=loops & 0xFFFF, high=loops >> 16)


PROGRAMS = {"cortex-a53": Counted("qemu-aarch64", _A64), "armv7-neon": Counted("qemu-arm", _A32)}


def assembled(name: str, text: str, folder: Path) -> Path:
    """The program of an assembly text for the target `name`."""
    source, program = folder / "program.S", folder / "program"
    source.write_text(text)
    compiler = find_compiler("zig", target(name))
    compiler.run(
        [*compiler.target_flags, "-nostdlib", "-static", str(source), "-o", str(program)],
        "E503",
        program,
    )
    return program
