"""Kernels for AArch64 in qemu-user, every operand at the end of its memory, parts in any order.

A page that nobody may touch follows each operand, so that a load or store beyond it is a fault;
stores before it are found afterwards. A kernel with units runs in parts, each with scratch that
holds a pattern.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from built import merged, results_of, write_sources
from graphs import batch
from hypothesis import HealthCheck, Phase, settings
from tools import need

from codegen.lower import build_program
from codegen.program import Call, Program
from edgekit import reference
from edgekit.devices.firmware.build import firmware_folder
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.toolchain import find_compiler
from edgekit.toolchain.link_linux import link_linux
from targets import Board, Target, target

#: Each test draws once: an example is a program of many layers.
CHECKED = settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

SYSTEM = """
#include <stdint.h>

enum { PAGE = 65536, READ = 63, WRITE = 64, EXIT = 94, MMAP = 222, MPROTECT = 226 };

/* In .rodata, after which the link script places a model. */
static const volatile uint8_t pattern = 0xA5;

static intptr_t call(intptr_t number, intptr_t a, intptr_t b, intptr_t c, intptr_t d)
{
    register intptr_t x8 __asm("x8") = number, x0 __asm("x0") = a, x1 __asm("x1") = b;
    register intptr_t x2 __asm("x2") = c, x3 __asm("x3") = d, x4 __asm("x4") = -1;
    register intptr_t x5 __asm("x5") = 0;
    __asm volatile("svc #0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
    return x0;
}

static void fill(uint8_t *p, uintptr_t n)
{
    for (uintptr_t i = 0; i < n; i++) {
        p[i] = pattern;
    }
}

static uintptr_t whole(uintptr_t n) { return (n + PAGE) / PAGE * PAGE; }

/* Memory before a page which may not be touched; with the next bytes of stdin if known. */
static uint8_t *room(uintptr_t n, int known)
{
    uint8_t *const p = (uint8_t *)call(MMAP, 0, (intptr_t)(whole(n) + PAGE), 3, 0x22);
    uint8_t *const found = p + whole(n) - n;
    fill(p, whole(n));
    call(MPROTECT, (intptr_t)(p + whole(n)), PAGE, 0, 0);
    for (uintptr_t have = 0; known != 0 && have < n;) {
        const intptr_t more = call(READ, 0, (intptr_t)(found + have), (intptr_t)(n - have), 0);
        if (more <= 0) {
            call(EXIT, 3, 0, 0, 0);
        }
        have += (uintptr_t)more;
    }
    return found;
}

/* What lies before an operand is as it was. */
__attribute__((unused)) static void intact(const uint8_t *p, uintptr_t n)
{
    const uint8_t *const start = p - (whole(n) - n);
    for (const uint8_t *at = start; at < p; at++) {
        if (*at != pattern) {
            call(EXIT, 4, 0, 0, 0);
        }
    }
}

static void send(const uint8_t *p, uintptr_t n)
{
    while (n > 0) {
        const uintptr_t sent = (uintptr_t)call(WRITE, 1, (intptr_t)p, (intptr_t)n, 0);
        p += sent;
        n -= sent;
    }
}

void run(void);
__asm(".globl _start\\n.type _start, %function\\n_start: mov x29, #0\\n mov x30, #0\\n b run\\n");
"""


def run_c(
    text: str,
    given: bytes,
    folder: Path,
    on: Target,
    further: Sequence[Path] = (),
    compiler: str = "gcc",
) -> bytes:
    """What a C program writes: `text` is the body of its only function, after `SYSTEM`."""
    (folder / "guarded.c").write_text(text)
    found = find_compiler(compiler, on)
    include = [folder, firmware_folder() / "include"]
    objects = found.objects([folder / "guarded.c", *further], include=include, opt="-O1")
    objects += found.objects([firmware_folder() / "ports" / "linux" / "memory.c"])
    qemu = shutil.which("qemu-aarch64")
    assert qemu is not None
    cpu = "max" if on.name == "cortex-a510" else on.name
    command = [qemu, "-cpu", cpu, str(link_linux(found, objects))]
    done = subprocess.run(command, input=given, capture_output=True, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr.decode(errors="replace")[:3000])
    return done.stdout


def run_guarded(
    program: Program, folder: Path, feeds: dict[str, np.ndarray], seed: int, compiler: str = "gcc"
) -> list[np.ndarray]:
    """The outputs of a program of independent layers."""
    write_sources(program, folder)
    r = np.random.default_rng(seed)
    lines, stream = [SYSTEM, '#include "kernels.h"\n\nvoid run(void)\n{'], []
    for call in program.calls:
        lines += _call(call, r)
        for argument in call.arguments:
            if argument.role == "constant":
                at = argument.offset
                stream.append(program.constants[at : at + argument.nbytes])
            elif argument.role == "input":
                stream.append(np.ascontiguousarray(feeds[argument.value]).tobytes())
    text = "\n".join([*lines, "    call(EXIT, 0, 0, 0, 0);\n}\n"])
    on = target(program.target)
    said = run_c(text, b"".join(stream), folder, on, [folder / "kernels.c"], compiler)
    return results_of(program, said)


def _call(call: Call, r: np.random.Generator) -> list[str]:
    """Statements that make one call in parts and send its result."""
    sizes = [(a.nbytes, a.role) for a in call.arguments]
    if call.kernel.scratch_bytes and all(role != "scratch" for _, role in sizes):
        sizes.append((call.kernel.scratch_bytes, "scratch"))
    known = ("input", "constant")
    lines = ["    {"]
    shared = [i for i, o in enumerate(call.kernel.spec.operands) if o.alias]
    for i, (n, role) in enumerate(sizes):
        made = f"room({n}u, {int(role in known)})"
        if i in shared and role == "output" and r.integers(2):  # in place: these families allow it
            made = f"a{shared[0]}"
        lines.append(f"        uint8_t *const a{i} = {made};")
    # Operands have types of their own; to C they are bytes here.
    names = ", ".join(f"(void *)a{i}" for i in range(len(sizes)))
    units = call.kernel.units
    cuts = np.sort(r.integers(0, units + 1, r.integers(0, 4))) if units else np.zeros(0, int)
    parts = list(zip([0, *cuts.tolist()], [*cuts.tolist(), units], strict=True))
    for begin, end in [parts[i] for i in r.permutation(len(parts))]:
        lines += [f"        fill(a{i}, {n}u);" for i, (n, role) in enumerate(sizes)
                  if role == "scratch"]  # fmt: skip
        part = f", {begin}u, {end}u" if units else ""
        lines.append(f"        {call.kernel.name}({names}{part});")
    for i, (n, role) in enumerate(sizes):
        lines.append(f"        intact(a{i}, {n}u);")
        if role == "output":
            lines.append(f"        send(a{i}, {n}u);")
    return [*lines, "    }"]


def built(graphs: list[Graph], on: Board, share: float) -> tuple[Graph, Program]:
    """One program of all graphs that a family for AArch64 takes, at least of a share of them."""
    taken = []
    for graph in graphs:
        try:
            calls = build_program(graph, on.target, optimize="speed").calls
        except EdgekitError as refused:
            assert refused.code == "E310", refused
            continue
        if calls[0].kernel.spec.family.startswith("a64"):
            taken.append(graph)
        else:
            assert "a64: " in calls[0].note, calls[0]
    assert len(taken) >= int(share * len(graphs))
    graph = merged(taken)
    return graph, build_program(graph, on.target, optimize="speed")


def exact(
    graphs: list[Graph],
    on: Board,
    seed: int,
    extreme: int | None,
    folder: Path,
    share: float = 0.5,
) -> None:
    """The reference's bytes for random inputs, or for inputs that are `extreme` everywhere."""
    need("qemu-aarch64", str(on.target.gcc_command))
    graph, program = built(graphs, on, share)
    feeds = {name: x[:1] for name, x in batch(graph, seed, n=2).items()}
    if extreme is not None:
        feeds = {name: np.full_like(x, extreme) for name, x in feeds.items()}
    want = reference.run(graph, feeds)
    found = run_guarded(program, folder, feeds, seed)
    made = {a.value: c for c in program.calls for a in c.arguments if a.role == "output"}
    for tensor, array in zip(program.outputs, found, strict=True):
        message = f"{made[tensor.name].kernel.spec}"
        np.testing.assert_array_equal(array, want[tensor.name], err_msg=message)
