"""One kernel at a time: each candidate of a template forced, run everywhere, its instructions."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4, write_sources
from graphs import batch

from codegen import memory_check
from codegen.kernel import Candidate, Layer, NotApplicable
from codegen.lower import build_program, layer_of
from codegen.program import Program
from codegen.sources import prototype
from codegen.templates import templates
from edgekit import reference
from edgekit.devices.emulators.bench import Bench, Out, link_functions
from edgekit.devices.firmware.build import firmware_folder
from edgekit.graph import Graph
from edgekit.toolchain import find_compiler, host_executable

ONLY = replace(M4.target, families=("thumb_dsp",))


def candidates(graph: Graph, template: str) -> list[Candidate]:
    """Of a graph with one node; none where the template does not apply."""
    try:
        layer = layer_of(graph, graph.nodes[0])
        return templates()["thumb_dsp"][template].candidates(layer)
    except NotApplicable:
        return []


def forced(
    graph: Graph, template: str, variant: int, patch: pytest.MonkeyPatch, *, alone: bool = False
) -> Program:
    """The program in which each layer has the candidate at `variant`, round and round.

    With `alone` no other template is asked.
    """
    known = templates()["thumb_dsp"]
    ask = known[template].candidates

    def one(layer: Layer) -> list[Candidate]:
        found = ask(layer)
        return [found[variant % len(found)]]

    with patch.context() as only:
        for other in set(known) - {template} if alone else ():
            only.delitem(known, other)
        only.setitem(known, template, replace(known[template], candidates=one))
        return build_program(graph, ONLY, sparse_weights="off")


def check_everywhere(
    graphs: list[Graph], template: str, variant: int, folder: Path, patch: pytest.MonkeyPatch,
    feeds: dict[str, np.ndarray] | None = None, compiler: str = "zig", *, alone: bool = False,
) -> None:  # fmt: skip
    """Side by side in one program, on the host and on the virtual M4: 0 differing bytes."""
    graph = merged(graphs)
    program = forced(graph, template, variant, patch, alone=alone)
    memory_check.check(program)
    feeds = feeds or {name: x[:1] for name, x in batch(graph, variant, n=2).items()}
    want = reference.run(graph, feeds)
    on_host = run_host(program, folder, feeds)
    on_m4, _ = run_m4(program, folder, feeds, compiler)
    for tensor, host, m4 in zip(program.outputs, on_host, on_m4, strict=True):
        spec = next(c for c in program.calls if any(a.value == tensor.name for a in c.arguments))
        np.testing.assert_array_equal(host, want[tensor.name], err_msg=f"host {spec.kernel.spec}")
        np.testing.assert_array_equal(m4, want[tensor.name], err_msg=f"m4 {spec.kernel.spec}")


def instructions(program: Program, folder: Path, feeds: dict[str, np.ndarray]) -> int:
    """Of the only call's kernel on the virtual M4, called on its own."""
    (call,) = program.calls
    include = [folder, firmware_folder() / "include"]
    objects = find_compiler("zig", M4.target).objects(
        write_sources(program, folder), include=include, opt=M4.target.kernel_opt
    )
    bench = Bench(link_functions(objects, M4, [call.kernel.name], "zig"), M4, strict=True)
    arguments: list[bytes | Out] = []
    for a in call.arguments:
        if a.role == "input":
            arguments.append(feeds[a.value].tobytes())
        elif a.role == "constant":
            arguments.append(program.constants[a.offset : a.offset + a.nbytes])
        else:
            arguments.append(Out(a.nbytes))
    return bench.call(call.kernel.name, arguments).instructions


def run_sanitized(program: Program, folder: Path, feeds: dict[str, np.ndarray]) -> bytes:
    """The only call's output under sanitizers, every operand in memory of exactly its size."""
    (call,) = program.calls
    lines, data, names = [], b"", []
    for i, a in enumerate(call.arguments):
        names.append(f"p{i}")
        lines.append(f"void *p{i} = malloc({a.nbytes}u);")
        if a.role in ("input", "constant"):
            raw = program.constants[a.offset : a.offset + a.nbytes]
            data += feeds[a.value].tobytes() if a.role == "input" else raw
            lines.append(f"if (fread(p{i}, 1, {a.nbytes}u, stdin) != {a.nbytes}u) {{ return 1; }}")
    lines.append(f"{call.kernel.name}({', '.join(names)});")
    for i, a in enumerate(call.arguments):
        if a.role == "output":
            lines.append(f"fwrite(p{i}, 1, {a.nbytes}u, stdout);")
        lines.append(f"free(p{i});")
    sources = write_sources(program, folder)
    main = folder / "alone.c"
    body = "\n".join(f"    {line}" for line in lines)
    main.write_text(
        "#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
        f"{prototype(call.kernel)}\nint main(void)\n{{\n{body}\n    return 0;\n}}\n"
    )
    program_file = host_executable(
        [main, folder / "kernels.c", *sources[2:]],
        include=[folder, firmware_folder() / "include"],
        defines={"EK_CHECK_ALIGNMENT": ""},
        sanitize=True,
    )
    done = subprocess.run([program_file], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
    return done.stdout
