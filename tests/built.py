"""Programs built and run for tests: on this machine, and function by function on the virtual M4."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np

from codegen.aot import aot_sources
from codegen.program import Program
from codegen.sources import c_name, kernel_sources
from edgekit.devices.bench import Bench, Out, link_functions
from edgekit.devices.build import firmware_folder
from edgekit.devices.model import SUPPORT
from edgekit.graph import Graph
from edgekit.toolchain import find_compiler, host_library
from targets import board

M4 = board("virtual-cortex-m4")


def write_sources(program: Program, folder: Path) -> list[Path]:
    """Generated C of `program` in `folder`; returns what an ahead-of-time build compiles."""
    name = c_name(program.name)
    for file, body in {**kernel_sources(program), **aot_sources(program, bytes(8))}.items():
        (folder / file).write_text(body)
    support = [firmware_folder() / "src" / file for file in SUPPORT]
    return [folder / "kernels.c", folder / f"{name}.c", *support]


def host_kernels(program: Program, folder: Path) -> Path:
    """The kernels of `program` alone as a library of this machine."""
    include = [folder, firmware_folder() / "include"]
    return host_library(_kernels(program, folder), include=include)


def kernel_objects(program: Program, folder: Path) -> list[Path]:
    """The kernels of `program` alone, compiled for the virtual M4."""
    include = [folder, firmware_folder() / "include"]
    compiler = find_compiler("zig", M4.target)
    return compiler.objects(_kernels(program, folder), include=include, opt=M4.target.kernel_opt)


def _kernels(program: Program, folder: Path) -> list[Path]:
    for file, body in kernel_sources(program).items():
        (folder / file).write_text(body)
    return [folder / "kernels.c", *(firmware_folder() / "src" / file for file in SUPPORT)]


def run_host(program: Program, folder: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """``NAME_invoke`` in a library of this machine; feeds have no batch axis beyond 1."""
    sources = write_sources(program, folder)
    library = ctypes.CDLL(
        str(host_library(sources, include=[folder, firmware_folder() / "include"]))
    )
    inputs = [np.ascontiguousarray(feeds[t.name]) for t in program.inputs]
    outputs = [np.zeros(t.shape, t.dtype) for t in program.outputs]
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*inputs, *outputs)]
    getattr(library, f"{c_name(program.name)}_invoke")(*pointers)
    return outputs


def run_m4(
    program: Program, folder: Path, feeds: dict[str, np.ndarray], compiler: str = "zig"
) -> tuple[list[np.ndarray], int]:
    """``NAME_run`` on the virtual Cortex-M4; returns the outputs and exact instructions."""
    sources = write_sources(program, folder)
    cc = find_compiler(compiler, M4.target)
    include = [folder, firmware_folder() / "include"]
    entry = f"{c_name(program.name)}_invoke"
    objects = cc.objects(sources, include=include, opt=M4.target.kernel_opt)
    bench = Bench(link_functions(objects, M4, [entry], compiler), M4)
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
