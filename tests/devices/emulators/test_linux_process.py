"""Programs for Linux in unicorn: hand-counted instructions, system calls, signals."""

from __future__ import annotations

import errno
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from arm_programs import PROGRAMS, assembled

from edgekit.devices.emulators.linux_process import CPUS, Process
from targets.linux import HWCAPS, LACKS_FEATURE

CPU = {"cortex-a53": "cortex-a53", "cortex-a76": "cortex-a76", "armv7-neon": "cortex-a9"}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes of this process")


def ran(target: str, program: Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    module = "edgekit.devices.emulators.linux_process"
    return subprocess.run([sys.executable, "-m", module, CPU[target], str(program)],
                          input=data, capture_output=True, timeout=30, check=False)  # fmt: skip


@pytest.mark.parametrize("loops", [1, 100_000])
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_instruction_is_counted_once(name: str, loops: int, tmp_path: Path) -> None:
    program = PROGRAMS[name]
    done = ran(name, assembled(name, program.text(loops), tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = struct.unpack("<2Q", done.stdout)
    assert (first, second - first) == (program.before, program.between + 2 * loops)


#: Reads 16 bytes into .bss, writes what came, and ends with the number of bytes as its status.
ECHO = """
.globl _start
_start:
    mov x8, #63
    mov x0, #0
    adrp x1, buffer
    add x1, x1, :lo12:buffer
    mov x2, #16
    svc 0
    mov x19, x0
    mov x2, x0
    mov x8, #64
    mov x0, #1
    svc 0
    mov x8, #94
    mov x0, x19
    svc 0
.bss
.balign 16
buffer: .space 16
"""
#: Ends with minus the result of a system call: its errno.
ERRNO = """
.globl _start
_start:
    mov x8, #{call}
    mov x0, #{first}
    mov x1, sp
    mov x2, #8
    svc 0
    neg x0, x0
    mov x8, #94
    svc 0
"""
BODY = ".globl _start\n_start:\n{}\n    mov x8, #94\n    mov x0, #0\n    svc 0\n"


def test_bytes_go_in_and_out(tmp_path: Path) -> None:
    program = assembled("cortex-a53", ECHO, tmp_path)
    assert (ran("cortex-a53", program, b"edge\0kit").stdout, ran("cortex-a53", program).stdout) == (
        b"edge\0kit", b"",
    )  # fmt: skip
    assert ran("cortex-a53", program, b"edge\0kit").returncode == 8


@pytest.mark.parametrize(
    ("call", "first", "number"),
    [(56, 0, errno.ENOSYS), (63, 7, errno.EBADF), (64, 7, errno.EBADF), (63, 240, -8)],
)
def test_calls_that_fail_say_why(call: int, first: int, number: int, tmp_path: Path) -> None:
    program = assembled("cortex-a53", ERRNO.format(call=call, first=first), tmp_path)
    assert ran("cortex-a53", program).returncode == number & 0xFF


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("mov x1, #16\n ldr x0, [x1]", signal.SIGSEGV),
        ("adr x1, _start\n str x1, [x1]", signal.SIGSEGV),  # code is not writable
        (".word 0", signal.SIGILL),
        (".arch armv8.2-a+dotprod\n sdot v0.4s, v1.16b, v2.16b", signal.SIGILL),
    ],
)
def test_a_signal_without_a_handler_ends_it(body: str, number: int, tmp_path: Path) -> None:
    assert (
        ran("cortex-a53", assembled("cortex-a53", BODY.format(body), tmp_path)).returncode
        == -number
    )


def test_dot_products_are_there_where_they_should(tmp_path: Path) -> None:
    body = ".arch armv8.2-a+dotprod\n sdot v0.4s, v1.16b, v2.16b"
    assert ran("cortex-a76", assembled("cortex-a76", BODY.format(body), tmp_path)).returncode == 0


def test_cpus_show_the_features_of_their_targets() -> None:
    import targets

    for name, cpu in CPU.items():
        found = targets.target(name)
        bits = HWCAPS[found.architecture]
        assert CPUS[cpu].features == sum(bits[f] for f in found.hwcaps)
    assert LACKS_FEATURE == 69


def test_what_is_no_program_is_told(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(Exception, match="Magic number"):
        Process("cortex-a53", path)
