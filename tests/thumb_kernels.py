"""Layers whose kernel one template writes: real shapes, forced candidates, exact counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from built import M4, run_host, run_m4, write_sources
from graphs import batch, one_node

from codegen import program as program_module
from codegen.kernel import Candidate, Layer, NotApplicable
from codegen.program import Program, build_program
from codegen.templates import templates
from edgekit import reference
from edgekit.devices.bench import Bench, CallCounts, Out, link_functions
from edgekit.devices.build import firmware_folder
from edgekit.devices.model import KERNEL_OPT
from edgekit.graph import Graph, Quant, Value
from edgekit.toolchain import find_compiler
from targets import Target


def conv(
    height: int,
    width: int,
    channels: int,
    out: int,
    kernel: tuple[int, int] = (1, 1),
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    *,
    relu: bool = True,
    seed: int = 0,
) -> Graph:
    """A conv2d whose results fill the whole int8 range."""
    chance = np.random.default_rng(seed)
    shape = (out, *kernel, channels)
    scale = chance.uniform(0.5, 1.5, out) * 0.022 / np.sqrt(np.prod(shape[1:]))
    oh = (height + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
    ow = (width + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
    return one_node(
        "conv2d",
        [
            Value("x", (1, height, width, channels), "int8", Quant.make(0.5, -7)),
            Value("w", shape, "int8", Quant.make(scale, 0, 0)),
            Value("b", (out,), "int32", Quant.make(0.5 * scale, 0, 0)),
        ],
        Value("y", (1, oh, ow, out), "int8", Quant.make(1.0, -128) if relu else Quant.make(2.0, 5)),
        {
            "w": chance.integers(-127, 128, shape).astype(np.int8),
            "b": chance.integers(-3000, 3000, out).astype(np.int32),
        },
        strides=list(strides),
        pads=list(pads),
        groups=1,
        clamp=[0, None] if relu else None,
    )


def forced(graph: Graph, template: str, which: int = 0) -> Program:
    """A program whose layers take candidate number `which` of `template`.

    Raises:
        NotApplicable: where a layer has none.
    """

    def select(layer: Layer, target: Target) -> tuple[Candidate, str]:
        known = templates()["thumb_dsp"][template]
        found = known.candidates(layer) if layer.node.op in known.ops else []
        if len(found) <= which:
            raise NotApplicable(template)
        return found[which], ""

    with patch.object(program_module, "select", select):
        return build_program(graph, replace(M4.target, families=("thumb_dsp",)))


def check(
    program: Program,
    graph: Graph,
    folder: Path,
    feeds: dict[str, np.ndarray] | None = None,
    compiler: str = "zig",
) -> None:
    """Host and virtual M4 give the reference's bytes."""
    feeds = feeds or {name: x[:1] for name, x in batch(graph, 1, n=2).items()}
    want = reference.run(graph, feeds)
    on_host = run_host(program, folder, feeds)
    on_m4, _ = run_m4(program, folder, feeds, compiler)
    for tensor, host, m4 in zip(program.outputs, on_host, on_m4, strict=True):
        kernels = [c.kernel.spec for c in program.calls]
        np.testing.assert_array_equal(host, want[tensor.name], err_msg=f"host {kernels}")
        np.testing.assert_array_equal(m4, want[tensor.name], err_msg=f"m4 {kernels}")


def count(program: Program, folder: Path, call: int = 0, compiler: str = "zig") -> CallCounts:
    """One kernel called on the virtual M4 with random input: exact counts of the kernel alone."""
    step = program.calls[call]
    sources = write_sources(program, folder)
    cc = find_compiler(compiler, M4.target)
    include = [folder, firmware_folder() / "include"]
    objects = cc.objects(sources, include=include, opt=KERNEL_OPT)
    bench = Bench(link_functions(objects, M4, [step.kernel.name], compiler), M4)
    chance = np.random.default_rng(0)
    arguments: list[bytes | Out] = []
    for a in step.arguments:
        if a.role == "constant":
            arguments.append(program.constants[a.offset : a.offset + a.nbytes])
        elif a.role == "input":
            arguments.append(chance.integers(-128, 128, a.nbytes).astype(np.int8).tobytes())
        else:
            arguments.append(Out(a.nbytes))
    return bench.call(step.kernel.name, arguments)
