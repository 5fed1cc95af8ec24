"""Programs built and run for tests: on this machine, on the virtual M4, and in QEMU's M55."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from codegen.aot import aot_sources
from codegen.program import Program
from codegen.sources import c_name, kernel_sources
from edgekit.devices.emulators.bench import Bench, Out, link_functions
from edgekit.devices.firmware.build import build_firmware, firmware_folder
from edgekit.devices.firmware.model import support_files
from edgekit.devices.session import connect
from edgekit.graph import Graph
from edgekit.toolchain import find_compiler, host_executable, host_library
from targets import Board, board

#: Kernels of tests run on tiny shapes: compiling them takes most of the time.
HOST_OPT = "-O0"
M4, M55 = board("virtual-cortex-m4"), board("qemu-mps3-an547")


def write_sources(program: Program, folder: Path) -> list[Path]:
    """Generated C of `program` in `folder`; returns what an ahead-of-time build compiles."""
    name = c_name(program.name)
    for file, body in {**kernel_sources(program), **aot_sources(program, bytes(8))}.items():
        (folder / file).write_text(body)
    support = [firmware_folder() / "src" / file for file in support_files()]
    return [folder / "kernels.c", folder / f"{name}.c", *support]


def host_kernels(program: Program, folder: Path) -> Path:
    """The kernels of `program` alone as a library of this machine."""
    include = [folder, firmware_folder() / "include"]
    return host_library(_kernels(program, folder), include=include, opt=HOST_OPT)


def kernel_objects(program: Program, folder: Path) -> list[Path]:
    """The kernels of `program` alone, compiled for the virtual M4."""
    include = [folder, firmware_folder() / "include"]
    compiler = find_compiler("zig", M4.target)
    return compiler.objects(_kernels(program, folder), include=include, opt=M4.target.kernel_opt)


def _kernels(program: Program, folder: Path) -> list[Path]:
    for file, body in kernel_sources(program).items():
        (folder / file).write_text(body)
    return [folder / "kernels.c", *(firmware_folder() / "src" / file for file in support_files())]


def run_host(
    program: Program, folder: Path, feeds: dict[str, np.ndarray], opt: str = HOST_OPT,
    flags: tuple[str, ...] = (),
) -> list[np.ndarray]:  # fmt: skip
    """``NAME_invoke`` in a library of this machine; feeds have no batch axis beyond 1."""
    sources = write_sources(program, folder)
    include = [folder, firmware_folder() / "include"]
    library = ctypes.CDLL(str(host_library(sources, include=include, opt=opt, flags=flags)))
    inputs = [np.ascontiguousarray(feeds[t.name]) for t in program.inputs]
    outputs = [np.zeros(t.shape, t.dtype) for t in program.outputs]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*inputs, *outputs)]
    getattr(library, f"{c_name(program.name)}_invoke")(*pointers)
    return outputs


def run_m4(
    program: Program, folder: Path, feeds: dict[str, np.ndarray], compiler: str = "zig"
) -> tuple[list[np.ndarray], int]:
    """``NAME_run`` on the virtual Cortex-M4; returns the outputs and exact instructions."""
    return run_virtual(M4, program, folder, feeds, compiler)


def run_virtual(
    on: Board, program: Program, folder: Path, feeds: dict[str, np.ndarray], compiler: str = "zig"
) -> tuple[list[np.ndarray], int]:
    """The same on a virtual board."""
    sources = write_sources(program, folder)
    cc = find_compiler(compiler, on.target)
    include = [folder, firmware_folder() / "include"]
    entry = f"{c_name(program.name)}_invoke"
    objects = cc.objects(sources, include=include, opt=on.target.kernel_opt)
    bench = Bench(link_functions(objects, on, [entry], compiler), on)
    arguments = [feeds[t.name].tobytes() for t in program.inputs]
    done = bench.call(entry, [*arguments, *(Out(t.nbytes) for t in program.outputs)])
    outputs = [
        np.frombuffer(data, t.dtype).reshape(t.shape)
        for data, t in zip(done.outputs, program.outputs, strict=True)
    ]
    return outputs, done.instructions


def merged(graphs: list[Graph], name: str = "merged") -> Graph:
    """Independent graphs side by side in one, so that one build tests them all."""
    whole = Graph(name)
    for i, graph in enumerate(graphs):

        def renamed(value: str, i: int = i) -> str:
            return f"{value}_{i}"

        for value in graph.values.values():
            whole.add_value(replace(value, name=renamed(value.name)))
        whole.constants |= {renamed(k): v for k, v in graph.constants.items()}
        whole.inputs += [renamed(n) for n in graph.inputs]
        whole.outputs += [renamed(n) for n in graph.outputs]
        whole.nodes += [
            replace(
                node,
                inputs=tuple(map(renamed, node.inputs)),
                outputs=tuple(map(renamed, node.outputs)),
                name=f"{node.op}_{i}",
            )
            for node in graph.nodes
        ]
    return whole.verify()


def run_on(
    on: Board,
    program: Program,
    folder: Path,
    feeds: dict[str, np.ndarray],
    compiler: str = "zig",
) -> tuple[list[np.ndarray], list[int]]:
    """Ahead-of-time firmware on an emulated board; the outputs and each call's instructions."""
    sources = [*write_sources(program, folder), firmware_folder() / "app" / "ek_app_aot.c"]
    firmware = build_firmware(
        sources, on, include=[folder], compiler=compiler, opt=on.target.kernel_opt, max_layers=256
    )
    inputs = [np.ascontiguousarray(feeds[t.name]).tobytes() for t in program.inputs]
    with connect(on, elf=firmware.elf) as session:
        profile = session.profile(inputs, repeat=1)
        found = session.outputs()
    outputs = [
        np.frombuffer(data, t.dtype).reshape(t.shape)
        for data, t in zip(found, program.outputs, strict=True)
    ]
    return outputs, list(profile.layers)


def run_tight(program: Program, folder: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Programs of independent layers under sanitizers, every operand in memory of just its size."""
    write_sources(program, folder)
    lines = ['#include <stdio.h>', '#include <stdlib.h>', '#include "kernels.h"', READ_AND_WRITE,
             "int main(void)", "{"]  # fmt: skip
    stream = []
    for call in program.calls:
        names = []
        lines.append("    {")
        for i, argument in enumerate(call.arguments):
            known = argument.role in ("input", "constant")
            lines.append(f"        void *a{i} = room({argument.nbytes}u, {int(known)});")
            names.append(f"a{i}")
            if argument.role == "constant":
                at = argument.offset
                stream.append(program.constants[at : at + argument.nbytes])
            elif argument.role == "input":
                stream.append(np.ascontiguousarray(feeds[argument.value]).tobytes())
        lines.append(f"        {call.kernel.name}({', '.join(names)});")
        for name, argument in zip(names, call.arguments, strict=True):
            if argument.role == "output":
                lines.append(f"        fwrite({name}, 1, {argument.nbytes}u, stdout);")
        lines += [*(f"        free({n});" for n in names), "    }"]
    (folder / "tight.c").write_text("\n".join([*lines, "    return 0;", "}", ""]))
    support = [firmware_folder() / "src" / f for f in support_files() if f.endswith(".c")]
    executable = host_executable(
        [folder / "tight.c", folder / "kernels.c", *support],
        include=[folder, firmware_folder() / "include"],
        defines={"EK_CHECK_ALIGNMENT": ""},
        sanitize=True,
    )
    done = subprocess.run([executable], input=b"".join(stream), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
    return results_of(program, done.stdout)


def results_of(program: Program, data: bytes) -> list[np.ndarray]:
    """The outputs of a program whose calls' results were all written, one after the other."""
    found, at = {}, 0
    for call in program.calls:
        operands = [o for o in call.kernel.spec.operands if o.role == "output"]
        results = [a for a in call.arguments if a.role == "output"]
        for operand, result in zip(operands, results, strict=True):
            found[result.value] = np.frombuffer(data, operand.dtype, operand.count, at)
            at += result.nbytes
    return [found[t.name].reshape(t.shape) for t in program.outputs]


#: malloc gives 16-byte aligned memory, as the arena and the constants are.
READ_AND_WRITE = """
static void *room(unsigned nbytes, int known)
{
    void *p = malloc(nbytes);
    if (p == 0 || (known != 0 && fread(p, 1, nbytes, stdin) != nbytes)) {
        exit(3);
    }
    return p;
}
"""
