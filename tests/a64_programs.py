"""Programs of layers for AArch64, built for a Cortex-A in qemu-user and run there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import run_on

from codegen.lower import layer_of
from codegen.program import Program
from codegen.templates import templates
from edgekit.graph import Graph
from targets import board

A53, A76, A510 = (board(f"qemu-cortex-{core}") for core in ("a53", "a76", "a510"))


def run(
    program: Program, folder: Path, feeds: dict[str, np.ndarray], compiler: str = "gcc"
) -> tuple[list[np.ndarray], list[int]]:
    """The outputs, and the instructions of each call."""
    on = next(b for b in (A53, A76, A510) if program.target == b.target.name)
    return run_on(on, program, folder, feeds, compiler)


def check_costs(
    graph: Graph, program: Program, counts: list[int], rel: float, abs: float = 0
) -> None:
    """The costs of candidates, which choose kernels, against counted instructions of each call."""
    nodes = {node.name: node for node in graph.nodes}
    for call, count in zip(program.calls, counts, strict=True):
        spec = call.kernel.spec
        template = templates()[spec.family][spec.params["template"]]
        costs = [c.cost for c in template.candidates(layer_of(graph, nodes[call.layer]))]
        assert all(costs)
        least = min(c.instructions for c in costs if c)
        assert least == pytest.approx(count, rel=rel, abs=abs), spec
