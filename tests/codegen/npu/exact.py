"""Whether a program for the accelerator gives the reference's bytes, in numpy and in C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen import memory_check
from codegen.lower import build_program
from codegen.program import Program
from edgekit import reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from targets import target
from targets.npu.config import Accelerator

from .configurations import NPU64
from .execute import in_numpy, run_program
from .execute_c import in_c

TARGET = target("npu64")


@dataclass
class Tally:
    """What programs were made of: layers by where they ran, stripes, values put aside."""

    accelerated: int = 0
    on_cpu: int = 0
    striped: int = 0
    aside: int = 0

    def add(self, program: Program) -> None:
        for call in program.calls:
            ours = call.kernel.spec.family == "npu"
            self.accelerated += ours
            self.on_cpu += not ours
            self.striped += "stripes" in call.note
            self.aside += "put aside" in call.note


def samples(graph: Graph, seed: int) -> list[dict[str, np.ndarray]]:
    """Random bytes, and both ends of the range mixed."""
    rng = np.random.default_rng(seed)
    shapes = {name: graph.values[name].shape for name in graph.inputs}
    anything = {n: rng.integers(-128, 128, s).astype(np.int8) for n, s in shapes.items()}
    ends = {n: rng.choice(np.array([-128, 127], np.int8), s) for n, s in shapes.items()}
    return [anything, ends]


def program_of(graph: Graph, config: Accelerator = NPU64) -> Program | None:
    """The program; None where an accumulator of a layer of the CPU can overflow, which is refused
    by name."""
    try:
        program = build_program(graph, TARGET, accelerator=config)
    except EdgekitError as refused:
        assert refused.code == "E310", refused
        return None
    memory_check.check(program)
    return program


def assert_exact(
    graph: Graph, program: Program, config: Accelerator = NPU64, seed: int = 0
) -> None:
    """0 differing bytes: in numpy with either engine ahead, and in C."""
    simulators = [in_c(config), in_numpy(config), in_numpy(config, compute_first=True)]
    for feeds in samples(graph, seed):
        want = reference.run(graph, feeds)
        for simulate in simulators:
            found = run_program(program, graph, feeds, config, simulate)
            for tensor, y in zip(program.outputs, found, strict=True):
                np.testing.assert_array_equal(y, want[tensor.name], err_msg=graph.name)
