"""Kernels for MVE against the numpy reference: on this machine, under sanitizers, and in QEMU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import M55, host_kernels, merged, run_on, run_tight
from graphs import batch
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from memory_run import PATTERNS, PoisonedRun
from mve_layers import layer_of_shape, layers
from tools import need

from codegen import memory_check
from codegen.lower import build_program, layer_of
from codegen.program import Program
from codegen.templates import templates
from edgekit import reference
from edgekit.errors import EdgekitError
from edgekit.graph import Graph

CHECKED = settings(
    max_examples=1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def built(graphs: list[Graph]) -> tuple[Graph, Program]:
    """One program of all graphs that the family takes; the others fall back, with a reason."""
    taken = []
    for graph in graphs:
        try:
            calls = build_program(graph, M55.target).calls
        except EdgekitError as refused:
            assert refused.code == "E310", refused
            continue
        if all(c.kernel.spec.family == "arm_mve" for c in calls):
            taken.append(graph)
        else:
            assert "arm_mve: " in calls[0].note, calls[0]
    # What is refused, such as taps all in the padding, is rare.
    assert len(taken) >= len(graphs) - 3
    graph = merged(taken)
    program = build_program(graph, M55.target)
    memory_check.check(program)
    return graph, program


def same(program: Program, found: list[np.ndarray], want: dict[str, np.ndarray], on: str) -> None:
    made = {a.value: c for c in program.calls for a in c.arguments if a.role == "output"}
    for tensor, array in zip(program.outputs, found, strict=True):
        message = f"{on}: {made[tensor.name].kernel.spec}"
        np.testing.assert_array_equal(array, want[tensor.name], err_msg=message)


#: conv2d, depthwise_conv2d by (shape of x, kernel, channels, strides, pads).
COUNTED = [
    ("conv2d", (25, 5, 64), (1, 1), 64, [1, 1], [0, 0, 0, 0]),
    ("conv2d", (16, 16, 32), (3, 3), 32, [1, 1], [1, 1, 1, 1]),
    ("conv2d", (49, 10, 1), (10, 4), 64, [2, 2], [4, 1, 5, 1]),
    ("depthwise_conv2d", (25, 5, 64), (3, 3), 64, [1, 1], [1, 1, 1, 1]),
    ("depthwise_conv2d", (24, 24, 32), (3, 3), 32, [2, 2], [0, 0, 1, 1]),
    ("depthwise_conv2d", (28, 1, 128), (5, 1), 128, [1, 1], [0, 0, 0, 0]),
]


def test_costs_are_what_runs(tmp_path: Path) -> None:
    """Candidates' costs, which choose kernels, against QEMU's counts."""
    need("qemu-system-arm")
    graph = merged([layer_of_shape(*case) for case in COUNTED])
    program = build_program(graph, M55.target, optimize="speed")
    feeds = {name: x[:1] for name, x in batch(graph, 0, n=2).items()}
    _, counts = run_on(M55, program, tmp_path, feeds)
    nodes = {node.name: node for node in graph.nodes}
    for call, count in zip(program.calls, counts, strict=True):
        node = nodes[call.layer]
        costs = [c.cost for t in templates()["arm_mve"].values() if node.op in t.ops
                 for c in t.candidates(layer_of(graph, node))]  # fmt: skip
        assert all(costs)
        assert min(c.instructions for c in costs if c) == pytest.approx(count, rel=0.03), call.op


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_shapes_with_few_rows(compiler: str, tmp_path: Path) -> None:
    """Loops of two rounds, which gcc 12.2 unrolled and vectorized with a wrong predicate."""
    need("qemu-system-arm", *([M55.target.gcc_command] if compiler == "gcc" else []))
    shapes = [(3, 3, 32), (3, 5, 20), (2, 2, 16), (1, 7, 8)]
    graph = merged(
        [layer_of_shape("depthwise_conv2d", s, (3, 3), s[2], [1, 1], [1, 1, 1, 1]) for s in shapes]
    )
    program = build_program(graph, M55.target)
    feeds = {name: x[:1] for name, x in batch(graph, 0, n=2).items()}
    found, _ = run_on(M55, program, tmp_path, feeds, compiler)
    same(program, found, reference.run(graph, feeds), compiler)


@CHECKED
@given(graphs=layers(), seed=st.integers(0, 1000))
def test_exact_on_this_machine(graphs: list[Graph], seed: int, tmp_path: Path) -> None:
    assume(seed > 0)  # the first example is the simplest of all
    graph, program = built(graphs)
    poisoned = PoisonedRun(program, host_kernels(program, tmp_path))
    for sample in range(2):
        feeds = {name: x[sample : sample + 1] for name, x in batch(graph, seed, n=2).items()}
        want, found = reference.run(graph, feeds), poisoned.run(feeds, PATTERNS[sample])
        same(program, [found[t.name] for t in program.outputs], want, "host")


@CHECKED
@given(graphs=layers(), extreme=st.sampled_from([None, -128, 127]), seed=st.integers(0, 1000))
def test_no_finding_and_exact_in_qemu(
    graphs: list[Graph], extreme: int | None, seed: int, tmp_path: Path
) -> None:
    assume(seed > 0)
    need("qemu-system-arm", "gcc")
    graph, program = built(graphs)
    feeds = {name: x[:1] for name, x in batch(graph, seed, n=2).items()}
    if extreme is not None:
        feeds = {name: np.full_like(x, extreme) for name, x in feeds.items()}
    want = reference.run(graph, feeds)
    same(program, run_tight(program, tmp_path, feeds), want, "sanitized")
    found, _ = run_on(M55, program, tmp_path, feeds)
    same(program, found, want, "qemu")
